//! HumanEval: right programs pass, wrong ones do not.

use std::path::Path;
use std::process::Command;

use rltrain_executor::Executor;
use serde_json::Value;

use super::{executors, job};

/// Problems as prompt, solution, and test; none where the data is absent.
pub(super) fn problems() -> Vec<(String, String, String)> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/HumanEval.jsonl.gz");
    if !data.exists() {
        println!("skipped: {} is absent", data.display());
        return Vec::new();
    }
    let output = Command::new("gzip").arg("-dc").arg(&data).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let problem = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let field = |name: &str| value[name].as_str().unwrap().to_owned();
        let test = format!("{}\ncheck({})\n", field("test"), field("entry_point"));
        (field("prompt"), field("canonical_solution"), test)
    };
    text.lines().map(problem).collect()
}

/// How many problems a way of solving them passes, for each runtime.
fn passed(solve: impl Fn(&str, &str) -> String) -> Vec<(usize, usize)> {
    let problems = problems();
    let with = |executor: &Executor| {
        let submit = |(prompt, solution, test): &(String, String, String)| {
            executor.submit(job(&solve(prompt, solution), &[test]))
        };
        let pending: Vec<_> = problems.iter().map(submit).collect();
        let total = pending.len();
        let verdicts = pending.into_iter().map(|pending| pending.wait().unwrap());
        (verdicts.filter(rltrain_executor::Verdict::all_passed).count(), total)
    };
    executors().map(with).collect()
}

#[test]
fn every_canonical_solution_passes() {
    for (passed, total) in passed(|prompt, solution| format!("{prompt}{solution}")) {
        assert_eq!(passed, total);
    }
}

#[test]
fn no_stub_passes() {
    for (passed, _) in passed(|prompt, _| format!("{prompt}    return None\n")) {
        assert_eq!(passed, 0);
    }
}
