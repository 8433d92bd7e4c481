//! Recipes that would teach nothing, or not what they seem to: each is refused, stopped or warned of, by the whole program.
//! Those that are warned of by a step's metrics are in `trainer/src/traps.rs`, those that are of a recipe alone in `recipe.rs`.

use crate::rltrain::expect;
use crate::tiny::{self, edit};

#[test]
fn a_prompt_that_leaves_no_room_for_a_completion_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    edit(folder.path(), "max_tokens = 48\n", "max_tokens = 500\n");
    let (_, error) = expect(folder.path(), &["recipe.toml"], 2);
    assert!(
        error.contains("`rollout.max_tokens = 500`") && error.contains("512") && error.contains("positions"),
        "{error}"
    );
    assert!(!folder.path().join("run").exists(), "a run folder was left behind");
}

#[test]
fn a_run_whose_gradients_are_no_numbers_any_more_stops_and_leaves_its_batches() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    edit(folder.path(), "steps = 4\n", "steps = 6\n");
    edit(folder.path(), "every = 2\nsamples = 4\nk = [1, 4]\n", "every = 1000\nsamples = 1\nk = [1]\n");
    // The first update is finite and takes the weights to where the squares of their products are not.
    edit(folder.path(), "learning_rate = 1e-3\n", "learning_rate = 1e25\nmax_skipped = 2\n");
    let (_, error) = expect(folder.path(), &["recipe.toml"], 1);
    assert!(error.contains("the gradient was not finite in 2 steps in a row"), "{error}");
    let files = std::fs::read_dir(folder.path().join("run")).unwrap();
    let kept = files
        .filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().starts_with("skipped-step-"));
    assert_eq!(kept.count(), 2, "{error}");
}

#[test]
fn held_out_tasks_that_are_trained_on_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    edit(folder.path(), "steps = 4\n", "steps = 1\n");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let (train, heldout) = (read("train.jsonl"), read("heldout.jsonl"));
    let (_, error) = expect(folder.path(), &["recipe.toml"], 0);
    assert!(!error.contains("held-out tasks are trained on"), "{error}");

    let copy = train.lines().next().unwrap().replacen("\"same\"", "\"equal\"", 1);
    std::fs::write(folder.path().join("heldout.jsonl"), format!("{heldout}{copy}\n")).unwrap();
    edit(folder.path(), "run = \"run\"\n", "run = \"other\"\n");
    let (_, error) = expect(folder.path(), &["recipe.toml"], 0);
    assert!(
        error.contains("`same` and `equal` have the same prompt") && error.contains("2 pairs"),
        "{error}"
    );
}
