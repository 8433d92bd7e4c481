//! What passes and what does not, for programs that play by the rules.

use rltrain_executor::Outcome::{Exited, Failed, NotRun, Passed, Raised, SyntaxError};
use rltrain_executor::{Ending, Verdict};

use super::{EXECUTOR, job, judge, outcomes};

#[test]
fn every_way_for_a_test_to_end_has_its_own_outcome() {
    let program = "def f(x):\n    return x + 1\n";
    let tests = [
        ("assert f(1) == 2", Passed),
        ("assert f(1) == 3", Failed),
        ("assert f(1) < 3", Passed),
        ("assert f(1) > 3, 'too small'", Failed),
        ("assert f('a') == 3", Raised),
        ("assert f(1) ==", SyntaxError),
        ("import sys; sys.exit(0)", Exited),
        ("assert f(2) == 3, 'never'", Passed),
    ];
    let (sources, wanted): (Vec<_>, Vec<_>) = tests.into_iter().unzip();
    assert_eq!(outcomes(program, &sources), wanted);
}

#[test]
fn a_program_that_does_not_load_has_no_test_run() {
    for (program, load) in [
        ("def f(:", SyntaxError),
        ("raise SyntaxError('not while loading')", Raised),
        ("1 / 0", Raised),
        ("assert False", Failed),
        ("import sys\nsys.exit(0)", Exited),
        ("def f(): return '\0'", SyntaxError),
    ] {
        let verdict = judge(job(program, &["assert True", "assert 1 == 1"]));
        if !program.starts_with("raise Syntax") {
            assert_eq!(verdict.load, load, "{program}");
        }
        assert_eq!(verdict.tests, [NotRun, NotRun], "{program}");
    }
}

#[test]
fn values_that_python_calls_equal_pass_a_comparison() {
    let program = "import collections, enum, fractions\nfrom collections import Counter, OrderedDict, namedtuple\n\
                   Point = namedtuple('Point', 'x y')\n\
                   class Size(enum.IntEnum):\n    BIG = 3\n";
    let tests = [
        ("assert 1.0 == 1", Passed),
        ("assert True == 1", Passed),
        ("assert [1, (2, 'a'), {3: None}] == [1.0, (2, 'a'), {3: None}]", Passed),
        ("assert [1, 2] == (1, 2)", Failed),
        ("assert {3, 1, 2} == {1, 2, 3}", Passed),
        ("assert Counter('aab') == {'b': 1, 'a': 2}", Passed),
        ("assert OrderedDict(a=1) == {'a': 1}", Passed),
        ("assert Point(1, 2) == (1, 2)", Passed),
        ("assert Size.BIG == 3", Passed),
        ("assert fractions.Fraction(1, 2) == 0.5", Passed),
        ("assert {'a': 1}.keys() == {'a'}", Passed),
        ("assert 2 ** 100 == 1267650600228229401496703205376", Passed),
        ("assert float('nan') == float('nan')", Failed),
        ("assert -0.0 == 0.0", Passed),
        ("assert 'é\\ud800' == 'é\\ud800'", Passed),
        ("assert bytearray(b'a') == b'a'", Passed),
        ("assert Point(1, 2) == Point(1, 2)", Passed),
        ("assert range(2) == [0, 1]", Failed),
    ];
    let (sources, wanted): (Vec<_>, Vec<_>) = tests.into_iter().unzip();
    assert_eq!(outcomes(program, &sources), wanted);
}

#[test]
fn the_world_looks_like_an_ordinary_interpreter() {
    let program = "import sys, os, time, random\n";
    let tests = [
        "assert sys.maxsize == 9223372036854775807",
        "assert sys.getrecursionlimit() == 1000",
        "assert __name__ == 'solution'",
        "assert dict(os.environ) == {}",
        "assert time.time() > 1.7e9",
        "import json, re, math, itertools, functools, heapq, bisect, datetime, decimal, typing, dataclasses",
        "import doctest, unittest, pdb, cProfile, inspect, asyncio, concurrent.futures, threading, pickle, logging",
    ];
    assert_eq!(outcomes(program, &tests), [Passed; 7]);
}

#[test]
fn the_default_runtime_has_numpy() {
    let test = "import numpy\nassert (numpy.arange(3) * 2).tolist() == [0, 2, 4]";
    let verdict = EXECUTOR.submit(job("", &[test])).wait().unwrap();
    assert!(verdict.all_passed(), "{verdict:?}");
}

#[test]
fn what_a_program_writes_and_raises_is_kept() {
    let verdict = judge(job("import sys\nprint('out')\nprint('err', file=sys.stderr)\n", &["assert 1 / 0"]));
    assert_eq!(verdict.stdout, "out\n");
    assert_eq!(verdict.stderr, "err\nZeroDivisionError: division by zero\n");
}

#[test]
fn a_test_sees_what_the_test_before_it_left() {
    let tests = ["items.append(1)", "assert items == [1]", "del items", "assert items == [1]"];
    assert_eq!(outcomes("items = []", &tests), [Passed, Passed, Passed, Raised]);
}

#[test]
fn a_verdict_says_why_a_test_did_not_pass() {
    let program = "def f(n):\n    if n > 2: raise ValueError('too large')\n    return [n, 'a', True, 0.5]\n";
    let tests =
        ["assert f(1) == [1, 'a', True, 0.5]", "assert f(2) == 2", "assert f(3) == 3", "assert not f(1)"];
    let verdict = judge(job(program, &tests));
    let causes = |verdict: &Verdict| -> Vec<String> {
        let cause = |ending: &Ending| ending.cause.as_ref().map(ToString::to_string).unwrap_or_default();
        verdict.endings().map(cause).collect()
    };
    assert_eq!(
        causes(&verdict),
        ["", "", "gave [2, 'a', 1, 0.5], wanted 2", "ValueError: too large, line 2", "AssertionError"]
    );
    let verdict = judge(job("import nonsense", &["assert 1 == 1"]));
    assert_eq!(causes(&verdict), ["ModuleNotFoundError: No module named 'nonsense', line 1", ""]);
    let verdict = judge(job("def f():\n    pass\ndef g(:\n", &["assert 1 == 1"]));
    assert_eq!(causes(&verdict), ["SyntaxError: invalid syntax (<program>, line 3), line 3", ""]);
}
