//! Rows of published sets that no other test reads: they become task files that verify.

use std::path::Path;

use rltrain::tasks::TaskSet;
use serde_json::Value;

use crate::rltrain::expect;

#[test]
fn functions_by_example_and_function_calls_become_task_files_that_verify() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for name in ["case2code", "xlam"] {
        let rows = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../recipes/tasks/published")
            .join(name)
            .with_extension("jsonl");
        let out = format!("{name}.jsonl");
        let (report, _) = expect(here, &["tasks", "convert", rows.to_str().unwrap(), &out, "--json"], 0);
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!((&report["tasks"], &report["format"]), (&1.into(), &name.into()), "{report}");
        let (report, _) = expect(here, &["tasks", "verify", &out, "--json"], 0);
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["files"][0]["faults"], Value::Array(Vec::new()), "{report}");
        assert!(report["files"][0]["wrong_programs"].as_u64().unwrap() >= 8, "{report}");
    }
    let examples = TaskSet::load(&here.join("case2code.jsonl")).unwrap();
    assert_eq!((examples[0].public_tests.len(), examples[0].hidden_tests.len()), (2, 3));
    let calls = TaskSet::load(&here.join("xlam.jsonl")).unwrap();
    let wanted = calls[0].expected.as_ref().unwrap().calls.as_ref().unwrap();
    assert_eq!((wanted.len(), &*wanted[1].name), (2, "travel_time"));

    // Another order is as good; another argument is not.
    let right = calls[0].reference.clone();
    let turned = format!("{}\n\nof = calls\n\n\ndef calls():\n    return of()[::-1]\n", right.trim_end());
    for (program, outcome) in [(turned, "passed"), (right.replace("12", "13"), "failed")] {
        std::fs::write(here.join("program.py"), program).unwrap();
        let test = serde_json::to_string(&calls[0].hidden_tests[0]).unwrap();
        std::fs::write(here.join("tests.jsonl"), format!("{test}\n")).unwrap();
        let arguments = ["exec", "--tests", "tests.jsonl", "--json", "program.py"];
        let (verdict, _) = expect(here, &arguments, 0);
        let verdict: Value = serde_json::from_str(&verdict).unwrap();
        assert_eq!(verdict["tests"][0]["outcome"], outcome, "{verdict}");
    }
}
