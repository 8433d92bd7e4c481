//! What several processes learn is what one learns from the same batch.

use std::path::Path;

use rltrain::telemetry::{Line, read_lines};

use crate::fleet::Fleet;
use crate::rltrain::expect;
use crate::tiny::{self, edit};

/// The most that a metric of several processes may be off: sums of single precision in another order.
const BOUND: f64 = 2e-4;

const REFILLS: &str =
    "[algorithm]\nrefills = 2\nepochs = 2\nmini_batches = 2\nkl_coefficient = 0.02\nadvantage = \"rloo\"\n";

const PPO: &str = "[algorithm]\npreset = \"ppo\"\nkl_coefficient = 0.1\nkl_place = \"reward\"\nmini_batches = 2\n\
                   [critic.optimizer]\nlearning_rate = 1e-4\n";

const ADAPTERS: &str = "[model.lora]\nrank = 4\n";

/// Makes a run of `steps` steps in `folder`, with `added` at the end of its recipe.
fn make(folder: &Path, steps: usize, added: &str) {
    tiny::make(folder);
    edit(folder, "steps = 4", &format!("steps = {steps}"));
    edit(folder, "learning_rate = 1e-3", "learning_rate = 2e-4");
    edit(folder, "every = 2", &format!("every = {steps}"));
    edit(folder, "[checkpoint]\nevery = 1", &format!("[checkpoint]\nevery = {steps}"));
    let recipe = folder.join("recipe.toml");
    let text = std::fs::read_to_string(&recipe).unwrap();
    std::fs::write(recipe, format!("{text}\n{added}")).unwrap();
}

fn metrics(folder: &Path) -> Vec<Line> {
    read_lines(&folder.join("run/metrics.jsonl")).unwrap()
}

/// The largest difference of two runs' metrics, relative where numbers are large, and what it is of.
fn difference(one: &[Line], other: &[Line]) -> (f64, String) {
    assert_eq!(one.len(), other.len());
    let mut worst = (0.0, String::new());
    for (one, other) in one.iter().zip(other) {
        for ((name, one_value), (other_name, other_value)) in one.metrics.iter().zip(other.metrics.iter()) {
            assert_eq!(name, other_name);
            if one_value.is_nan() && other_value.is_nan() {
                continue;
            }
            // How much was computed together depends on how it is cut.
            if name.ends_with("computed_tokens") || name.starts_with("rollout/prefill") {
                continue;
            }
            let off = (one_value - other_value).abs() / one_value.abs().max(1.0);
            if off > worst.0 || off.is_nan() {
                worst = (off, format!("{name} of step {}: {one_value} and {other_value}", one.step));
            }
        }
    }
    worst
}

fn same_as_alone(steps: usize, added: &str, worlds: &[usize]) {
    let alone = tempfile::tempdir().unwrap();
    make(alone.path(), steps, added);
    expect(alone.path(), &["recipe.toml"], 0);
    let wanted = metrics(alone.path());
    for world in worlds {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), steps, added);
        Fleet::start(folder.path(), *world).succeed();
        let (off, what) = difference(&wanted, &metrics(folder.path()));
        assert!(off <= BOUND, "{world} processes are off by {off:e} in {what}");
        let samples = |folder: &Path| {
            let text = std::fs::read_to_string(folder.join("run/samples/step-00000001.jsonl")).unwrap();
            let line = |line: &str| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                (
                    line["task"].clone(),
                    line["completion"].clone(),
                    line["reward"].clone(),
                    line["verdict"].clone(),
                )
            };
            text.lines().map(line).collect::<Vec<_>>()
        };
        assert_eq!(samples(alone.path()), samples(folder.path()), "the first step samples the same");
    }
}

#[test]
fn two_and_four_processes_learn_what_one_learns() {
    // Three tasks a step: two processes have uneven shares, of four one has none.
    same_as_alone(3, "", &[2, 4]);
}

#[test]
#[ignore = "minutes; `make verify-ranks` runs it"]
fn two_three_and_four_processes_learn_what_one_learns_over_twenty_steps() {
    same_as_alone(20, "", &[2, 3, 4]);
}

#[test]
fn refills_epochs_references_and_leave_one_out_are_those_of_one_process() {
    same_as_alone(3, REFILLS, &[3]);
}

#[test]
#[ignore = "`make verify-ranks` runs it"]
fn critics_learn_the_same() {
    same_as_alone(2, PPO, &[2]);
}

#[test]
#[ignore = "`make verify-ranks` runs it"]
fn adapters_learn_the_same() {
    same_as_alone(2, ADAPTERS, &[2]);
}

#[test]
fn sampling_ahead_beside_learning_keeps_collectives_apart() {
    let added = "";
    let alone = tempfile::tempdir().unwrap();
    make(alone.path(), 3, added);
    edit(alone.path(), "[rollout]\n", "[rollout]\nstaleness = 1\n");
    expect(alone.path(), &["recipe.toml"], 0);
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), 3, added);
    edit(folder.path(), "[rollout]\n", "[rollout]\nstaleness = 1\n");
    Fleet::start(folder.path(), 2).succeed();
    let (off, what) = difference(&metrics(alone.path()), &metrics(folder.path()));
    assert!(off <= BOUND, "off by {off:e} in {what}");
}

