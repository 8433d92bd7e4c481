//! MBPP, the half that lies beside the project: right programs pass, wrong ones do not.

use std::path::Path;

use rltrain_executor::{Executor, Job, Limits};
use serde_json::Value;

use super::executors;

/// Tasks as number, program, and tests; none where the data is absent.
fn tasks() -> Vec<(u64, String, Vec<String>)> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/mbpp-sanitized-even.jsonl");
    let Ok(text) = std::fs::read_to_string(&data) else {
        println!("skipped: {} is absent", data.display());
        return Vec::new();
    };
    let task = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let tests =
            value["test_list"].as_array().unwrap().iter().map(|test| test.as_str().unwrap().to_owned());
        let setup = value["test_setup_code"].as_str().unwrap_or_default();
        // MBPP's `test_imports`, which this file leaves out, are `import math` wherever they are not empty.
        let program = format!("import math\n{}\n{setup}\n", value["code"].as_str().unwrap());
        (value["task_id"].as_u64().unwrap(), program, tests.collect())
    };
    text.lines().map(task).collect()
}

/// Numbers of the tasks whose program, changed by `change`, passes all tests, for each runtime.
fn passed(change: impl Fn(String) -> String) -> Vec<(Vec<u64>, usize)> {
    executors().map(|executor| passed_in(executor, &change)).collect()
}

fn passed_in(executor: &Executor, change: impl Fn(String) -> String) -> (Vec<u64>, usize) {
    let tasks = tasks();
    let total = tasks.len();
    let submit = |(number, program, tests)| {
        (number, executor.submit(Job::new(change(program), tests, Limits::default())))
    };
    let pending: Vec<_> = tasks.into_iter().map(submit).collect();
    let verdicts = pending.into_iter().map(|(number, pending)| (number, pending.wait().unwrap()));
    (verdicts.filter(|(_, verdict)| verdict.all_passed()).map(|(number, _)| number).collect(), total)
}

#[test]
fn every_canonical_solution_passes() {
    for (passed, total) in passed(|program| program) {
        assert_eq!(passed.len(), total, "only these pass: {passed:?}");
    }
}

/// Every function of the solution returns nothing: the first line of its body is `return`.
#[test]
fn no_solution_without_its_bodies_passes() {
    let passed = passed(|program| {
        let hollow = |line: &str| match (line.starts_with("def "), line.find("):")) {
            (true, Some(end)) => format!("{} return None\n", &line[..end + 2]),
            _ => String::new(),
        };
        program.lines().map(hollow).collect()
    });
    assert!(passed.iter().all(|(passed, _)| passed.is_empty()), "{passed:?}");
}
