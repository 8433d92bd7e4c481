//! What a user sees who gives us something wrong: one message with place and remedy, exit code 2, nothing left behind.

use std::path::Path;

use crate::rltrain::expect;
use crate::tiny::{self, edit};

/// Spoils a good set-up, runs it, and returns the message.
fn message(spoil: impl FnOnce(&Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    spoil(folder.path());
    let (_, error) = expect(folder.path(), &["recipe.toml"], 2);
    assert!(!folder.path().join("run").exists(), "a run folder was left behind\n{error}");
    // Temporary folders have another name each time.
    error
        .replace(&folder.path().canonicalize().unwrap().display().to_string(), "DIR")
        .replace(&folder.path().display().to_string(), "DIR")
}

#[test]
fn a_missing_model() {
    insta::assert_snapshot!(message(|folder| std::fs::remove_dir_all(folder.join("model")).unwrap()));
}

#[test]
fn a_missing_task_file() {
    insta::assert_snapshot!(message(|folder| std::fs::remove_file(folder.join("train.jsonl")).unwrap()));
}

#[test]
fn a_misspelt_key() {
    insta::assert_snapshot!(message(|folder| edit(folder, "group_size", "group_sise")));
}

#[test]
fn a_wrong_type() {
    insta::assert_snapshot!(message(|folder| edit(folder, "max_tokens = 48", "max_tokens = \"48\"")));
}

#[test]
fn an_impossible_value() {
    insta::assert_snapshot!(message(|folder| edit(folder, "group_size = 6", "group_size = 1")));
}

#[test]
fn an_unreadable_task_line() {
    insta::assert_snapshot!(message(|folder| {
        let path = folder.join("train.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, text.replacen("\"entry_point\":\"next\",", "\"entry_point\":", 1)).unwrap();
    }));
}

#[test]
fn a_truncated_safetensors_file() {
    insta::assert_snapshot!(message(|folder| {
        let path = folder.join("model/model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    }));
}

#[test]
fn a_recipe_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let (_, error) = expect(folder.path(), &["nowhere.toml"], 2);
    insta::assert_snapshot!(error);
}

#[test]
fn another_recipe_in_the_same_run_folder() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    edit(folder.path(), "steps = 4", "steps = 1");
    expect(folder.path(), &["recipe.toml"], 0);
    edit(folder.path(), "learning_rate = 1e-3", "learning_rate = 2e-3");
    let (_, error) = expect(folder.path(), &["recipe.toml"], 2);
    assert!(error.contains("optimizer.learning_rate") && error.contains("0.002"), "{error}");
}

#[test]
fn check_reports_every_problem_at_once_and_loads_no_model() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    std::fs::write(folder.path().join("model/model.safetensors"), b"not read").unwrap();
    let (out, _) = expect(folder.path(), &["check", "recipe.toml"], 0);
    assert!(out.contains("no problem found"), "{out}");
    edit(folder.path(), "group_size = 6", "group_size = 1");
    edit(folder.path(), "learning_rate = 1e-3", "learning_rate = -1.0");
    edit(folder.path(), "samples = 4", "sample = 4");
    let (_, error) = expect(folder.path(), &["check", "recipe.toml"], 2);
    for problem in ["group", "learning_rate", "`sample`"] {
        assert!(error.contains(problem), "{problem} is not reported:\n{error}");
    }
}

/// The tokenizer is all of the model that is read for it.
#[test]
fn a_grammar_that_is_none_is_shown_at_its_line_with_what_the_engine_says() {
    for (notation, text, line, said) in [
        ("lark", "'''\nstart: sum\nsum: term (\"+\" ter\nterm: /[0-9]+/\n'''", "sum: term (", "Expected"),
        ("lark", "'''\nstart: sum\nterm: /[0-9]+/\n'''", "start: sum", "unknown name"),
        ("regex", "\"(unclosed\"", "\"(unclosed\"", "unclosed group"),
        ("json-schema", "'{\"type\": \"object\"'", "'{\"type\"", "EOF"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        tiny::make(folder.path());
        std::fs::write(folder.path().join("model/model.safetensors"), "").unwrap();
        let grammar = format!("[rollout.grammar]\nnotation = \"{notation}\"\ntext = {text}\n");
        edit(folder.path(), "[rewards.tests_passed]", &format!("{grammar}\n[rewards.tests_passed]"));
        let (_, error) = expect(folder.path(), &["check", "recipe.toml"], 2);
        assert!(error.contains("rollout.grammar.text"), "{error}");
        assert!(error.contains(line) && error.contains(said), "{notation}: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    std::fs::write(folder.path().join("model/model.safetensors"), "").unwrap();
    let grammar = "[rollout.grammar]\nnotation = \"regex\"\ntext = \"[a-z]+\"\n";
    edit(folder.path(), "[rewards.tests_passed]", &format!("{grammar}\n[rewards.tests_passed]"));
    expect(folder.path(), &["check", "recipe.toml"], 0);
}
