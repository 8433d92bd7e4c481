def list_tests(source):
    """Names of the test functions of a module, in its order, and statements that run each."""
    import ast

    def starts(node, prefix):
        return node.name.startswith(prefix)

    def base_names(node):
        return [base.attr if isinstance(base, ast.Attribute) else getattr(base, 'id', '') for base in node.bases]

    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    tests = []
    for node in ast.parse(source).body:
        if isinstance(node, functions) and starts(node, 'test'):
            tests.append((node.name, f'__import__("pytest")._run({node.name})'))
        if isinstance(node, ast.ClassDef):
            is_case = any(base.endswith('TestCase') for base in base_names(node))
            if not is_case and not starts(node, 'Test'):
                continue
            for member in node.body:
                if isinstance(member, functions) and starts(member, 'test'):
                    name = f'{node.name}.{member.name}'
                    run = '_run_case' if is_case else '_run_method'
                    tests.append((name, f'__import__("pytest").{run}({node.name}, {member.name!r})'))
    return tests
