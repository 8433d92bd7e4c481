for name in (
    "abc array ast base64 bisect binascii builtins calendar cmath collections collections.abc contextlib copy dataclasses "
    "datetime decimal difflib enum fractions functools hashlib heapq inspect io itertools json keyword math numbers "
    "operator os os.path pprint queue random re statistics string struct sys textwrap threading time traceback types "
    "typing unicodedata unittest uuid warnings"
).split():
    __import__(name)
