//! Every published algorithm by its name, through the whole program, on the tiny model.

use std::collections::BTreeSet;
use std::path::Path;

use rltrain::algorithm::Preset;
use serde_json::Value;

use crate::first_light::{killed_and_resumed, killed_and_resumed_ends_as_one_never_killed};
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
        let learnt = steps.iter().filter(|step| {
            number(step, "num_tokens") > 0.0
                || step["supervised_loss"].as_f64().is_some_and(|loss| loss > 0.0)
        });
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

/// Tasks drawn by their pass rates, groups of different sizes, and attempts sampled before the update that comes before
/// theirs: what all of these remember is in the checkpoint.
#[test]
fn a_killed_run_with_a_curriculum_uneven_groups_and_stale_attempts_ends_as_one_never_killed() {
    killed_and_resumed(
        "[tasks.curriculum]\nleast_weight = 0.3\ndrop_after = 2\n[algorithm]\nrefills = 1\ncorrection = \"token-tis\"\n",
        "staleness = 1\ngroup_size_min = 3\ngroup_size_max = 9\n",
    );
}

/// The first step's attempts are fresh, those of every other step are of the weights before the last update: their ratio is
/// not 1, and with a correction it is 1 and the weight of the correction is not.
#[test]
fn stale_attempts_are_of_the_weights_before_and_are_corrected() {
    for correction in ["", "correction = \"token-tis\"\n"] {
        let folder = tempfile::tempdir().unwrap();
        make_short(folder.path());
        edit(folder.path(), "steps = 2\n", "steps = 3\n");
        edit(folder.path(), "[rollout]\n", "[rollout]\nstaleness = 1\n");
        edit(folder.path(), "[optimizer]\n", &format!("[algorithm]\n{correction}\n[optimizer]\n"));
        expect(folder.path(), &["recipe.toml"], 0);
        let steps = metrics(folder.path());
        for (place, step) in steps.iter().enumerate() {
            assert_eq!(number(step, "staleness"), if place == 0 { 0.0 } else { 1.0 }, "{step}");
            assert_eq!(weights_of(folder.path(), place + 1), place.saturating_sub(1) as u64);
            let is_one = |name: &str| (number(step, name) - 1.0).abs() < 1e-4;
            let is_corrected = !correction.is_empty();
            assert_eq!(is_one("ratio/max"), place == 0 || is_corrected, "{step}");
            assert_eq!(is_one("mismatch/is_max"), place == 0 || !is_corrected, "{step}");
            assert_eq!(number(step, "mismatch/logp_diff_max") < 1e-4, place == 0, "{step}");
        }
    }
}

