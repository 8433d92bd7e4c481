//! `rltrain exec`: a program on standard input, its verdict on standard output.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use crate::rltrain::{expect, rltrain};

const PROGRAM: &str = "def double(n):\n    print('doubling')\n    return 2 * n if n < 3 else None\n";

/// A folder with a program and tests of it.
fn folder(tests: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("program.py"), PROGRAM).unwrap();
    std::fs::write(folder.path().join("tests.jsonl"), tests).unwrap();
    folder
}

/// Fuel depends on the interpreter's start, which no test is to know to the last instruction.
fn without_fuel(out: &str) -> String {
    out.lines().filter(|line| !line.starts_with("fuel ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_verdict_is_printed_test_by_test() {
    let folder = folder(
        "\"assert double(2) == 4\"\n\n\"assert double(5) == 10\"\n\"assert open('/etc/passwd') == 0\"\n",
    );
    let (out, _) = expect(folder.path(), &["exec", "program.py", "--tests", "tests.jsonl"], 0);
    insta::assert_snapshot!(without_fuel(&out));
}

#[test]
fn a_program_from_standard_input_gets_its_verdict_as_json() {
    let folder = folder("\"assert double(2) == 4\"\n\"assert double(5) == 10\"");
    let mut child = rltrain(folder.path())
        .args(["exec", "--lang", "python", "--tests", "tests.jsonl", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(PROGRAM.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdict["load"], serde_json::json!({"outcome": "passed"}));
    let wrong = serde_json::json!({"wrong-answer": {"actual": "None", "expected": "10"}});
    assert_eq!(
        verdict["tests"],
        serde_json::json!([{"outcome": "passed"}, {"outcome": "failed", "cause": wrong}])
    );
    assert_eq!(verdict["stdout"], "doubling\ndoubling\n");
}

/// What a user with bad input sees, with exit code 2.
fn refusal(folder: &Path, arguments: &[&str]) -> String {
    let arguments: Vec<&str> = ["exec", "program.py"].iter().chain(arguments).copied().collect();
    expect(folder, &arguments, 2).1
}

#[test]
fn bad_input_is_refused_at_its_place() {
    let good = folder("\"assert double(2) == 4\"\n");
    let bad = folder("\"assert double(2) == 4\"\n\"assert double(5)\n");
    let empty = folder("\n");
    let messages = [
        refusal(bad.path(), &["--tests", "tests.jsonl"]),
        refusal(empty.path(), &["--tests", "tests.jsonl"]),
        refusal(good.path(), &["--tests", "nowhere.jsonl"]),
        refusal(good.path(), &["--tests", "tests.jsonl", "--lang", "cobol"]),
        refusal(good.path(), &["--tests", "tests.jsonl", "--memory-mib", "16"]),
    ];
    insta::assert_snapshot!(messages.join("----\n"));
}
