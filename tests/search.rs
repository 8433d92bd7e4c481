//! Searches at evaluation: what they find with the tokens that they take, on a tiny model and with real executions.

use std::path::Path;

use serde_json::Value;

use crate::rltrain::expect;
use crate::tiny::{self, edit};

/// A run of one step whose evaluations search.
fn evaluate(folder: &Path, search: &str, more: &str) -> Vec<Value> {
    tiny::make(folder);
    edit(folder, "steps = 4\n", "steps = 1\n");
    edit(folder, "samples = 4\nk = [1, 4]\n", &format!("samples = 12\nk = [1, 4]\nsearch = {search}\n"));
    edit(folder, "[optimizer]\n", &format!("{more}\n[optimizer]\n"));
    expect(folder, &["recipe.toml"], 0);
    let text = std::fs::read(folder.join("run/evaluations.json")).unwrap();
    let all: Value = serde_json::from_slice(&text).unwrap();
    all["evaluations"].as_array().unwrap().clone()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Attempts and successes of all tasks.
fn counts(found: &Value) -> (u64, u64) {
    let tasks = found["tasks"].as_array().unwrap();
    let sum = |name: &str| tasks.iter().map(|task| task[name].as_u64().unwrap()).sum();
    (sum("samples"), sum("correct"))
}

#[test]
fn critical_sampling_goes_on_from_programs_that_pass() {
    let folder = tempfile::tempdir().unwrap();
    let evaluations = evaluate(folder.path(), "[\"critical\"]", "[verifier]\n");
    let mut successes = 0;
    for evaluation in &evaluations {
        let [found] = &evaluation["searches"].as_array().unwrap()[..] else { panic!("{evaluation}") };
        assert_eq!(found["search"], "critical");
        assert_eq!(
            (counts(evaluation).0, counts(found).0),
            (24, 24),
            "as many attempts as before: {evaluation}"
        );
        successes += counts(found).1;
        // The attempts that it begins with are part of what it takes; of the others, a token at least was there already.
        let (before, all) = (number(&evaluation["tokens_per_task"]), number(&found["tokens_per_task"]));
        assert!(before < all && all <= before + 12.0 * 47.0, "{before} and {all}");
        let ks: Vec<u64> =
            found["pass_at_k"].as_array().unwrap().iter().map(|of| of["k"].as_u64().unwrap()).collect();
        assert_eq!(ks, [1, 4]);
    }
    assert!(successes > 0);
    // The same again, from the same numbers.
    let again = tempfile::tempdir().unwrap();
    assert_eq!(evaluate(again.path(), "[\"critical\"]", "[verifier]\n"), evaluations);
}

/// Two turns of twelve programs each find more than an attempt of two turns, with the tokens that it takes.
#[test]
fn the_best_of_n_is_answered_turn_by_turn() {
    let folder = tempfile::tempdir().unwrap();
    let episode = "[verifier]\nobjective = \"bradley-terry\"\n[episode]\nturns = 2\nfeedback_characters = 60\nreply = \"{{ feedback }}\"\n";
    let evaluations = evaluate(folder.path(), "[\"best-of-n\"]", episode);
    for evaluation in &evaluations {
        let [found] = &evaluation["searches"].as_array().unwrap()[..] else { panic!("{evaluation}") };
        assert_eq!(found["search"], "best-of-n");
        assert_eq!(counts(found).0, 2, "one attempt at each task");
        let plain = number(&evaluation["pass_at_k"][0]["mean"]);
        assert!(number(&found["pass_at_k"][0]["mean"]) >= plain, "{evaluation}");
        assert_eq!(found["pass_at_k"].as_array().unwrap().len(), 1, "pass@4 is of four attempts");
        let tokens = number(&found["tokens_per_task"]);
        assert!(tokens > 12.0 && tokens <= 2.0 * 12.0 * 48.0, "{tokens}");
    }
}

/// Where nothing passes the public tests, the likeliest program is answered, and there are as many attempts as ever.
#[test]
fn what_never_passes_is_repaired() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let tasks = std::fs::read_to_string(folder.path().join("heldout.jsonl")).unwrap();
    let wrong = [("== 2\"", "== 3\""), ("== 6\"", "== 7\""), ("== -1\"", "== 1\""), ("== -3\"", "== 3\"")];
    let hopeless = wrong.iter().fold(tasks.clone(), |tasks, (from, to)| tasks.replace(from, to));
    assert_ne!(hopeless, tasks);
    std::fs::write(folder.path().join("hopeless.jsonl"), hopeless).unwrap();
    edit(folder.path(), "heldout.jsonl", "hopeless.jsonl");
    edit(folder.path(), "steps = 4\n", "steps = 1\n");
    edit(folder.path(), "k = [1, 4]\n", "k = [1, 4]\nsearch = [\"critical\", \"best-of-n\"]\n");
    edit(
        folder.path(),
        "[optimizer]\n",
        "[verifier]\n[episode]\nfeedback_characters = 60\nreply = \"{{ feedback }}\"\n[optimizer]\n",
    );
    // So that programs end, and can be answered.
    edit(
        folder.path(),
        "max_batch = 12\n",
        "max_batch = 12\nstop = [\"q\", \"z\", \"k\", \"w\", \"j\", \"v\"]\n",
    );
    expect(folder.path(), &["recipe.toml"], 0);
    let text = std::fs::read(folder.path().join("run/evaluations.json")).unwrap();
    let all: Value = serde_json::from_slice(&text).unwrap();
    for evaluation in all["evaluations"].as_array().unwrap() {
        let searches = evaluation["searches"].as_array().unwrap();
        assert_eq!(searches.iter().map(counts).collect::<Vec<_>>(), [(8, 0), (2, 0)], "{evaluation}");
    }
}