/// The files of a folder, by name.
fn files(folder: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.is_file());
    files
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap()))
        .collect()
}

/// Makes a run of four steps whose processes share out what `sharding` says; `more` is added to the optimizer's keys.
fn make_sharded(folder: &Path, sharding: &str, more: &str) {
    make(folder, 4, "");
    let keys = format!("learning_rate = 2e-4\nsharding = \"{sharding}\"\n{more}");
    edit(folder, "learning_rate = 2e-4", &keys);
    edit(folder, "[checkpoint]\nevery = 4", "[checkpoint]\nevery = 2");
}

#[test]
fn a_shared_out_optimizer_is_the_same_bit_for_bit_and_goes_on_with_any_number_of_processes() {
    let make = |folder: &Path, sharding: &str| make_sharded(folder, sharding, "");
    let whole = tempfile::tempdir().unwrap();
    make(whole.path(), "none");
    Fleet::start(whole.path(), 2).succeed();
    let text = |folder: &Path| std::fs::read_to_string(folder.join("run/metrics.jsonl")).unwrap();
    let checkpoint = |folder: &Path, file: &str| {
        std::fs::read(folder.join("run/checkpoints/step-00000004").join(file)).unwrap()
    };
    let mut shared = tempfile::tempdir().unwrap();
    for sharding in ["state", "gradients", "parameters"] {
        shared = tempfile::tempdir().unwrap();
        make(shared.path(), sharding);
        Fleet::start(shared.path(), 2).succeed();
        // One pack an update in each process: sums of two numbers do not depend on their order.
        assert_eq!(text(whole.path()), text(shared.path()), "{sharding}");
        for file in ["optimizer.safetensors", "model/model.safetensors"] {
            let is_same = checkpoint(whole.path(), file) == checkpoint(shared.path(), file);
            assert!(is_same, "{sharding}: {file} differs");
        }
    }

    // From the second step on with one process that shares nothing out; and the other way round.
    let wanted = metrics(shared.path());
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), "none");
    goes_on(folder.path(), &shared.path().join("run"), 1, &wanted);
    let alone = tempfile::tempdir().unwrap();
    make(alone.path(), "none");
    expect(alone.path(), &["recipe.toml"], 0);
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), "gradients");
    goes_on(folder.path(), &alone.path().join("run"), 2, &metrics(alone.path()));
}

#[test]
fn shared_out_weights_in_several_packs_and_layers_computed_again_are_those_of_one_process() {
    let make = |folder: &Path, sharding: &str| {
        make_sharded(folder, sharding, "micro_batch_tokens = 150\n");
        edit(folder, "[model]\n", "[model]\ngradient_checkpointing = true\n");
    };
    let alone = tempfile::tempdir().unwrap();
    make(alone.path(), "none");
    expect(alone.path(), &["recipe.toml"], 0);
    // Three tasks a step: of four processes one has nothing to compute, and the others not as many packs.
    let shared = tempfile::tempdir().unwrap();
    make(shared.path(), "parameters");
    Fleet::start(shared.path(), 4).succeed();
    let (off, what) = difference(&metrics(alone.path()), &metrics(shared.path()));
    assert!(off <= BOUND, "off by {off:e} in {what}");
}

#[test]
#[ignore = "`make verify-ranks` runs it"]
fn shared_out_weights_below_adapters_and_beside_a_critic_are_those_of_one_process() {
    for added in [ADAPTERS, PPO] {
        let make = |folder: &Path| {
            make(folder, 2, added);
            edit(folder, "learning_rate = 2e-4", "learning_rate = 2e-4\nsharding = \"parameters\"");
            edit(folder, "[model]\n", "[model]\ngradient_checkpointing = true\n");
        };
        let alone = tempfile::tempdir().unwrap();
        make(alone.path());
        expect(alone.path(), &["recipe.toml"], 0);
        let shared = tempfile::tempdir().unwrap();
        make(shared.path());
        Fleet::start(shared.path(), 2).succeed();
        let (off, what) = difference(&metrics(alone.path()), &metrics(shared.path()));
        assert!(off <= BOUND, "{added}: off by {off:e} in {what}");
    }
}

/// Has `world` processes go on from the second step of the run `from`, in `folder`, and compares with all its steps.
fn goes_on(folder: &Path, from: &Path, world: usize, wanted: &[Line]) {
    let run = folder.join("run");
    for part in ["checkpoints/step-00000002/model", "samples"] {
        std::fs::create_dir_all(run.join(part)).unwrap();
    }
    for part in ["", "checkpoints/step-00000002", "checkpoints/step-00000002/model"] {
        for (name, bytes) in files(&from.join(part)) {
            if name != "run.lock" {
                std::fs::write(run.join(part).join(name), bytes).unwrap();
            }
        }
    }
    if world == 1 {
        expect(folder, &["recipe.toml"], 0);
    } else {
        Fleet::start(folder, world).succeed();
    }
    let (off, what) = difference(wanted, &metrics(folder));
    assert!(off <= BOUND, "{world} processes go on otherwise by {off:e}: {what}");
}
