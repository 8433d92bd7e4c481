//! Runs of the tiny model, whole and in two parts, and what they leave behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rltrain_checkpoints::read_safetensors;
use serde_json::Value;
use tempfile::TempDir;

use crate::rltrain::expect;
use crate::tiny::{self, edit};

/// A folder with the tiny model, its tasks, and a recipe of four short steps with `sections` in it and `rollout` in its section of
/// that name.
pub(crate) fn made(sections: &str, rollout: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    tiny::make(path);
    edit(path, "group_size = 6\n", "group_size = 4\n");
    edit(path, "every = 2\nsamples = 4\nk = [1, 4]\n", "samples = 1\nk = [1]\n");
    edit(path, "every = 1\n", "every = 1\nkeep_last = 9\n");
    edit(path, "[optimizer]\n", &format!("{sections}\n[optimizer]\n"));
    edit(path, "[rollout]\n", &format!("[rollout]\n{rollout}"));
    folder
}

/// Such a run, to its end.
pub(crate) fn run(sections: &str, rollout: &str) -> TempDir {
    let folder = made(sections, rollout);
    expect(folder.path(), &["recipe.toml"], 0);
    folder
}

/// What `rltrain check` says of such a recipe that cannot work, without the frame around it and on one line.
pub(crate) fn refused(sections: &str) -> String {
    let folder = made(sections, "");
    let (_, error) = expect(folder.path(), &["check", "recipe.toml"], 2);
    error.split_whitespace().filter(|word| !["│", "·"].contains(word)).collect::<Vec<_>>().join(" ")
}

/// Runs it whole, and stopped after `before` steps and resumed, and compares all that both leave behind, byte for byte. Returns the
/// whole one.
pub(crate) fn resumed_ends_as_whole(sections: &str, rollout: &str, before: u64) -> TempDir {
    let (whole, parts) = (made(sections, rollout), made(sections, rollout));
    for folder in [&whole, &parts] {
        // A run that ends is evaluated there, and its warnings know what came of that.
        edit(folder.path(), "[eval]\n", &format!("[eval]\nevery = {before}\n"));
    }
    expect(whole.path(), &["recipe.toml"], 0);
    edit(parts.path(), "steps = 4\n", &format!("steps = {before}\n"));
    expect(parts.path(), &["recipe.toml"], 0);
    edit(parts.path(), &format!("steps = {before}\n"), "steps = 4\n");
    let (_, error) = expect(parts.path(), &["recipe.toml"], 0);
    assert!(error.contains("resuming"), "{error}");
    let (one, other) = (files(&checkpoint(whole.path(), 4)), files(&checkpoint(parts.path(), 4)));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (name, content) in &one {
        // Provenance tells the starts of a run apart.
        assert!(
            name == "provenance.json" || name == "manifest.json" || *content == other[name],
            "{name} differs"
        );
    }
    assert_eq!(text(whole.path(), "metrics.jsonl"), text(parts.path(), "metrics.jsonl"));
    whole
}

/// The folder of a checkpoint.
pub(crate) fn checkpoint(folder: &Path, step: u64) -> PathBuf {
    folder.join(format!("run/checkpoints/step-{step:08}"))
}

/// A file of the run folder.
fn text(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join("run").join(name)).unwrap()
}

/// The metrics of each step.
pub(crate) fn metrics(folder: &Path) -> Vec<Value> {
    text(folder, "metrics.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A metric of each step.
pub(crate) fn metric(folder: &Path, name: &str) -> Vec<f64> {
    let of = |step: &Value| step[name].as_f64().unwrap_or_else(|| panic!("{name}: {step}"));
    metrics(folder).iter().map(of).collect()
}

/// Every file below `folder` by its name.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for path in next.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// The numbers of every tensor of a safetensors file of f32.
pub(crate) fn tensors(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let file = read_safetensors(path).unwrap();
    let numbers = |bytes: &[u8]| {
        bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
    };
    let of = |name: String| (numbers(&file.read(&name).unwrap().data), name);
    file.names().into_iter().map(of).map(|(numbers, name)| (name, numbers)).collect()
}
