//! Rewards that look at what not every task has: scored where the task has it, refused where no task does.

use std::path::Path;

use serde_json::{Value, json};

use crate::rltrain::expect;
use crate::tiny::{self, edit};

/// Gives the first training task these keys.
fn give(folder: &Path, keys: &Value) {
    let path = folder.join("train.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    let mut task: Value = serde_json::from_str(first).unwrap();
    task.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    std::fs::write(path, format!("{task}\n{rest}")).unwrap();
}

/// A message without the frame and the line ends that it is shown in.
pub(crate) fn flat(error: &str) -> String {
    error.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What `reward try` says of a program for the first task, with these rewards.
fn tried(keys: &Value, rewards: &str, program: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    give(folder.path(), keys);
    edit(folder.path(), "[optimizer]\n", &format!("{rewards}\n[optimizer]\n"));
    std::fs::write(folder.path().join("program.py"), program).unwrap();
    let arguments = ["reward", "try", "recipe.toml", "--task", "same", "--program", "program.py"];
    expect(folder.path(), &arguments, 0).0
}

#[test]
fn a_reward_that_no_task_gives_anything_to_score_is_refused_at_its_line() {
    for (reward, key) in [
        ("repair", "before"),
        ("written_tests", "tested"),
        ("output_prediction", "expected.output"),
        ("trace_prediction", "expected.trace"),
        ("function_calls", "expected.calls"),
        ("structured_output", "expected.structure"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        tiny::make(folder.path());
        edit(folder.path(), "[optimizer]\n", &format!("[rewards.{reward}]\n\n[optimizer]\n"));
        let (_, error) = expect(folder.path(), &["check", "recipe.toml"], 2);
        assert!(flat(&error).contains(&format!("`{reward}` can never score: no task of")), "{error}");
        assert!(flat(&error).contains(&format!("has the key `{key}`")), "{error}");
        assert!(error.contains(&format!("[rewards.{reward}]")), "{error}");
    }
}

#[test]
fn a_reward_that_the_runtime_gives_nothing_to_score_is_refused() {
    for (reward, runtime, why) in [
        ("codebleu", "wasm", "runs programs that no grammar is there for"),
        ("efficiency", "native-c", "counts no fuel"),
        ("style", "ruby", "does not run Python"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        tiny::make(folder.path());
        let docstrings = if reward == "style" { "docstrings = true\n" } else { "" };
        let sections =
            format!("[rewards.{reward}]\n{docstrings}[executor]\nruntime = \"{runtime}\"\n[optimizer]\n");
        edit(folder.path(), "[optimizer]\n", &sections);
        let (_, error) = expect(folder.path(), &["check", "recipe.toml"], 2);
        assert!(flat(&error).contains(&format!("the runtime `{runtime}` {why}")), "{error}");
    }
}

#[test]
fn a_repair_is_scored_against_the_program_before_it() {
    let before = json!({ "before": "def same(x): return 3\n" });
    let out = tried(&before, "[rewards.repair]", "def same(x): return x\n");
    assert!(out.contains("1 of 1 failing tests fixed, 0 of 1 passing tests broken"), "{out}");
    let out = tried(&before, "[rewards.repair]", "def same(x): return 4\n");
    assert!(out.contains("1 of 1 failing tests fixed, 1 of 1 passing tests broken"), "{out}");
}

#[test]
fn written_tests_are_run_against_the_right_program_and_the_wrong_ones() {
    let tested = json!({ "tested": {
        "right": "def double(n): return 2 * n\n",
        "wrong": ["def double(n): return n\n", "def double(n): return 4\n"],
    }});
    let score = |test: &str| {
        let program = format!("def test_double():\n    {test}\n");
        tried(&tested, "[rewards.written_tests]", &program)
    };
    let out = score("assert double(2) == 4");
    assert!(out.contains("1 of 2 wrong programs caught"), "{out}");
    let out = score("assert double(2) == 4 and double(0) == 0");
    assert!(out.contains("2 of 2 wrong programs caught"), "{out}");
    let out = score("assert double(2) == 5");
    assert!(out.contains("the reference fails these tests"), "{out}");
    // A text without a test is none that the right program passes.
    let out = tried(&tested, "[rewards.written_tests]", "x = 1\n");
    assert!(out.contains("the reference fails these tests"), "{out}");
}

#[test]
fn efficiency_is_weighed_level_by_level() {
    let work = "def same(x):\n    for _ in range(x): pass\n    return x\n";
    let levels = json!({ "reference": "def same(x): return x #:\n", "levels": [
        { "weight": 1, "tests": ["assert same(10) == 10"] },
        { "weight": 3, "tests": ["assert same(200000) == 200000"] },
    ]});
    let efficiency = |program: &str| {
        let out = tried(&levels, "[rewards.efficiency]", program);
        let row = out.lines().find(|line| line.starts_with("efficiency")).unwrap().to_owned();
        row.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap()
    };
    // As little as the reference at both levels, or at the small one alone, which is a quarter of the weight.
    assert!(efficiency("def same(x): return x\n") > 0.9);
    let slow = efficiency(work);
    assert!(slow > 0.1 && slow < 0.4, "{slow}");
}
