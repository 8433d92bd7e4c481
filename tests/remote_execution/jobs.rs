//! Programs of every kind of ending, with tests of every kind, and those of the tasks.

use std::path::Path;

use rltrain::tasks::TaskSet;
use rltrain_executor::{Executor, Fuel, InfraError, Job, Limits, OutputBytes, Test, Verdict};
use serde_json::{Value, json};

/// Enough for every honest program here, and soon used up.
fn limits() -> Limits {
    Limits {
        fuel: Fuel::try_from(400_000_000).unwrap(),
        output_bytes: OutputBytes::try_from(4096).unwrap(),
        ..Limits::default()
    }
}

pub(crate) fn test(value: Value) -> Test {
    serde_json::from_value(value).unwrap()
}

/// Tests of every kind for a function `double`, and for a script that doubles.
fn kinds() -> Vec<Test> {
    let call = |compare: Value| {
        test(
            json!({ "kind": "call", "function": "double", "arguments": [3], "expected": 6, "compare": compare }),
        )
    };
    vec![
        "assert double(2) == 4".into(),
        "assert double('ab') == 'abab', 'texts too'".into(),
        "x = double(5)\nassert x > 9".into(),
        call(json!("exact")),
        call(json!({ "close": { "absolute": 0.1 } })),
        call(json!({ "custom": "def accepts(actual, expected): return actual == expected" })),
        test(
            json!({ "kind": "call", "function": "double", "arguments": [[2, 1]], "expected": [1, 1, 2, 2], "compare": "unordered" }),
        ),
        test(
            json!({ "kind": "suite", "source": "from solution import double\ndef test_double():\n    assert double(1) == 2\ndef test_more():\n    assert double(0) == 0\n" }),
        ),
        test(
            json!({ "kind": "property", "function": "double", "inputs": "def inputs(random): return (random.randint(0, 9),)", "holds": "def holds(result, n): return result == n + n", "cases": 5 }),
        ),
        test(
            json!({ "kind": "differential", "before": "def double(n): return n", "test": "assert double(2) == 4" }),
        ),
    ]
}

/// A job for every kind of test and of ending.
pub(crate) fn of_every_kind() -> Vec<Job> {
    let programs = [
        "def double(n): return 2 * n",
        "print('working')\ndef double(n):\n    print(n)\n    return n + n + (1 if n == 5 else 0)",
        "def double(n): return n",
        "def double(n) return n",
        "def double(n): raise ValueError(f'no {n}')",
        "import os\ndef double(n): return open('/etc/passwd').read()",
        "def double(n):\n    while True: pass",
        "def double(n): return 'x' * (1 << 40)",
        "def double(n): return double(n)",
        "def double(n):\n    import sys\n    sys.exit(0)",
        "def double(n):\n    print('x' * 5000)\n    return 2 * n",
        "class Yes:\n    def __eq__(self, other): return True\ndef double(n): return Yes()",
        "1 / 0",
    ];
    let script =
        |stdin: &str, stdout: &str| test(json!({ "kind": "stdin", "stdin": stdin, "stdout": stdout }));
    let scripts = ["print(2 * int(input()))", "print(input())", "input(", "raise SystemExit(3)"];
    let of_function = programs.map(|program| Job { public: 2, ..Job::new(program, kinds(), limits()) });
    let of_script =
        scripts.map(|program| Job::new(program, [script("3\n", "6\n"), script("0\n", "0\n")], limits()));
    let stopping = Job { stop_at_failure: true, ..Job::new(programs[1], kinds(), limits()) };
    let reading = Job {
        files: vec![rltrain_executor::File { path: "data/n.txt".to_owned(), text: "21".to_owned() }],
        ..Job::new("n = int(open('data/n.txt').read())", ["assert 2 * n == 42"], limits())
    };
    of_function.into_iter().chain(of_script).chain([stopping, reading]).collect()
}

/// The tasks of a file: each reference, and one that gives nothing back.
pub(crate) fn of_tasks(name: &str) -> Vec<Job> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../recipes/tasks")).join(name);
    let tasks = TaskSet::load(&path).unwrap();
    let jobs = tasks.iter().flat_map(|task| {
        let hollow = format!("{}\n    pass\n", task.signature);
        [task.reference.clone(), hollow].map(|program| {
            let tests = task.public_tests.iter().chain(&task.hidden_tests).cloned();
            Job { public: task.public_tests.len(), ..Job::new(program, tests, Limits::default()) }
        })
    });
    jobs.collect()
}

/// So many different programs that take tens of milliseconds each, a third of them wrong.
pub(crate) fn of_some_length(count: usize) -> Vec<Job> {
    let job = |number: usize| {
        let program = format!(
            "def total(n):\n    result = {}\n    for i in range(n):\n        result += i % 7\n    return result\n",
            usize::from(number.is_multiple_of(3))
        );
        let length = 100_000 + 10 * number;
        let sum: usize = (0..length).map(|i| i % 7).sum();
        Job::new(
            program,
            [format!("assert total({length}) == {sum}"), "assert total(0) == 0".to_owned()],
            Limits::default(),
        )
    };
    (0..count).map(job).collect()
}

/// What comes of jobs that are handed in all at once.
pub(crate) fn judge(executor: &Executor, jobs: &[Job]) -> Vec<Result<Verdict, InfraError>> {
    let pending: Vec<_> = jobs.iter().map(|job| executor.submit(job.clone())).collect();
    pending.into_iter().map(rltrain_executor::Pending::wait).collect()
}

/// The verdicts of jobs, all of which have one.
#[track_caller]
pub(crate) fn verdicts(executor: &Executor, jobs: &[Job]) -> Vec<Verdict> {
    judge(executor, jobs).into_iter().map(Result::unwrap).collect()
}

/// That two lists of verdicts are the same, fuel, memory and output included.
#[track_caller]
pub(crate) fn assert_same(jobs: &[Job], found: &[Verdict], wanted: &[Verdict]) {
    assert_eq!(found.len(), wanted.len());
    for ((job, found), wanted) in jobs.iter().zip(found).zip(wanted) {
        assert_eq!(found, wanted, "{}", job.program);
    }
}
