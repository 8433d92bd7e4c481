"""Golden numbers of CodeBLEU by the package codebleu 0.7.0.

    python -m venv v && v/bin/pip install codebleu==0.7.0 tree-sitter-{python,javascript,java,go,ruby,rust,c,cpp}
    v/bin/pip install --no-deps tree-sitter==0.25.2   # the grammars want a later one than the package asks for
    v/bin/python codebleu_scores.py >codebleu.json

The package orders parents by a hash set; these pairs have the same numbers for PYTHONHASHSEED 0 to 5.
"""

import json
import sys

from codebleu import calc_codebleu

PAIRS = [
    ("python", "def f(xs):\n    total = 0\n    for x in xs:\n        total += x\n    return total\n",
     "def f(xs):\n    return sum(xs)\n"),
    ("python", "def f(xs):\n    total = 0\n    for x in xs:\n        total += x\n    return total\n",
     "def g(items):\n    s = 0\n    for item in items:\n        s = s + item\n    return s\n"),
    ("python", "def biggest(a, b):\n    if a > b:\n        return a\n    else:\n        return b\n",
     "def biggest(a, b):\n    return a if a > b else b\n"),
    ("python", "def fib(n):\n    a, b = 0, 1\n    while n > 0:\n        a, b = b, a + b\n        n -= 1\n    return a\n",
     "def fib(n):\n    if n < 2:\n        return n\n    return fib(n - 1) + fib(n - 2)\n"),
    ("python", "def evens(xs):\n    \"\"\"Even ones.\"\"\"\n    # keep them\n    return [x for x in xs if x % 2 == 0]\n",
     "def evens(xs):\n    out = []\n    for x in xs:\n        if x % 2 == 0:\n            out.append(x)\n    return out\n"),
    ("python", "x = 1\ny = x + 2\nprint(y)\n", "x = 1\ny = x + 2\nprint(y)\n"),
    ("python", "def f(a, k=2):\n    b = a * k\n    return b + k\n", "def f(a, k=3):\n    return a * k + k\n"),
    ("python", "def f(s):\n    return s[::-1]\n", "def f(s):\n    out = ''\n    for c in s:\n        out = c + out\n    return out\n"),
    ("javascript", "function f(a) { let b = a + 1; return b * a; }", "function f(a) { const c = a + 1; return c + a; }"),
    ("javascript", "function m(x) { if (x > 0) { return x; } return 0; }", "function m(x) { return x > 0 ? x : 0; }"),
    ("java", "class A { int f(int a) { int b = a + 1; return b * a; } }", "class A { int f(int a) { return (a + 1) * a; } }"),
    ("java", "class A { int f(int a) { int b = 0; b = a; b++; return b; } }", "class A { int f(int a) { int b = a; b++; return b; } }"),
    ("go", "package p\nfunc f(a int) int { b := a + 1; return b * a }", "package p\nfunc f(a int) int { return (a + 1) * a }"),
    ("ruby", "def f(a)\n  b = a + 1\n  b * a\nend", "def f(a)\n  (a + 1) * a\nend"),
    ("rust", "fn f(a: i32) -> i32 { let b = a + 1; b * a }", "fn f(a: i32) -> i32 { (a + 1) * a }"),
    ("c", "int f(int a) { int b = a + 1; return b * a; }", "int f(int a) { return (a + 1) * a; }"),
    ("cpp", "int f(int a) { int b = a + 1; return b * a; }", "int f(int a) { return (a + 1) * a; }"),
]
rows = []
for language, reference, candidate in PAIRS:
    scores = calc_codebleu([reference], [candidate], language)
    rows.append({
        "language": language,
        "reference": reference,
        "candidate": candidate,
        "bleu": scores["ngram_match_score"],
        "keywords": scores["weighted_ngram_match_score"],
        "ast": scores["syntax_match_score"],
        "dataflow": scores["dataflow_match_score"],
    })
sys.stdout.write("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
