//! `rltrain replay` and `rltrain diff`: what a run records of its updates, and what can be done with it.

use std::path::Path;

use rltrain::record::{read_record, record_file, recorded_steps};
use serde_json::Value;

use crate::rltrain::expect;
use crate::tiny::{self, edit};

/// A tiny run of `steps` steps, with more in its recipe.
fn train(folder: &Path, steps: usize, more: &str) {
    tiny::make(folder);
    edit(folder, "steps = 4\n", &format!("steps = {steps}\n"));
    edit(folder, "every = 2\nsamples = 4\nk = [1, 4]\n", "every = 10\nsamples = 1\nk = [1]\n");
    edit(folder, "max_tokens = 48\n", "max_tokens = 24\n");
    edit(folder, "[checkpoint]\nevery = 1\n", "[checkpoint]\nevery = 1\nkeep_last = 9\n");
    edit(folder, "[optimizer]\n", &format!("{more}[optimizer]\n"));
    expect(folder, &["recipe.toml"], 0);
}

fn replay(folder: &Path, step: &str, more: &[&str]) -> Value {
    let arguments = [&["replay", "run", "--step", step, "--json"][..], more].concat();
    serde_json::from_str(&expect(folder, &arguments, 0).0).unwrap()
}

fn metric(replay: &Value, name: &str) -> (f64, f64) {
    let metrics = replay["metrics"].as_array().unwrap();
    let found = metrics.iter().find(|metric| metric["name"] == name).unwrap();
    (found["recorded"].as_f64().unwrap(), found["replayed"].as_f64().unwrap())
}

#[test]
fn an_unchanged_replay_has_the_recorded_gradient_and_a_changed_one_another() {
    let folder = tempfile::tempdir().unwrap();
    let algorithm = "[algorithm]\nepochs = 2\nmini_batches = 3\nkl_coefficient = 0.05\nkl = \"k3\"\n";
    train(folder.path(), 3, algorithm);
    assert_eq!(recorded_steps(&folder.path().join("run")), [1, 2, 3]);
    for step in ["1", "2", "3"] {
        let same = replay(folder.path(), step, &[]);
        assert_eq!(same["same_gradients"], true, "{same}");
        assert_eq!(
            same["recorded_gradients"].as_array().unwrap().len(),
            6,
            "two epochs of three mini-batches: {same}"
        );
        for metric in same["metrics"].as_array().unwrap() {
            assert_eq!(metric["recorded"], metric["replayed"], "{same}");
        }
    }
    let other = replay(folder.path(), "3", &["--set", "algorithm.kl_coefficient=0.5"]);
    assert_eq!(
        (&other["same_gradients"], &other["changed"][0]["key"]),
        (&false.into(), &"algorithm.kl_coefficient".into())
    );
    assert!(other["first_tensor"].is_string());
    // A clip of almost nothing cuts ratios off.
    let tight = replay(
        folder.path(),
        "3",
        &["--set", "algorithm.clip_high=1e-9", "--set", "algorithm.clip_low=1e-9"],
    );
    let (recorded, replayed) = metric(&tight, "clip_ratio/region_mean");
    assert!(replayed > recorded, "{tight}");
    let (shown, _) = expect(folder.path(), &["replay", "run", "--step", "2"], 0);
    assert!(shown.contains("the same gradients, bit for bit") && shown.contains("grad_norm"), "{shown}");
}

#[test]
fn what_cannot_be_replayed_is_refused_with_what_can() {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), 3, "");
    std::fs::remove_dir_all(folder.path().join("run/checkpoints/step-00000001")).unwrap();
    std::fs::remove_file(record_file(&folder.path().join("run"), 3)).unwrap();
    for (arguments, wanted) in [
        (&["replay", "run", "--step", "2"][..], "there is no checkpoint of step 1"),
        (&["replay", "run", "--step", "3"], "there is no record of it"),
        (&["replay", "run", "--step", "9"], "these have both: 1"),
        (
            &["replay", "run", "--step", "1", "--set", "rollout.temperature=0.5"],
            "`rollout.temperature` says how attempts come about",
        ),
        (&["replay", "run", "--step", "1", "--set", "algorithm.clip_hihg=1"], "did you mean `clip_high`?"),
        (&["replay", "model", "--step", "1"], "has no `recipe.toml`"),
        (&["diff", "run", "model"], "has no `recipe.toml`"),
    ] {
        let (_, error) = expect(folder.path(), arguments, 2);
        let words = error.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        assert!(words.contains(wanted), "{arguments:?}: no `{wanted}` in\n{error}");
    }
    let record = record_file(&folder.path().join("run"), 1);
    let bytes = std::fs::read(&record).unwrap();
    std::fs::write(&record, &bytes[..bytes.len() / 2]).unwrap();
    let (_, error) = expect(folder.path(), &["replay", "run", "--step", "1"], 1);
    let words = error.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    assert!(words.contains("is not what this version of rltrain wrote"), "{error}");
}

