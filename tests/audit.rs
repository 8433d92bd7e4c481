//! `rltrain audit-reward`: nothing of the zoo is rewarded on our own tasks, and what is rewarded elsewhere is shown.

use std::path::Path;

use serde_json::Value;

use crate::rltrain::{expect, run};
use crate::tiny;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Every program of an audit, as `--json` prints them.
fn trials(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn no_cheat_is_rewarded_on_our_own_tasks() {
    for file in ["train", "heldout"] {
        let tasks = root().join(format!("recipes/tasks/python-basics/{file}.jsonl"));
        let recipe = root().join("recipes/quickstart.toml");
        let (tasks, recipe) = (tasks.to_str().unwrap(), recipe.to_str().unwrap());
        let output = run(root(), &["audit-reward", tasks, "--rewards", recipe, "--mutants", "0", "--json"]);
        let out = String::from_utf8(output.stdout).unwrap();
        let rewarded: Vec<Value> =
            trials(&out).into_iter().filter(|trial| trial["accepted"] == true).collect();
        assert!(rewarded.is_empty(), "{} rewarded, such as {:#}", rewarded.len(), rewarded[0]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{error}");
        let count = std::fs::read_to_string(tasks).unwrap().lines().count();
        assert!(trials(&out).len() >= 50 * count, "{} programs for {count} tasks", trials(&out).len());
    }
}

#[test]
fn a_reward_that_can_be_had_for_nothing_is_shown_with_the_program_that_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let heldout = std::fs::read_to_string(root().join("recipes/tasks/python-basics/heldout.jsonl")).unwrap();
    let tasks: String = heldout.lines().take(2).map(|line| format!("{line}\n")).collect();
    std::fs::write(folder.path().join("tasks.jsonl"), tasks).unwrap();
    // Whoever writes a docstring earns something, right or wrong.
    std::fs::write(folder.path().join("open.toml"), "[rewards.style]\ndocstrings = true\n").unwrap();
    let (out, error) = expect(folder.path(), &["audit-reward", "tasks.jsonl", "--rewards", "open.toml"], 2);
    assert!(out.contains("mutants of references that pass all tests"), "{out}");
    assert!(out.contains("`: docstring (a docstring for a body) earns 1.0000; "), "{out}");
    assert!(out.contains("    \"\"\"Returns the right answer.\"\"\"\n"), "{out}");
    assert!(error.contains("cheating programs are rewarded; mend the tests or the rewards"), "{error}");

    let closed = "[rewards.all_passed]\n[rewards.style]\ndocstrings = true\nonly_if = \"all_passed\"\n";
    std::fs::write(folder.path().join("closed.toml"), closed).unwrap();
    let (out, _) = expect(folder.path(), &["audit-reward", "tasks.jsonl", "--rewards", "closed.toml"], 0);
    assert!(out.contains("cheating programs that are rewarded       0 of "), "{out}");
}

#[test]
fn what_cannot_be_audited_is_said_at_its_place() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let audit = |rewards: &str| {
        std::fs::write(folder.path().join("rewards.toml"), rewards).unwrap();
        expect(folder.path(), &["audit-reward", "train.jsonl", "--rewards", "rewards.toml"], 2).1
    };
    assert!(audit("[rewards.all_pased]\n").contains("did you mean `all_passed`?"));
    assert!(audit("steps = 3\n").contains("the section `[rewards]` is missing"));
    let other = audit("[rewards.all_passed]\n[executor]\nruntime = \"ruby\"\n");
    assert!(
        other.contains("the zoo is written in Python, and the runtime `ruby` runs something else"),
        "{other}"
    );
}
