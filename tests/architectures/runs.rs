//! Whole runs: a run that is stopped and goes on ends where one that is not stopped ends, whatever is trained.

use std::collections::BTreeMap;
use std::path::Path;

use tch::Kind;

use super::saving::{contents, convert};
use crate::rltrain::expect;
use crate::tiny::{self, edit};

/// Name, dtype, shape and bytes of every tensor of the fourth checkpoint, by file.
fn last_checkpoint(
    folder: &Path,
    files: &[&str],
) -> BTreeMap<String, impl PartialEq + std::fmt::Debug + use<>> {
    let checkpoint = folder.join("run/checkpoints/step-00000004");
    let read = |file: &&str| {
        let tensors = rltrain_checkpoints::read_safetensors(&checkpoint.join(file)).unwrap();
        ((*file).to_owned(), contents(&tensors))
    };
    files.iter().map(read).collect()
}

/// Trains four steps at once, then two and two, in the same folder; both leave the same `files`.
fn stopped_and_resumed_ends_as_never_stopped(prepare: impl Fn(&Path), files: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    prepare(folder.path());
    expect(folder.path(), &["recipe.toml"], 0);
    let whole = last_checkpoint(folder.path(), files);
    std::fs::remove_dir_all(folder.path().join("run")).unwrap();

    edit(folder.path(), "steps = 4\n", "steps = 2\n");
    expect(folder.path(), &["recipe.toml"], 0);
    edit(folder.path(), "steps = 2\n", "steps = 4\n");
    let (_, error) = expect(folder.path(), &["recipe.toml"], 0);
    assert!(error.contains("resuming"), "{error}");
    assert!(whole == last_checkpoint(folder.path(), files), "{files:?} differ");
}

#[test]
fn adapters_with_dropout_and_recomputation() {
    let prepare = |folder: &Path| {
        let section = "gradient_checkpointing = true\n[model.lora]\nrank = 4\ndropout = 0.1\n\n[tasks]\n";
        edit(folder, "\n[tasks]\n", section);
    };
    let files = ["adapter/adapter_model.safetensors", "optimizer.safetensors"];
    stopped_and_resumed_ends_as_never_stopped(prepare, &files);
}

/// Two turns, so that the second is written behind the first and what the environment says.
#[test]
fn an_encoder_decoder() {
    let prepare = |folder: &Path| {
        tiny::make_t5(&folder.join("model"));
        edit(folder, "max_tokens = 48\n", "max_tokens = 32\n");
        edit(folder, "[optimizer]\n", "[episode]\nturns = 2\nfeedback = \"verdict\"\n\n[optimizer]\n");
    };
    let files = ["model/model.safetensors", "optimizer.safetensors"];
    stopped_and_resumed_ends_as_never_stopped(prepare, &files);
}

#[test]
fn adapters_of_an_encoder_decoder_with_dropout_and_recomputation() {
    let prepare = |folder: &Path| {
        tiny::make_t5(&folder.join("model"));
        let section = "gradient_checkpointing = true\n[model.lora]\nrank = 4\ndropout = 0.1\n\n[tasks]\n";
        edit(folder, "\n[tasks]\n", section);
        edit(folder, "max_tokens = 48\n", "max_tokens = 24\n");
    };
    let files = ["adapter/adapter_model.safetensors", "optimizer.safetensors"];
    stopped_and_resumed_ends_as_never_stopped(prepare, &files);
}

#[test]
fn weights_that_came_in_bf16() {
    let prepare = |folder: &Path| convert(&folder.join("model"), Kind::BFloat16);
    let files = ["model/model.safetensors", "master.safetensors", "optimizer.safetensors"];
    stopped_and_resumed_ends_as_never_stopped(prepare, &files);
}
