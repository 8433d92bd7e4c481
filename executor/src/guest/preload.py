for name in (
    "__future__ abc array ast base64 bisect binascii builtins calendar cmath collections collections.abc contextlib copy "
    "csv dataclasses datetime decimal difflib enum fractions functools hashlib heapq inspect io itertools json keyword "
    "locale logging math numbers operator os os.path pprint queue random re secrets statistics string struct sys textwrap "
    "threading time timeit traceback types typing unicodedata unittest uuid warnings weakref"
).split():
    __import__(name)
# What nearly every annotation asks for is made once, and found in the caches of `typing`.
import typing
for kind in (int, str, float, bool, object, typing.Any):
    (typing.List[kind], typing.List[typing.List[kind]], typing.Optional[kind], typing.Set[kind])
    (typing.Tuple[kind, kind], typing.Dict[str, kind], typing.Dict[int, kind], typing.Iterable[kind])
