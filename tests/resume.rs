//! What else than a kill a run can be resumed after, and what it then goes on with.

use std::collections::BTreeMap;
use std::path::Path;

use rltrain_checkpoints::{Store, read_safetensors};
use serde_json::{Value, json};

use crate::rltrain::expect;
use crate::tiny::{self, edit};

/// A run of four short steps.
fn make(folder: &Path) {
    tiny::make(folder);
    edit(folder, "max_tokens = 48\n", "max_tokens = 12\n");
    edit(folder, "samples = 4\nk = [1, 4]\n", "samples = 1\nk = [1]\n");
}

fn run(folder: &Path) {
    expect(folder, &["recipe.toml"], 0);
}

/// Trains two steps, lets `change` do what it likes, and trains two more.
fn run_in_two(folder: &Path, change: impl FnOnce(&Path)) {
    edit(folder, "steps = 4\n", "steps = 2\n");
    run(folder);
    edit(folder, "steps = 2\n", "steps = 4\n");
    change(folder);
    let (_, error) = expect(folder, &["recipe.toml"], 0);
    assert!(error.contains("resuming"), "{error}");
}

/// The bytes of every tensor of the model or the adapter, and of the optimizer, in the last checkpoint.
fn tensors(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let last = folder.join("run/checkpoints/step-00000004");
    let folders = [last.clone(), last.join("model"), last.join("adapter")];
    let files = folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten();
    let mut tensors = BTreeMap::new();
    for path in
        files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "safetensors"))
    {
        let file = read_safetensors(&path).unwrap();
        for name in file.names() {
            assert!(
                tensors.insert(name.clone(), file.read(&name).unwrap().data.clone()).is_none(),
                "{name} comes twice"
            );
        }
    }
    assert!(!tensors.is_empty());
    tensors
}

fn metrics(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("run/metrics.jsonl")).unwrap()
}

/// Writes `trainer.json` of a checkpoint anew, as a run would have written it.
fn change_state(folder: &Path, step: u64, change: impl FnOnce(&mut Value)) {
    let store = Store::open(&folder.join("run/checkpoints")).unwrap();
    let checkpoint = store.checkpoint(step).unwrap();
    let mut state: Value = checkpoint.json("trainer.json").unwrap();
    change(&mut state);
    store
        .write(step, |draft| {
            for name in checkpoint.manifest().files.keys() {
                match &name[..] {
                    "trainer.json" => draft.json(name, &state)?,
                    _ => draft.copy(&checkpoint.path().join(name), name)?,
                }
            }
            Ok::<_, rltrain_checkpoints::WriteError>(())
        })
        .unwrap();
}

/// Memory that ran out halves the budget for good: a resumed run goes on with what is left of it, whatever the recipe says, and ends
/// with the bytes of a run that had no more from the start.
#[test]
fn a_budget_that_memory_halved_stays_halved() {
    let budget = |folder: &Path, tokens: u64| {
        edit(
            folder,
            "learning_rate = 1e-3\n",
            &format!("learning_rate = 1e-3\nmicro_batch_tokens = {tokens}\n"),
        );
    };
    let [small, large, halved] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    for folder in [&small, &large, &halved] {
        make(folder.path());
    }
    budget(small.path(), 150);
    run(small.path());
    budget(large.path(), 4096);
    run(large.path());
    assert!(
        tensors(small.path()) != tensors(large.path()),
        "the budget does not show, and this test cannot fail"
    );

    budget(halved.path(), 150);
    run_in_two(halved.path(), |folder| {
        edit(folder, "micro_batch_tokens = 150\n", "micro_batch_tokens = 4096\n");
        change_state(folder, 2, |state| state["micro_batch_tokens"] = json!(150));
    });
    assert!(tensors(halved.path()) == tensors(small.path()), "the resumed run has another budget");
    assert_eq!(metrics(halved.path()), metrics(small.path()));
    let store = Store::open_read_only(&halved.path().join("run/checkpoints"));
    let state: Value = store.checkpoint(4).unwrap().json("trainer.json").unwrap();
    assert_eq!(state["micro_batch_tokens"], 150, "the next checkpoint knows it as well");
}

