//! Every kind of test: what passes, what does not, and why.

use rltrain_executor::Outcome::{
    self, Exited, Failed, Forbidden, NotRun, OutOfFuel, OutputLimit, Passed, Raised, SyntaxError,
};
use rltrain_executor::{File, InfraError, Job, Limits, OutcomeClass, Test, Verdict};
use serde_json::{Value as Json, json};

use super::{EXECUTOR, judge};

fn test(written: &Json) -> Test {
    serde_json::from_value(written.clone()).unwrap()
}

fn run(program: &str, tests: &[Json]) -> Verdict {
    judge(Job::new(program, tests.iter().map(test), Limits::default()))
}

/// Runs tests one by one against what each is to come to.
fn expect(program: &str, cases: &[(Json, Outcome, &str)]) {
    let tests: Vec<Json> = cases.iter().map(|(test, ..)| test.clone()).collect();
    let verdict = run(program, &tests);
    assert_eq!(verdict.load, Passed, "{verdict:?}");
    for ((test, outcome, cause), ending) in cases.iter().zip(&verdict.tests) {
        let why = ending.cause.as_ref().map(ToString::to_string).unwrap_or_default();
        assert_eq!((ending.outcome, why.as_str()), (*outcome, *cause), "{test}");
    }
}

fn faulty(written: &Json) -> String {
    match EXECUTOR
        .submit(Job::new("def f(*a): return 1\nsort = f", [test(written)], Limits::default()))
        .wait()
    {
        Err(InfraError::FaultyTest(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn calls_are_compared_by_the_host() {
    let program = "class AlwaysEqual(int):\n    def __eq__(self, other): return True\n    __hash__ = None\n\
                   def f(*items, **named): return items if items else named\n\
                   def third(n): return n / 3\n\
                   def forged(): return AlwaysEqual(7)\n\
                   def fails(): raise KeyError('gone')\n\
                   class Solution:\n    def add(self, a, b): return a + b\n";
    expect(
        program,
        &[
            (
                json!({"kind": "call", "function": "f", "arguments": [1, "it's\n", null], "expected": [1, "it's\n", null]}),
                Passed,
                "",
            ),
            (
                json!({"kind": "call", "function": "f", "keywords": {"a": 1.5, "b": [true]}, "expected": {"b": [true], "a": 1.5}}),
                Passed,
                "",
            ),
            (
                json!({"kind": "call", "function": "Solution().add", "arguments": [1, 2], "expected": 3}),
                Passed,
                "",
            ),
            (
                json!({"kind": "call", "function": "f", "arguments": [1, 2], "expected": [2, 1]}),
                Failed,
                "gave (1, 2), wanted [2, 1]",
            ),
            (
                json!({"kind": "call", "function": "f", "arguments": [1, 2], "expected": [2, 1], "compare": "unordered"}),
                Passed,
                "",
            ),
            (
                json!({"kind": "call", "function": "f", "arguments": [1, 1, 2], "expected": [2, 2, 1], "compare": "unordered"}),
                Failed,
                "gave (1, 1, 2), wanted [2, 2, 1]",
            ),
            (
                json!({"kind": "call", "function": "third", "arguments": [1], "expected": 0.33333333, "compare": {"close": {"relative": 1e-6}}}),
                Passed,
                "",
            ),
            (
                json!({"kind": "call", "function": "third", "arguments": [1], "expected": 0.333, "compare": {"close": {"relative": 1e-6}}}),
                Failed,
                "gave 0.3333333333333333, wanted 0.333",
            ),
            (
                json!({"kind": "call", "function": "third", "arguments": [1], "expected": 1, "compare": {"custom": "def accepts(actual, expected):\n    return round(actual * 3) == expected"}}),
                Passed,
                "",
            ),
            (
                json!({"kind": "call", "function": "third", "arguments": [6], "expected": 1, "compare": {"custom": "def accepts(actual, expected):\n    return round(actual * 3) == expected"}}),
                Failed,
                "gave 2, wanted 1",
            ),
            (json!({"kind": "call", "function": "forged", "expected": 8}), Failed, "gave 7, wanted 8"),
            (
                json!({"kind": "call", "function": "forged", "expected": 8, "compare": {"custom": "def accepts(actual, expected):\n    return actual == expected"}}),
                Failed,
                "gave 7, wanted 8",
            ),
            (json!({"kind": "call", "function": "fails", "expected": 8}), Raised, "KeyError: 'gone', line 7"),
            (
                json!({"kind": "call", "function": "absent", "expected": 8}),
                Raised,
                "NameError: name 'absent' is not defined",
            ),
            (
                json!({"kind": "call", "function": "f", "arguments": [1], "expected": 8, "compare": "exact"}),
                Failed,
                "gave (1,), wanted 8",
            ),
        ],
    );
}

#[test]
fn scripts_are_judged_by_what_they_print() {
    let program = "import sys\nif __name__ == '__main__':\n    n = int(input())\n    print(*[n * int(line) for line in sys.stdin])\n    if n == 2: sys.exit(0)\n    if n == 3: sys.exit(3)\n    if n == 4: raise ValueError(n)\n    if n == 5:\n        import os\n        sys.stdout.flush()\n        os._exit(0)\n    if n == 6: open('/etc/passwd')\n";
    let case = |stdin: &str, stdout: &str| json!({"kind": "stdin", "stdin": stdin, "stdout": stdout});
    expect(
        program,
        &[
            (case("7\n1\n2\n", "7 14\n"), Passed, ""),
            (case("7\n1\n2\n", "7 15"), Failed, "gave \"7 14\\n\", wanted \"7 15\""),
            (
                json!({"kind": "stdin", "stdin": "7\n1", "stdout": "7", "compare": "exact"}),
                Failed,
                "gave \"7\\n\", wanted \"7\"",
            ),
            (json!({"kind": "stdin", "stdin": "7\n1", "stdout": "7\n\n", "compare": "lines"}), Passed, ""),
            (case("2\n1\n", "2"), Passed, ""),
            (case("3\n1\n", "3"), Exited, "SystemExit: 3, line 6"),
            (case("4\n1\n", "4"), Raised, "ValueError: 4, line 7"),
            (case("5\n1\n", "5"), Passed, ""),
            (case("", "5"), Raised, "EOFError: EOF when reading a line, line 3"),
            (
                case("6\n1\n", "6"),
                Forbidden,
                "FileNotFoundError: [Errno 44] No such file or directory: '/etc/passwd', line 12",
            ),
        ],
    );
}

#[test]
fn each_script_starts_anew_and_shares_the_budget_of_the_job() {
    let program = "seen = []\nseen.append(1)\nprint(len(seen), input())\n";
    let case = |word: &str| json!({"kind": "stdin", "stdin": word, "stdout": format!("1 {word}")});
    let verdict = run(program, &[case("a"), case("b"), json!("assert seen == [1]"), case("c")]);
    // As a module it reads an empty stdin, so the statement has no program to look at.
    assert_eq!(verdict.load, Raised);
    let alone = run(program, &[case("a"), case("b"), case("c")]);
    assert_eq!(alone.tests, [Passed, Passed, Passed]);
    let mixed =
        run("import sys\nprint(1, sys.stdin.readline())\n", &[case("a"), json!("assert sys"), case("b")]);
    assert_eq!(mixed.tests, [Passed, Passed, Passed]);
    let mut endless = Job::new(
        "n = int(input())\nwhile n: pass",
        [case("1"), case("0")].iter().map(test),
        Limits::default(),
    );
    endless.limits.fuel = 1_000_000_000.try_into().unwrap();
    assert_eq!(judge(endless).tests, [OutOfFuel, OutOfFuel]);
    let mut noisy = Job::new("print('x' * 100)", [case("1"), case("0")].iter().map(test), Limits::default());
    noisy.limits.output_bytes = 50.try_into().unwrap();
    assert_eq!(judge(noisy).tests, [OutputLimit, OutputLimit]);
    let broken = run("print(", &[case("1")]);
    assert_eq!((broken.load.outcome, broken.class()), (SyntaxError, OutcomeClass::CompileError));
    assert_eq!(broken.tests, [NotRun]);
}

#[test]
fn suites_are_run_function_by_function() {
    let source = "import unittest\nimport pytest\nfrom solution import double\n\n\
        def test_two(): assert double(2) == 4\n\
        def test_error():\n    with pytest.raises(TypeError, match='unsupported'): double(None)\n\
        @pytest.mark.parametrize('n, wanted', [(1, 2), (3, 6)])\ndef test_many(n, wanted): assert double(n) == wanted\n\
        def test_close(): assert double(0.1) == pytest.approx(0.2)\n\
        @pytest.fixture\ndef five(): return 5\n\
        def test_fixture(five): assert double(five) == 10\n\
        class TestCase(unittest.TestCase):\n    def setUp(self): self.n = 4\n    def test_four(self): self.assertEqual(double(self.n), 8)\n\
        class TestPlain:\n    def setup_method(self): self.n = 1\n    def test_one(self): assert double(self.n) == 2\n";
    let suite = json!({"kind": "suite", "source": source});
    let only = |name: &str| json!({"kind": "suite", "source": source, "name": name});
    expect(
        "def double(n):\n    if n is None: raise TypeError('unsupported')\n    return 2 * n\n",
        &[
            (suite.clone(), Passed, ""),
            (only("test_two"), Passed, ""),
            (only("TestCase.test_four"), Passed, ""),
        ],
    );
    expect(
        "def double(n):\n    if n is None: raise TypeError('unsupported')\n    return 2 * n if n != 4 else 9\n",
        &[
            (suite, Failed, "TestCase.test_four: AssertionError: 9 != 8 (6 of 7 passed)"),
            (only("test_two"), Passed, ""),
            (only("TestCase.test_four"), Failed, "AssertionError: 9 != 8"),
        ],
    );
    assert_eq!(
        faulty(&only("test_absent")),
        "the suite has no test_absent; it has: test_two, test_error, test_many, test_close, test_fixture, TestCase.test_four, TestPlain.test_one"
    );
    assert!(faulty(&json!({"kind": "suite", "source": "def test("})).contains("SyntaxError"));
}

#[test]
fn properties_hold_for_every_generated_input() {
    let property = |inputs: &str| {
        json!({"kind": "property", "function": "sort", "cases": 50, "inputs": inputs,
               "holds": "def holds(result, items):\n    return result == sorted(items)\n"})
    };
    let inputs =
        "def inputs(random):\n    return ([random.randrange(9) for _ in range(random.randrange(5))],)\n";
    expect("def sort(items):\n    items.sort()\n    return items\n", &[(property(inputs), Passed, "")]);
    expect(
        "def sort(items): return items\n",
        &[(property(inputs), Failed, "case 1: sort([6, 0, 4],) gave [6, 0, 4], which does not hold")],
    );
    expect(
        "class Forged(list):\n    def __eq__(self, other): return True\ndef sort(items): return Forged([9])\n",
        &[(property(inputs), Failed, "case 1: sort([6, 0, 4],) gave [9], which does not hold")],
    );
    expect(
        "def sort(items): return items[0]\n",
        &[(
            property("def inputs(random): return ([],)"),
            Raised,
            "case 1: sort([],) ended with IndexError: list index out of range, line 1",
        )],
    );
    assert_eq!(
        faulty(&property("def inputs(random): return 1")),
        "`inputs` gave 1, wanted a tuple of arguments"
    );
    assert!(faulty(&property("def inputs(random): return 1 / 0")).contains("ZeroDivisionError"));
}

#[test]
fn a_differential_test_fails_before_and_passes_after() {
    let test =
        |statement: &str| json!({"kind": "differential", "before": "def f(n): return n", "test": statement});
    let after = "def f(n): return n + 1\n";
    expect(
        after,
        &[
            (test("assert f(1) == 2"), Passed, ""),
            (test("assert f(1) == 3"), Failed, "gave 2, wanted 3"),
            (test("assert f(-1) <= 0"), Failed, "passes for the program that it is to fail for as well"),
        ],
    );
}

#[test]
fn files_of_the_task_can_be_read_and_not_written() {
    let program = "import os\ndef total(path):\n    with open(path) as file:\n        return sum(map(int, file))\n\
                   def names(): return sorted(os.listdir('/data'))\n\
                   def write(path):\n    with open(path, 'w') as file: file.write('x')\n";
    let mut job = Job::new(
        program,
        [
            "assert total('data/a.csv') == 6",
            "assert total('/data/a.csv') == 6",
            "assert names() == ['a.csv', 'b.csv']",
            "write('data/a.csv')",
            "write('new.txt')",
            "assert total('absent.csv') == 0",
            "assert total('data/a.csv') == 6",
        ],
        Limits::default(),
    );
    job.files = vec![
        File { path: "data/a.csv".to_owned(), text: "1\n2\n3\n".to_owned() },
        File { path: "/data/b.csv".to_owned(), text: String::new() },
    ];
    let verdict = judge(job.clone());
    assert_eq!(
        verdict.tests,
        [Passed, Passed, Passed, Forbidden, Forbidden, Forbidden, Passed],
        "{verdict:?}"
    );
    job.files.push(File { path: "../x".to_owned(), text: String::new() });
    assert!(matches!(EXECUTOR.submit(job).wait(), Err(InfraError::FaultyTest(_))));
}

#[test]
fn a_job_may_end_at_its_first_failure() {
    let mut job = Job::new("x = 1", ["assert x == 1", "assert x == 2", "assert x == 1"], Limits::default());
    job.public = 2;
    assert_eq!(judge(job.clone()).tests, [Passed, Failed, Passed]);
    job.stop_at_failure = true;
    let verdict = judge(job);
    assert_eq!(verdict.tests, [Passed, Failed, NotRun]);
    assert_eq!((verdict.public_tests().len(), verdict.hidden_tests().len()), (2, 1));
}
