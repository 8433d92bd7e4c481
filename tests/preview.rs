//! `rltrain preview`, and the scripts that complete commands.

use rltrain::recipe::Recipe;
use serde_json::Value;

use crate::rltrain::expect;
use crate::tiny::{self, edit};

#[test]
fn one_attempt_is_shown_from_prompt_to_reward_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let arguments = ["preview", "recipe.toml", "--set", "rollout.max_tokens=16", "--json"];
    let (out, _) = expect(folder.path(), &arguments, 0);
    let preview: Value = serde_json::from_str(&out).unwrap();
    let prompt = preview["prompt"].as_str().unwrap();
    assert!(prompt.starts_with("<|im_start|>Write") && prompt.contains("```python\ndef "), "{preview}");
    // The tiny tokenizer has a token a byte, besides three special ones.
    assert_eq!(preview["before"].as_array().unwrap().len(), 12);
    assert_eq!(preview["before"][11]["text"], ":", "the prompt ends with the signature: {preview}");
    let stop: Vec<&str> = preview["stop_tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| token["text"].as_str().unwrap())
        .collect();
    assert_eq!(stop, ["<|endoftext|>", "<|im_end|>"]);
    let tokens = preview["completion_tokens"].as_u64().unwrap();
    assert!(
        (1..=16).contains(&tokens) && preview["after"].as_array().unwrap().len() as u64 == tokens.min(12)
    );
    assert!(preview["program"].as_str().unwrap().contains(preview["completion"].as_str().unwrap()));
    let parts = preview["parts"].as_array().unwrap();
    let mut names: Vec<&str> = parts.iter().map(|part| part["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["all_passed", "tests_passed"]);
    let sum: f64 = parts.iter().map(|part| part["effective"].as_f64().unwrap()).sum();
    assert!((sum - preview["reward"].as_f64().unwrap()).abs() < 1e-12, "{preview}");
    assert_eq!(preview["siblings"], 6);
    assert!(!folder.path().join("run").exists());

    let (words, _) = expect(folder.path(), &arguments[..4], 0);
    for wanted in
        ["where the prompt ends and the completion begins", "what came of it", "tests_passed", "effective"]
    {
        assert!(words.contains(wanted), "no `{wanted}` in\n{words}");
    }
    // What training samples first.
    let recipe = Recipe::load(&folder.path().join("recipe.toml")).unwrap();
    edit(folder.path(), "steps = 4\n", "steps = 1\n");
    edit(folder.path(), "max_tokens = 48\n", "max_tokens = 16\n");
    expect(folder.path(), &["recipe.toml"], 0);
    let samples = std::fs::read_to_string(recipe.run.join("samples/step-00000001.jsonl")).unwrap();
    let first: Value = serde_json::from_str(samples.lines().next().unwrap()).unwrap();
    assert_eq!((&first["task"], &first["completion"]), (&preview["task"], &preview["completion"]));
}

#[test]
fn what_cannot_be_previewed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let alone =
        ["preview", "recipe.toml", "--set", "supervised.mode=alone", "--set", "supervised.coefficient=1"];
    let (_, error) = expect(folder.path(), &alone, 2);
    assert!(error.contains("nothing is attempted"), "{error}");
    let (_, error) = expect(folder.path(), &["preview", "nowhere.toml"], 2);
    assert!(error.contains("cannot read the recipe"), "{error}");
}

#[test]
fn every_shell_gets_a_script_that_knows_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (script, _) = expect(folder.path(), &["completions", shell], 0);
        assert!(script.contains("preview") && script.contains("dry-run"), "{shell}");
    }
    let (script, _) = expect(folder.path(), &["completions", "bash"], 0);
    let path = folder.path().join("rltrain.bash");
    std::fs::write(&path, script).unwrap();
    let read = std::process::Command::new("bash").arg("-n").arg(&path).status().unwrap();
    assert!(read.success(), "bash cannot read it");
    expect(folder.path(), &["completions", "tcsh"], 2);
}
