//! Toy tasks and a model for them, from nothing to a run.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use rltrain_executor::toy::{Meter, strings};
use serde_json::Value;

use crate::model::{Vocabulary, make_model};
use crate::rltrain::expect;

/// Makes `train.jsonl` and `heldout.jsonl`.
fn generate(folder: &Path, kind: &str, count: usize) {
    let count = count.to_string();
    let sizes = ["--count", &count, "--heldout-count", "12", "--seed", "3"];
    expect(folder, &[&["tasks", "generate", kind, "train.jsonl", "heldout.jsonl"], &sizes[..]].concat(), 0);
}

fn tasks(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn program(task: &Value) -> strings::Program {
    strings::Program::parse(task["reference"].as_str().unwrap()).unwrap()
}

#[test]
fn generated_string_programs_pass_their_tests_and_no_held_out_one_does_what_one_that_is_trained_on_does() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    generate(folder, "string-programs", 150);
    for file in ["train.jsonl", "heldout.jsonl"] {
        let (out, error) = expect(folder, &["tasks", "verify", file, "--runtime", "toy-strings"], 0);
        assert!(out.contains("no fault") || !out.contains("fault"), "{out}{error}");
    }
    let (train, heldout) = (tasks(&folder.join("train.jsonl")), tasks(&folder.join("heldout.jsonl")));
    // Inputs of every task, so that functions are compared on more than what they were told apart by.
    let inputs: Vec<&str> = train
        .iter()
        .flat_map(|task| task["hidden_tests"].as_array().unwrap())
        .map(|test| test["stdin"].as_str().unwrap())
        .collect();
    let results = |task: &Value| -> Vec<Option<String>> {
        let program = program(task);
        inputs.iter().map(|input| program.run(input, &mut Meter::new(10_000)).ok()).collect()
    };
    let seen: std::collections::BTreeSet<_> = train.iter().map(results).collect();
    assert!(heldout.iter().all(|task| !seen.contains(&results(task))));
}

/// References of generated functions are run by CPython: what the toy interpreter says of them is what Python says.
#[test]
fn generated_functions_are_python() {
    let place = tempfile::tempdir().unwrap();
    generate(place.path(), "functions", 60);
    expect(place.path(), &["tasks", "verify", "train.jsonl"], 0);
    expect(place.path(), &["tasks", "verify", "train.jsonl", "--runtime", "toy-python"], 0);
}

#[test]
fn what_cannot_be_generated_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let generate = ["tasks", "generate", "functions", "train.jsonl", "heldout.jsonl"];
    let (_, error) = expect(place.path(), &[&generate[..], &["--size", "0"]].concat(), 2);
    assert!(error.contains("--size is 0, wanted at least 1"), "{error}");
    let (_, error) = expect(place.path(), &[&generate[..], &["--distinct", "0", "--count", "2"]].concat(), 2);
    assert!(error.contains("were found in"), "{error}");
}

fn recipe(steps: u64, algorithm: &str) -> String {
    let mut text = format!("seed = 1\nsteps = {steps}\nrun = \"run\"\n");
    write!(
        text,
        r#"
[model]
path = "model"
compute = "f32"
device = "cpu"
[tasks]
train = "train.jsonl"
heldout = "heldout.jsonl"
prompt = ""
prefill = "{{{{ task.prompt | replace(' ', '~') }}}}\n={{{{ task.signature }}}}"
[executor]
runtime = "toy-strings"
workers = 1
[executor.limits]
fuel = 20_000_000
[rollout]
tasks_per_step = 4
group_size = 4
max_tokens = 26
[rewards.outcome_table]
[algorithm]
{algorithm}
[optimizer]
learning_rate = 2e-3
[eval]
samples = 2
[checkpoint]
every = 100
"#
    )
    .unwrap();
    text
}

/// The tokenizer has a token for each of the language's, so that a reference is as long as the program, and an end.
#[test]
fn a_model_from_nothing_learns_what_programs_look_like_and_goes_on_by_reinforcement() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    generate(folder, "string-programs", 200);
    make_model(&folder.join("model"), &Vocabulary::of_strings()).unwrap();
    fs::write(folder.join("recipe.toml"), recipe(30, "preset = \"sft\"")).unwrap();
    expect(folder, &["recipe.toml"], 0);
    let metrics = fs::read_to_string(folder.join("run/metrics.jsonl")).unwrap();
    let lines: Vec<Value> = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let loss = |line: &Value| line["supervised_loss"].as_f64().unwrap();
    assert!(loss(&lines[0]) > 4.0, "a model that knows nothing: {}", lines[0]);
    assert!(loss(&lines[29]) < 3.5, "{}", lines[29]);
    let first = tasks(&folder.join("train.jsonl")).remove(0);
    assert!(program(&first).tokens() <= strings::MOST_TOKENS);
    let warm = recipe(2, "preset = \"remax\"")
        .replace("path = \"model\"", "path = \"run/checkpoints/step-00000030/model\"")
        .replace("run = \"run\"", "run = \"more\"");
    fs::write(folder.join("more.toml"), warm).unwrap();
    expect(folder, &["more.toml"], 0);
    let metrics = fs::read_to_string(folder.join("more/metrics.jsonl")).unwrap();
    let line: Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
    assert_eq!(line["exec/infra_error"].as_f64(), Some(0.0));
    assert!(line["exec/loaded"].as_f64().unwrap() <= 1.0, "{line}");
}