#[test]
fn the_first_difference_of_two_runs_is_named() {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), 2, "");
    let other = folder.path().join("other");
    // Another number of threads would be another rounding; another clip changes nothing before the first update.
    expect(folder.path(), &["recipe.toml", "--set", "run=other", "--set", "optimizer.learning_rate=2e-3"], 0);
    let (same, _) = expect(folder.path(), &["diff", "run", "run"], 0);
    assert!(same.contains("2 steps in both, all alike"), "{same}");
    let parting = |a: &str, b: &str| -> Value {
        serde_json::from_str::<Value>(&expect(folder.path(), &["diff", a, b, "--json"], 0).0).unwrap()["parting"].clone()
    };
    // The learning rate is a metric of the first step; what it does shows in the second.
    let found = parting("run", "other");
    assert_eq!((found["step"].as_u64(), found["field"].as_str()), (Some(1), Some("metric")), "{found}");
    std::fs::copy(record_file(&folder.path().join("run"), 1), record_file(&other, 1)).unwrap();
    let found = parting("run", "other");
    assert_eq!(found["step"], 2, "{found}");
    assert!(
        found["task"].is_string() && ["token", "logprob"].contains(&found["field"].as_str().unwrap()),
        "{found}"
    );

    let record = read_record(&folder.path().join("run"), 2).unwrap();
    assert_eq!(record.tasks.len(), record.attempts.groups.len());
    let (words, _) = expect(folder.path(), &["diff", "run", "other"], 0);
    assert!(words.starts_with("the runs part at step 2, task `") && words.contains("  first "), "{words}");
}

#[test]
fn records_are_bounded_and_can_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), 3, "[telemetry]\nrecord = 2\n\n");
    assert_eq!(recorded_steps(&folder.path().join("run")), [2, 3]);
    expect(folder.path(), &["recipe.toml", "--set", "telemetry.record=0", "--set", "steps=4"], 0);
    assert_eq!(recorded_steps(&folder.path().join("run")), [2, 3]);
    assert!(folder.path().join("run/samples/step-00000004.jsonl").is_file());
}

/// Sampling ahead of learning, a critic, references and a verifier: whatever an update reads is in the record or in the checkpoint.
#[test]
fn every_kind_of_run_is_replayed() {
    for more in [
        "staleness = 1\n\n",
        "\n[algorithm]\npreset = \"ppo\"\n\n",
        "\n[supervised]\ncoefficient = 0.1\n\n",
        "\n[verifier]\ntoken_weights = true\n\n",
    ] {
        let folder = tempfile::tempdir().unwrap();
        tiny::make(folder.path());
        for (from, to) in [
            ("steps = 4\n", "steps = 2\n"),
            ("every = 2\nsamples = 4\nk = [1, 4]\n", "every = 10\nsamples = 1\nk = [1]\n"),
            ("max_tokens = 48\n", "max_tokens = 24\n"),
            ("max_batch = 12\n\n", &format!("max_batch = 12\n{more}")),
        ] {
            edit(folder.path(), from, to);
        }
        expect(folder.path(), &["recipe.toml"], 0);
        let same = replay(folder.path(), "2", &[]);
        assert_eq!(same["same_gradients"], true, "{more}\n{same}");
    }
}

/// Every command of the page on a run of its own.
#[test]
fn the_commands_of_the_manual_run() {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), 2, "[algorithm]\nkl_coefficient = 0.01\nkl = \"k3\"\n\n");
    expect(folder.path(), &["recipe.toml", "--set", "run=other", "--set", "seed=4"], 0);
    run_commands(folder.path(), include_str!("../docs/replay.md"), 3);
}

/// Runs every command of the console blocks of a page.
pub(crate) fn run_commands(folder: &Path, page: &str, wanted: usize) {
    let blocks = page.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    let commands: Vec<&str> =
        blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("rltrain ")).collect();
    assert_eq!(commands.len(), wanted, "{commands:?}");
    for command in commands {
        let arguments: Vec<&str> = command.split_whitespace().collect();
        expect(folder, &arguments, 0);
    }
}
