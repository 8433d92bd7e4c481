def _make_pytest():
    """What suites use most of pytest, as a module of that name; run before a suite, in the program's interpreter."""
    import math
    import re
    import sys
    import types

    pytest = types.ModuleType('pytest')

    class Skipped(BaseException):
        pass

    class Raises:
        def __init__(self, kinds, match=None):
            self.kinds, self.match, self.value, self.type = kinds, match, None, None

        def __enter__(self):
            return self

        def __exit__(self, kind, value, traceback):
            if kind is None:
                raise AssertionError(f'DID NOT RAISE {self.kinds}')
            if not issubclass(kind, self.kinds):
                return False
            self.type, self.value = kind, value
            if self.match is not None and not re.search(self.match, str(value)):
                raise AssertionError(f'{str(value)!r} does not match {self.match!r}')
            return True

    def raises(kinds, *call, match=None, **keywords):
        if not call:
            return Raises(kinds, match)
        with Raises(kinds, match) as raised:
            call[0](*call[1:], **keywords)
        return raised

    class Approx:
        def __init__(self, expected, rel=1e-6, abs=1e-12):
            self.expected, self.rel, self.abs = expected, rel, abs

        def close(self, actual, expected):
            if isinstance(expected, dict):
                return actual.keys() == expected.keys() and all(self.close(actual[key], expected[key]) for key in expected)
            if isinstance(expected, (list, tuple)):
                return len(actual) == len(expected) and all(map(self.close, actual, expected))
            return math.isclose(actual, expected, rel_tol=self.rel, abs_tol=self.abs)

        def __eq__(self, actual):
            return self.close(actual, self.expected)

        def __repr__(self):
            return f'approx({self.expected!r})'

    class Mark:
        def parametrize(self, names, values, **_):
            names = [name.strip() for name in names.split(',')] if isinstance(names, str) else list(names)

            def decorate(function):
                sets = [value if len(names) > 1 else (value,) for value in values]
                earlier = getattr(function, '_parameters', [{}])
                function._parameters = [{**old, **dict(zip(names, new))} for old in earlier for new in sets]
                return function

            return decorate

        def skip(self, *_, **__):
            def decorate(function):
                function._parameters = []
                return function

            return decorate

        def __getattr__(self, _):
            return lambda *arguments, **__: arguments[0] if arguments and callable(arguments[0]) else lambda function: function

    fixtures = {}

    def fixture(function=None, **_):
        def decorate(function):
            fixtures[function.__name__] = function
            return function

        return decorate if function is None else decorate(function)

    def skip(reason=''):
        raise Skipped(reason)

    def fail(reason=''):
        raise AssertionError(reason)

    def call(function, given):
        names = [name for name in function.__code__.co_varnames[:function.__code__.co_argcount] if name != 'self']
        arguments, generators = dict(given), []
        for name in names:
            if name not in arguments and name in fixtures:
                arguments[name] = call(fixtures[name], {})
                if isinstance(arguments[name], types.GeneratorType):
                    generators.append(arguments[name])
                    arguments[name] = next(arguments[name])
        try:
            return function(**arguments)
        finally:
            for generator in generators:
                next(generator, None)

    def run(function):
        for given in getattr(function, '_parameters', [{}]):
            try:
                result = call(function, given)
                if isinstance(result, types.CoroutineType):
                    import asyncio
                    asyncio.run(result)
            except Skipped:
                pass

    def run_method(kind, name):
        instance = kind()
        if hasattr(instance, 'setup_method'):
            instance.setup_method()
        run(getattr(instance, name))
        if hasattr(instance, 'teardown_method'):
            instance.teardown_method()

    def run_case(kind, name):
        import unittest
        try:
            kind.setUpClass()
            kind(name).debug()
            kind.tearDownClass()
        except unittest.SkipTest:
            pass

    pytest.raises, pytest.approx, pytest.mark, pytest.fixture = raises, Approx, Mark(), fixture
    pytest.skip, pytest.fail, pytest.main = skip, fail, lambda *_: 0
    pytest._run, pytest._run_method, pytest._run_case = run, run_method, run_case
    sys.modules['pytest'] = pytest


_make_pytest()
del _make_pytest