#[test]
fn a_model_in_shards_resumes_and_ends_as_one_in_a_single_file() {
    let (single, sharded) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&single, &sharded] {
        make(folder.path());
    }
    run(single.path());
    edit(sharded.path(), "every = 1\n", "every = 1\nmax_shard_bytes = 500000\n");
    run_in_two(sharded.path(), |_| {});
    let model = sharded.path().join("run/checkpoints/step-00000004/model");
    let index = std::fs::read(model.join("model.safetensors.index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let places = index["weight_map"].as_object().unwrap();
    let files: std::collections::BTreeSet<_> = places.values().map(|file| file.as_str().unwrap()).collect();
    assert!(files.len() > 4 && files.iter().all(|file| model.join(file).is_file()), "{files:?}");
    assert!(tensors(sharded.path()) == tensors(single.path()));
    assert_eq!(metrics(sharded.path()), metrics(single.path()));
}

/// Configuration, tokenizer and template come from the checkpoint that a run went on from, which is deleted on the way.
#[test]
fn what_lies_beside_the_weights_outlives_the_checkpoint_that_it_was_read_from() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    edit(folder.path(), "every = 1\n", "every = 1\nkeep_last = 1\n");
    run_in_two(folder.path(), |_| {});
    let model = folder.path().join("run/checkpoints/step-00000004/model");
    for name in ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
        let bytes = |folder: &Path| std::fs::read(folder.join(name)).unwrap();
        assert_eq!(bytes(&model), bytes(&folder.path().join("model")), "{name}");
    }
}

#[test]
fn adapters_of_another_run_are_trained_on_and_resumed() {
    let start = tempfile::tempdir().unwrap();
    make(start.path());
    edit(start.path(), "steps = 4\n", "steps = 1\n");
    edit(start.path(), "\n[tasks]\n", "[model.lora]\nrank = 4\nalpha = 6\n\n[tasks]\n");
    run(start.path());
    let adapter = start.path().join("run/checkpoints/step-00000001/adapter");

    let (whole, resumed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&whole, &resumed] {
        make(folder.path());
        let section = format!("[model.lora]\npath = {:?}\n\n[tasks]\n", adapter.display().to_string());
        edit(folder.path(), "\n[tasks]\n", &section);
        // The reference is what the run starts from, adapters included.
        edit(folder.path(), "[optimizer]\n", "[algorithm]\nkl_coefficient = 0.05\n\n[optimizer]\n");
    }
    run(whole.path());
    run_in_two(resumed.path(), |_| {});
    assert!(tensors(resumed.path()) == tensors(whole.path()));
    assert_eq!(metrics(resumed.path()), metrics(whole.path()));
    let written = whole.path().join("run/checkpoints/step-00000004/adapter/adapter_config.json");
    let config: Value = serde_json::from_slice(&std::fs::read(written).unwrap()).unwrap();
    assert_eq!((&config["r"], config["lora_alpha"].as_f64()), (&json!(4), Some(6.0)), "those of the folder");
}

/// Its resolved recipe has the default of then, which nothing reads where there is one turn.
#[test]
fn a_run_folder_of_a_version_with_another_default_reply_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    edit(
        folder.path(),
        "[checkpoint]",
        "[episode]\nreply = '''{% if feedback %}{{ feedback }}\n\n{% endif %}Write the whole function again, corrected. It begins with `{{ task.signature }}`.'''\n\n[checkpoint]",
    );
    expect(folder.path(), &["check", "recipe.toml"], 0);
    edit(folder.path(), "corrected. It", "corrected, please. It");
    let (_, error) = expect(folder.path(), &["check", "recipe.toml"], 2);
    assert!(error.contains("nothing reads it"), "{error}");
}
