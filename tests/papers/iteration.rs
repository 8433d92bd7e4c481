//! Expert iteration: what is gathered and learnt from, where fine-tuning starts, and that a run that is stopped goes on from there.

use std::path::Path;

use serde_json::Value;

use crate::held::{checkpoint, files, made, metric, metrics, refused, resumed_ends_as_whole, run, tensors};
use crate::rltrain::expect;
use crate::tiny::edit;

const RIGHT: &str = "[algorithm]\npreset = \"rejection-sampling\"\n";
/// Two turns whatever the public tests say, in the model's 512 positions.
const TURNS: &str = "[episode]\nturns = 2\nstop_on_public_pass = false\nfeedback_characters = 60\nreply = \"{{ feedback }}\"\n";
/// Nearly every completion of the tiny model is cut off otherwise, and is its attempt's last turn then.
const STOPS: &str = "stop = [\"q\", \"z\", \"k\", \"w\", \"j\", \"v\"]\n";

fn sections(relabel: &str, more: &str) -> String {
    format!("{TURNS}{RIGHT}[iteration]\nrelabel = \"{relabel}\"\nbatch_size = 8\n{more}")
}

fn model(folder: &Path, step: u64) -> Vec<u8> {
    files(&checkpoint(folder, step))["model/model.safetensors"].clone()
}

fn dataset(folder: &Path, step: u64) -> Value {
    serde_json::from_slice(&files(&checkpoint(folder, step))["dataset.json"]).unwrap()
}

/// muCode with a verifier, on two steps for each fine-tuning: everything is in the checkpoint, in the middle of an iteration too.
#[test]
fn a_run_that_was_stopped_in_the_middle_of_an_iteration_goes_on_from_there() {
    let more =
        "every = 2\n[verifier]\nobjective = \"bradley-terry\"\n[verifier.optimizer]\nlearning_rate = 1e-3\n";
    let folder = resumed_ends_as_whole(&sections("expert", more), STOPS, 3);
    let of = |name| metric(folder.path(), &format!("iteration/{name}"));
    let (visits, examples, updates) = (of("visits"), of("examples"), of("updates"));
    assert!(visits.windows(2).all(|pair| pair[0] < pair[1]), "it grows: {visits:?}");
    assert_eq!([examples[0], updates[0], examples[2], updates[2]], [0.0; 4], "these steps only gather");
    for step in [1, 3] {
        assert!(examples[step] > 0.0, "{examples:?}");
        assert_eq!(updates[step], 2.0 * (examples[step] / 8.0).ceil(), "two passes, eight at a time");
    }
    // States of the second turn are learnt from.
    let dataset = dataset(folder.path(), 4);
    let visits = dataset["dataset"]["visits"].as_array().unwrap();
    assert!(visits.iter().any(|visit| !visit["context"].as_array().unwrap().is_empty()));
    assert!(visits.iter().any(|visit| visit["score"].is_f64()), "the verifier was asked");
    assert!(metrics(folder.path())[3]["supervised_loss"].as_f64().unwrap() > 0.0);
    assert_ne!(model(folder.path(), 2), model(folder.path(), 4));
    assert_eq!(model(folder.path(), 2), model(folder.path(), 3), "between two fine-tunings it stays");
}

/// The first fine-tuning is of the first model either way; a later one starts over, or goes on.
#[test]
fn fine_tuning_starts_from_the_base_or_goes_on() {
    let of = |from: &str| run(&sections("own", &format!("every = 2\nfrom = \"{from}\"\n")), STOPS);
    let (base, current) = (of("base"), of("current"));
    assert_eq!(model(base.path(), 2), model(current.path(), 2));
    assert_ne!(model(base.path(), 4), model(current.path(), 4));
    // Starting over leaves nothing of what was learnt before: the optimizer has seen the last fine-tuning alone.
    let updates = |folder: &Path| {
        let state: Value = serde_json::from_slice(&files(&checkpoint(folder, 4))["trainer.json"]).unwrap();
        state["optimizer_updates"].as_f64().unwrap()
    };
    let made = metric(base.path(), "iteration/updates");
    assert_eq!(updates(base.path()), made[3]);
    let made = metric(current.path(), "iteration/updates");
    assert_eq!(updates(current.path()), made[1] + made[3]);
}

/// Where nothing is right, fine-tuning from the base gives the base, exactly.
#[test]
fn without_an_example_the_model_is_the_first_one() {
    let right = format!("{RIGHT}accept_from = 9.0\n");
    let folder = run(&sections("own", "").replace(RIGHT, &right), STOPS);
    let first = tensors(&folder.path().join("model/model.safetensors"));
    assert!(tensors(&checkpoint(folder.path(), 4).join("model/model.safetensors")) == first);
    assert_eq!(metric(folder.path(), "iteration/examples"), [0.0; 4]);
    assert_eq!(metric(folder.path(), "accepted"), [0.0; 4]);
}

