//! `rltrain plan`: what it says of a recipe, and when it says no.

use crate::rltrain::expect;
use crate::tiny::{self, edit};

#[test]
fn a_plan_says_what_takes_how_much_and_loads_no_weights() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    // Weights that cannot be loaded.
    std::fs::write(folder.path().join("model/model.safetensors"), "").unwrap();
    let (out, _) = expect(folder.path(), &["plan", "recipe.toml", "--mean-tokens", "20"], 0);
    for line in ["weights", "gradients", "optimizer", "activations", "logits", "update", "rollout"] {
        assert!(out.contains(line), "no `{line}` in\n{out}");
    }
    // 976,640 parameters in f32, and with AdamW as many gradients and twice as many means.
    assert!(out.contains("7.5 MiB"), "{out}");
    assert!(out.contains("completions of 48") && out.contains("completions of 20"), "{out}");
    assert!(out.contains(" fits into "), "{out}");
    assert!(!folder.path().join("run").exists());
}

#[test]
fn a_run_that_cannot_fit_is_refused_with_ways_out() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    edit(folder.path(), "group_size = 6", "group_size = 100000000");
    edit(folder.path(), "max_batch = 12", "max_batch = 100000000");
    let (out, error) = expect(folder.path(), &["plan", "recipe.toml"], 1);
    assert!(out.contains("does not fit into"), "{out}");
    assert!(error.contains("rollout.max_batch"), "{error}");
}

/// The longest attempt counts, not the first turn.
#[test]
fn too_little_memory_for_a_later_turn_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    edit(folder.path(), "max_batch = 12", "max_batch = 12\nkv_memory_mib = 5");
    expect(folder.path(), &["plan", "recipe.toml"], 0);
    edit(folder.path(), "[rewards.tests_passed]", "[episode]\nturns = 8\n\n[rewards.tests_passed]");
    let (_, error) = expect(folder.path(), &["recipe.toml"], 2);
    assert!(error.contains("kv_memory_mib"), "{error}");
    assert!(!folder.path().join("run").exists());
}