/// With staleness, the time of a step is less than that of its parts: the next step's attempts are made beside its update. The last
/// step has none to make.
#[test]
fn attempts_are_made_beside_the_update() {
    let overlapped = |staleness: &str| {
        let folder = tempfile::tempdir().unwrap();
        make_short(folder.path());
        edit(folder.path(), "steps = 2\n", "steps = 4\n");
        edit(folder.path(), "[rollout]\n", &format!("[rollout]\n{staleness}"));
        expect(folder.path(), &["recipe.toml"], 0);
        let text = std::fs::read_to_string(folder.path().join("run/timings.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let steps: Vec<Value> = lines.filter(|line| line.get("time/step_seconds").is_some()).collect();
        let parts = ["rollout", "execution", "update"].map(|part| format!("time/{part}_seconds"));
        let longer = |line: &Value| {
            parts.iter().map(|part| number(line, part)).sum::<f64>() > number(line, "time/step_seconds")
        };
        steps.iter().map(longer).collect::<Vec<bool>>()
    };
    assert_eq!(overlapped(""), [false; 4]);
    let ahead = overlapped("staleness = 1\n");
    assert!(ahead[1..3].iter().all(|longer| *longer) && !ahead[3], "{ahead:?}");
}

/// The version of the weights that the samples of a step, from 1, are of.
fn weights_of(folder: &Path, step: usize) -> u64 {
    let text = std::fs::read_to_string(folder.join(format!("run/samples/step-{step:08}.jsonl"))).unwrap();
    let versions: BTreeSet<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["weights"].as_u64().unwrap())
        .collect();
    assert_eq!(versions.len(), 1, "{text}");
    *versions.first().unwrap()
}

/// With attempts of one token, which hardly ever ends the line, tasks are soon solved: they are not drawn again until all of them
/// are. Group sizes keep their sum and their bounds.
#[test]
fn a_curriculum_drops_what_is_solved_and_groups_keep_their_sum() {
    let folder = tempfile::tempdir().unwrap();
    make_short(folder.path());
    edit(folder.path(), "steps = 2\n", "steps = 6\n");
    edit(
        folder.path(),
        "[rollout]\ntasks_per_step = 3\n",
        "[tasks.curriculum]\ndrop_after = 1\n[rollout]\ntasks_per_step = 2\ngroup_size_min = 2\ngroup_size_max = 12\n",
    );
    edit(folder.path(), "max_tokens = 12\n", "max_tokens = 1\n");
    expect(folder.path(), &["recipe.toml"], 0);
    let steps = metrics(folder.path());
    let (mut solved, mut compared) = (BTreeSet::new(), 0);
    for (place, step) in steps.iter().enumerate() {
        let (least, most) = (number(step, "group_size/min"), number(step, "group_size/max"));
        assert!(least >= 2.0 && most <= 12.0 && least + most == 12.0, "{step}");
        assert!((0.0..=1.0).contains(&number(step, "curriculum/pass_rate")), "{step}");
        assert!(number(step, "curriculum/seen") > 0.6, "two of three at least: {step}");

        let attempts = samples(folder.path(), place + 1);
        assert_eq!(attempts.len(), 12, "two tasks of six attempts on average");
        let drawn: BTreeSet<String> = attempts.iter().map(|(task, _)| task.clone()).collect();
        let some_were_left = place > 0 && number(&steps[place - 1], "curriculum/dropped") < 1.0;
        if some_were_left && !solved.is_empty() {
            assert!(drawn.is_disjoint(&solved), "{solved:?} are solved: {attempts:?}");
            compared += 1;
        }
        for task in drawn {
            let is_solved = attempts.iter().all(|(other, passed)| *other != task || *passed);
            if is_solved {
                solved.insert(task)
            } else {
                solved.remove(&task)
            };
        }
    }
    assert!(compared > 0, "nothing was dropped: {steps:?}");
}

/// The task of each sample of a step, and whether it passed.
fn samples(folder: &Path, step: usize) -> Vec<(String, bool)> {
    let text = std::fs::read_to_string(folder.join(format!("run/samples/step-{step:08}.jsonl"))).unwrap();
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        (line["task"].as_str().unwrap().to_owned(), line["passed"] == line["tests"])
    };
    text.lines().map(read).collect()
}

#[test]
fn only_accepted_attempts_are_imitated() {
    let folder = tempfile::tempdir().unwrap();
    make_short(folder.path());
    edit(
        folder.path(),
        "[optimizer]\n",
        "[algorithm]\npreset = \"rejection-sampling\"\naccept_most = 2\n\n[optimizer]\n",
    );
    expect(folder.path(), &["recipe.toml"], 0);
    for (place, step) in metrics(folder.path()).iter().enumerate() {
        let path = folder.path().join(format!("run/samples/step-{:08}.jsonl", place + 1));
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (mut accepted, mut tokens) = (0, 0);
        for group in lines.chunks(6) {
            // Of these rewards, 1.5 is a pass and everything else is less than 1.
            for line in group.iter().filter(|line| line["reward"] == 1.5).take(2) {
                accepted += 1;
                tokens += line["tokens"].as_u64().unwrap();
            }
        }
        assert!(accepted > 0, "{text}");
        assert_eq!(number(step, "accepted"), f64::from(accepted) / lines.len() as f64);
        assert_eq!(number(step, "num_tokens"), tokens as f64);
        // The mean cross entropy of a model that knows nothing of 259 tokens.
        assert!((number(step, "loss") - 259f64.ln()).abs() < 0.5, "{step}");
    }
}

#[test]
fn a_killed_ppo_run_with_its_own_critic_and_adaptive_kl_ends_as_one_never_killed() {
    killed_and_resumed_ends_as_one_never_killed(
        "[algorithm]\npreset = \"ppo\"\nkl_coefficient = 0.1\nkl_place = \"reward\"\nkl_control = \"adaptive\"\n\
         kl_target = 0.01\nmini_batches = 3\n[critic]\nkind = \"separate\"\n[critic.optimizer]\nlearning_rate = 1e-3\n",
    );
}