/// Dr. Boot: tasks that nobody solves are learnt from their references, and each iteration has a data set of its own.
#[test]
fn references_stand_in_where_nothing_is_right() {
    let right = format!("{RIGHT}accept_from = 9.0\n");
    let text = sections("bootstrap", "aggregate = false\n").replace(RIGHT, &right);
    let folder = run(&text, STOPS);
    assert_eq!(metric(folder.path(), "iteration/examples"), [3.0; 4], "three tasks, three references");
    assert_eq!(metric(folder.path(), "iteration/tasks"), [3.0; 4]);
    assert!(dataset(folder.path(), 4)["dataset"]["visits"].as_array().unwrap().is_empty());
    // A reference is learnt: less is left to learn at the end than at the beginning of a fine-tuning from the base.
    let more = sections("bootstrap", "aggregate = false\nepochs = 12\nfrom = \"current\"\n");
    let losses = metric(run(&more.replace(RIGHT, &right), STOPS).path(), "supervised_loss");
    assert!(losses[3] < 0.5 * losses[0], "{losses:?}");
}

/// SOAR: programs that are wrong for a task and run are right for another, whose examples are what they give. The tasks of the tiny model
/// are made so that nothing is right and everything runs.
#[test]
fn wrong_programs_are_learnt_as_solutions_of_other_tasks() {
    let right = format!("{RIGHT}accept_from = 9.0\n");
    let text = sections("hindsight", "most_per_task = 4\n").replace(RIGHT, &right);
    let folder = made(&text, STOPS);
    let prompt = "[tasks]\nprompt = \"{% for test in task.public_tests %}{{ test }}\\n{% endfor %}\"\n";
    edit(folder.path(), "[tasks]\n", prompt);
    // Public tests that want something else than the tasks' programs give.
    let train = folder.path().join("train.jsonl");
    let tasks = std::fs::read_to_string(&train).unwrap();
    std::fs::write(&train, tasks.replace("assert half(2) == 1", "assert half(2) == 77")).unwrap();
    expect(folder.path(), &["recipe.toml"], 0);
    let dataset = dataset(folder.path(), 4);
    let text = |ids: &Value| -> String {
        let bytes = ids.as_array().unwrap().iter().filter_map(|id| u8::try_from(id.as_u64().unwrap()).ok());
        String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
    };
    let visits = dataset["dataset"]["visits"].as_array().unwrap();
    let hindsight: Vec<String> = visits
        .iter()
        .filter(|visit| !visit["hindsight"].is_null())
        .map(|visit| text(&visit["hindsight"]))
        .collect();
    assert!(!hindsight.is_empty(), "{} visits", visits.len());
    let half: Vec<&String> = hindsight.iter().filter(|prompt| prompt.contains("half(2)")).collect();
    assert!(!half.is_empty(), "{hindsight:?}");
    assert!(half.iter().all(|prompt| prompt.contains("assert half(2) == 1\n")), "{half:?}");
    let examples = metric(folder.path(), "iteration/examples");
    assert!(examples.iter().all(|examples| *examples > 0.0 && *examples <= 12.0), "{examples:?}");
}

#[test]
fn what_cannot_be_iterated_is_refused_at_its_line() {
    let error = refused("[iteration]\n");
    assert!(error.contains("set `algorithm.preset = \"rejection-sampling\"`"), "{error}");
    let error = refused(&format!("{RIGHT}epochs = 3\n[iteration]\n"));
    assert!(error.contains("`algorithm.epochs` is set, but with `[iteration]` nothing reads it"), "{error}");
    let error = refused(&format!("{RIGHT}[iteration]\nmost_failures = 3\n"));
    assert!(error.contains("`iteration.most_failures` is set, but with `relabel = \"own\"`"), "{error}");
    let error = refused(&format!("{RIGHT}[iteration]\nrelabel = \"expert\"\nscore_weight = -1.0\n"));
    assert!(error.contains("`iteration.score_weight` is -1") && error.contains("recipe.toml:"), "{error}");
    let error = refused(&format!("{RIGHT}[iteration]\nrelabel = \"hindsight\"\n"));
    assert!(error.contains("the prompt shows none"), "{error}");
    let error = refused(&format!("{RIGHT}[supervised]\ncoefficient = 1.0\n[iteration]\n"));
    assert!(error.contains("nothing reads `[supervised]`"), "{error}");
}
