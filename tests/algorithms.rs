//! Every published algorithm by its name, through the whole program, on the tiny model.

use std::path::Path;

use rltrain::algorithm::Preset;
use serde_json::Value;

use crate::first_light::killed_and_resumed_ends_as_one_never_killed;
use crate::rltrain::expect;
use crate::tiny::{self, edit};

/// A run of two short steps.
fn make_short(folder: &Path) {
    tiny::make(folder);
    edit(folder, "steps = 4\n", "steps = 2\n");
    edit(folder, "max_tokens = 48\n", "max_tokens = 12\n");
    edit(folder, "samples = 4\nk = [1, 4]\n", "samples = 1\nk = [1]\n");
}

fn metrics(folder: &Path) -> Vec<Value> {
    let lines = std::fs::read_to_string(folder.join("run/metrics.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn number(metrics: &Value, name: &str) -> f64 {
    metrics[name].as_f64().unwrap_or_else(|| panic!("`{name}` is {}", metrics[name]))
}

#[test]
fn every_preset_takes_two_steps_with_finite_losses_and_gradients() {
    for preset in Preset::EVERY {
        let folder = tempfile::tempdir().unwrap();
        make_short(folder.path());
        let name = serde_json::to_string(&preset).unwrap();
        edit(folder.path(), "[optimizer]\n", &format!("[algorithm]\npreset = {name}\n\n[optimizer]\n"));
        expect(folder.path(), &["recipe.toml"], 0);
        let steps = metrics(folder.path());
        assert_eq!(steps.len(), 2, "{name}");
        for step in &steps {
            assert!(
                number(step, "loss").is_finite() && number(step, "grad_norm").is_finite(),
                "{name}: {step}"
            );
            assert_eq!(number(step, "grad_skipped"), 0.0, "{name}: {step}");
            assert!(number(step, "mismatch/logp_diff_mean") < 1e-4, "{name}: {step}");
        }
        let learnt = steps.iter().filter(|step| number(step, "num_tokens") > 0.0);
        // Of these tasks the best attempts tie, and it teaches by the lead of the best.
        let may_be_silent = preset == Preset::PassAtK;
        assert!(learnt.clone().count() > 0 || may_be_silent, "{name} had nothing to learn from: {steps:?}");
        assert!(learnt.clone().all(|step| number(step, "grad_norm") > 0.0), "{name}: {steps:?}");
    }
}

/// What is written down of each step adds up: three of everything that a critic or a reference adds.
#[test]
fn ppo_trains_its_critic_and_keeps_near_its_reference() {
    let folder = tempfile::tempdir().unwrap();
    make_short(folder.path());
    edit(
        folder.path(),
        "[optimizer]\n",
        "[algorithm]\npreset = \"ppo\"\nkl_coefficient = 0.1\nkl_control = \"adaptive\"\nkl_target = 1e-9\nz_loss_coefficient = 1e-4\nepochs = 2\n\
         [critic]\nwarmup_steps = 1\n[critic.optimizer]\nlearning_rate = 0.1\n\n[optimizer]\n",
    );
    expect(folder.path(), &["recipe.toml"], 0);
    let steps = metrics(folder.path());
    let values: Vec<f64> = steps.iter().map(|step| number(step, "critic/vpred_mean")).collect();
    assert_eq!(values[0], 0.0, "a new critic expects nothing");
    assert_ne!(values[1], 0.0, "the critic has learnt something");
    assert_eq!(number(&steps[0], "learning_rate"), 0.0, "the first step is the critic's");
    assert!(number(&steps[0], "critic/grad_norm") > 0.0 && number(&steps[0], "grad_norm") == 0.0);
    assert!(number(&steps[1], "grad_norm") > 0.0);
    assert!(number(&steps[1], "ratio/max") > 1.0, "the second epoch is off-policy: {}", steps[1]);
    assert!(number(&steps[0], "kl").abs() < 1e-6, "the policy is the reference at first");
}

#[test]
fn references_are_learnt_from_beside_attempts_and_alone() {
    let folder = tempfile::tempdir().unwrap();
    make_short(folder.path());
    edit(folder.path(), "steps = 2\n", "steps = 6\n");
    edit(
        folder.path(),
        "[optimizer]\n",
        "[supervised]\ncoefficient = 1.0\nmode = \"alone\"\n\n[optimizer]\n",
    );
    expect(folder.path(), &["recipe.toml"], 0);
    let losses: Vec<f64> =
        metrics(folder.path()).iter().map(|step| number(step, "supervised_loss")).collect();
    assert!(losses.windows(2).all(|pair| pair[1] < pair[0]), "{losses:?}");
    assert!(losses[0] > 5.0 && losses[5] < losses[0] - 1.0, "from a uniform guess of 259 tokens: {losses:?}");

    for mode in ["mixed", "alternating"] {
        let folder = tempfile::tempdir().unwrap();
        make_short(folder.path());
        let section = format!("[supervised]\ncoefficient = 0.5\nmode = \"{mode}\"\n\n[optimizer]\n");
        edit(folder.path(), "[optimizer]\n", &section);
        expect(folder.path(), &["recipe.toml"], 0);
        let steps = metrics(folder.path());
        let halves = number(&steps[0], "supervised_loss") / losses[0];
        // The policy's own step comes first where they alternate.
        let bound = if mode == "mixed" { 1e-3 } else { 0.1 };
        assert!(
            (halves - 0.5).abs() < bound,
            "{mode}: half of {} is not {}",
            losses[0],
            steps[0]["supervised_loss"]
        );
        assert!(number(&steps[0], "reward") >= 0.0, "{mode} makes attempts");
    }
}

/// Dynamic sampling, several optimizer steps a rollout, and a reference that follows.
#[test]
fn a_killed_grpo_run_with_refills_mini_batches_and_an_averaged_reference_ends_as_one_never_killed() {
    killed_and_resumed_ends_as_one_never_killed(
        "[algorithm]\nrefills = 2\nepochs = 2\nmini_batches = 2\nkl_coefficient = 0.02\nreference = \"ema\"\n\
         reference_every = 1\nreference_decay = 0.5\ncorrection = \"token-tis\"\n",
    );
}

#[test]
fn a_killed_ppo_run_with_its_own_critic_and_adaptive_kl_ends_as_one_never_killed() {
    killed_and_resumed_ends_as_one_never_killed(
        "[algorithm]\npreset = \"ppo\"\nkl_coefficient = 0.1\nkl_place = \"reward\"\nkl_control = \"adaptive\"\n\
         kl_target = 0.01\nmini_batches = 3\n[critic]\nkind = \"separate\"\n[critic.optimizer]\nlearning_rate = 1e-3\n",
    );
}
