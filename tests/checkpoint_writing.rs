//! What a run keeps of its checkpoints, what it copies into them, and what writing one takes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use rltrain::policy::HostView;
use rltrain::snapshot::{Files, Snapshot};
use rltrain_checkpoints::{Store, TensorSource};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::counting::most_allocated;
use crate::first_light::contents;
use crate::rltrain::expect;
use crate::tiny::{self, edit};

fn steps(run: &Path) -> BTreeSet<u64> {
    Store::open_read_only(&run.join("checkpoints")).steps().unwrap().into_iter().collect()
}

#[test]
fn the_last_every_nth_and_the_best_checkpoint_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    edit(folder.path(), "every = 2\nsamples", "every = 1\nsamples");
    let kept = "every = 1\nkeep_last = 1\nkeep_every = 3\nkeep_best = \"eval/pass@1\"\n";
    edit(folder.path(), "[checkpoint]\nevery = 1\n", &format!("[checkpoint]\n{kept}"));
    expect(folder.path(), &["recipe.toml"], 0);
    let run = folder.path().join("run");
    let evaluations: Value =
        serde_json::from_slice(&std::fs::read(run.join("evaluations.json")).unwrap()).unwrap();
    let score = |step: &u64| {
        let all = evaluations["evaluations"].as_array().unwrap();
        let found = all.iter().find(|evaluation| evaluation["step"] == *step).unwrap();
        found["pass_at_k"].as_array().unwrap().iter().find(|found| found["k"] == 1).unwrap()["mean"]
            .as_f64()
            .unwrap()
    };
    // When the last one was written, it had not been evaluated.
    let best = (1..4).max_by(|a, b| score(a).total_cmp(&score(b))).unwrap();
    assert_eq!(steps(&run), BTreeSet::from([4, 3, best]));
}

/// The files beside the weights are those of the folder that the run was resumed from, and that is deleted meanwhile.
#[test]
fn a_resumed_run_outlives_the_checkpoint_that_it_came_from() {
    let (whole, resumed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&whole, &resumed] {
        tiny::make(folder.path());
        edit(folder.path(), "[eval]\nevery = 2\n", "[eval]\nevery = 0\n");
        edit(folder.path(), "[checkpoint]\nevery = 1\n", "[checkpoint]\nevery = 1\nkeep_last = 1\n");
    }
    expect(whole.path(), &["recipe.toml"], 0);
    edit(resumed.path(), "steps = 4\n", "steps = 1\n");
    expect(resumed.path(), &["recipe.toml"], 0);
    edit(resumed.path(), "steps = 1\n", "steps = 4\n");
    let (_, error) = expect(resumed.path(), &["recipe.toml"], 0);
    assert!(error.contains("resuming"), "{error}");
    let last = |folder: &tempfile::TempDir| {
        assert_eq!(steps(&folder.path().join("run")), BTreeSet::from([4]));
        contents(&folder.path().join("run/checkpoints/step-00000004"))
    };
    let (whole, resumed) = (last(&whole), last(&resumed));
    assert_eq!(whole.keys().collect::<Vec<_>>(), resumed.keys().collect::<Vec<_>>());
    // The shorter run was evaluated where it ended, which the signs of trouble remember.
    let same = |name: &&String| !["manifest.json", "traps.json"].contains(&name.as_str());
    for name in whole.keys().filter(same) {
        let content = &whole[name];
        let text = String::from_utf8_lossy;
        assert!(content == &resumed[name], "{name} differs:\n{}\n{}", text(content), text(&resumed[name]));
    }
}

#[test]
fn a_best_checkpoint_by_what_nothing_measures_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    for (best, every, wanted) in [
        ("eval/pass@3", 2, "no evaluation measures `eval/pass@3`"),
        ("reward", 2, "no evaluation measures `reward`"),
        ("eval/pass@4", 0, "none can be the best"),
    ] {
        tiny::make(folder.path());
        edit(folder.path(), "[eval]\nevery = 2\n", &format!("[eval]\nevery = {every}\n"));
        edit(folder.path(), "[checkpoint]\n", &format!("[checkpoint]\nkeep_best = \"{best}\"\n"));
        let (_, error) = expect(folder.path(), &["check", "recipe.toml"], 2);
        let flat = error.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(wanted), "{error}");
    }
}

/// A model of 128 MB as f32 that is stored as bf16: rounded, whole, and with a mean.
#[test]
fn writing_takes_less_memory_than_a_tenth_of_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let tensors: Vec<(String, Tensor)> = (0..4)
        .map(|place| {
            (
                format!("weight.{place}"),
                Tensor::ones([1 << 23], (Kind::Float, Device::Cpu)) * f64::from(place),
            )
        })
        .collect();
    let model: usize = tensors.iter().map(|(_, tensor)| 4 * tensor.numel()).sum();
    let views =
        |kind| tensors.iter().map(move |(name, tensor)| (name.clone(), HostView::in_kind(tensor, kind)));
    let resident = rltrain::memory::resident_bytes();
    let (written, allocated) = most_allocated(|| {
        let mut snapshot = Snapshot::default();
        snapshot.tensors("model.safetensors", views(Kind::BFloat16), &BTreeMap::new()).unwrap();
        snapshot.tensors("master.safetensors", views(Kind::Float), &BTreeMap::new()).unwrap();
        snapshot.tensors("optimizer.safetensors", views(Kind::Float), &BTreeMap::new()).unwrap();
        store.write(1, |draft| snapshot.write(draft))
    });
    written.unwrap();
    let _ = writeln!(
        std::io::stderr(),
        "{allocated} bytes for a model of {model}; resident before: {resident:?}"
    );
    assert!(allocated < model / 10, "{allocated} of {model}");
    let bytes: usize = views(Kind::Float).map(|(_, view)| view.byte_len()).sum();
    assert_eq!(bytes, model);
}
