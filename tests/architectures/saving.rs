//! What is written is what was read: names, dtypes, bytes, ties and configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rltrain::policy::{HostView, ModelConfig, Policy, Shard, Weights, shards};
use rltrain_checkpoints::{Checkpoint, Store, TensorFile, TensorSource, read_safetensors, write_safetensors};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::{folders, json as read};
use crate::tiny;

/// A golden folder of the repository.
pub(crate) fn golden(name: &str) -> PathBuf {
    folders().into_iter().find(|folder| folder.ends_with(format!("golden/architectures/{name}"))).unwrap()
}

/// A copy of a golden model with the tokenizer that a policy needs, and a key that nobody knows in its configuration.
pub(crate) fn complete(source: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    tiny::make_model(folder.path());
    let mut config = read(&source.join("config.json"));
    config["of_another_program"] = json!({ "nested": [1, 2.5, null] });
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    std::fs::copy(source.join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    folder
}

pub(super) fn load(folder: &Path) -> Policy {
    Policy::load(folder, Kind::Float, Device::Cpu).unwrap()
}

/// Writes a checkpoint of `policy` into `folder`.
pub(super) fn checkpoint(policy: &Policy, folder: &Path, max_shard_bytes: u64) -> Checkpoint {
    let store = Store::open(folder).unwrap();
    store.write(1, |draft| policy.save(draft, max_shard_bytes)).unwrap();
    store.checkpoint(1).unwrap()
}

/// Name, dtype, shape and bytes of every tensor.
pub(super) fn contents(file: &TensorFile) -> BTreeMap<String, (String, Vec<usize>, Vec<u8>)> {
    let entry = |name: &String| {
        let tensor = file.read(name).unwrap();
        (name.clone(), (format!("{:?}", tensor.dtype), tensor.shape.clone(), tensor.data.clone()))
    };
    file.names().iter().map(entry).collect()
}

fn contents_of(path: &Path) -> BTreeMap<String, (String, Vec<usize>, Vec<u8>)> {
    contents(&read_safetensors(path).unwrap())
}

/// Writes the weights of `folder` anew in `kind`.
pub(super) fn convert(folder: &Path, kind: Kind) {
    let policy = load(folder);
    let tensors =
        policy.weights.iter().map(|(name, tensor)| (name.to_owned(), HostView::in_kind(tensor, kind)));
    write_safetensors(&folder.join("model.safetensors"), tensors.collect::<Vec<_>>(), &BTreeMap::new())
        .unwrap();
}

/// A change of every weight that bf16 cannot hold.
fn nudge(policy: &Policy) {
    let _no_gradient = tch::no_grad_guard();
    for (_, weight) in policy.weights.iter() {
        let _ = weight.shallow_clone().g_add_scalar_(1e-5);
    }
}

fn bits(weights: &Weights) -> Vec<Vec<u32>> {
    let bits = |tensor: &Tensor| {
        let values = Vec::<f32>::try_from(tensor.detach().flatten(0, -1)).unwrap();
        values.into_iter().map(f32::to_bits).collect()
    };
    weights.iter().map(|(_, tensor)| bits(tensor)).collect()
}

/// Tied weights are not among them twice: transformers' files do not have them twice either.
#[test]
fn a_model_that_nothing_changed_is_written_as_it_was() {
    for source in folders() {
        let (folder, run) = (complete(&source), tempfile::tempdir().unwrap());
        let written = checkpoint(&load(folder.path()), run.path(), u64::MAX);
        let model = written.path().join("model");
        assert_eq!(
            contents_of(&model.join("model.safetensors")),
            contents_of(&source.join("model.safetensors")),
            "{}",
            source.display()
        );
        let metadata = read_safetensors(&model.join("model.safetensors")).unwrap().metadata();
        assert_eq!(metadata["format"], "pt", "transformers refuses a file that does not say so");
        for name in ["config.json", "tokenizer.json", "generation_config.json", "tokenizer_config.json"] {
            let bytes = |folder: &Path| std::fs::read(folder.join(name)).unwrap();
            assert_eq!(bytes(&model), bytes(folder.path()), "{name}");
        }
        assert!(!written.path().join("master.safetensors").exists(), "f32 weights are their own masters");
    }
}

#[test]
fn a_dtype_is_kept_and_training_goes_on_from_the_bits_that_it_had() {
    for kind in [Kind::BFloat16, Kind::Half] {
        let (folder, run) = (complete(&golden("qwen2")), tempfile::tempdir().unwrap());
        convert(folder.path(), kind);
        let policy = load(folder.path());
        nudge(&policy);
        let written = checkpoint(&policy, run.path(), u64::MAX);

        let model = written.path().join("model");
        let rounded = read_safetensors(&model.join("model.safetensors")).unwrap();
        for (name, weight) in policy.weights.iter() {
            let wanted = HostView::in_kind(weight, kind);
            let found = rounded.read(name).unwrap();
            assert_eq!(found.data, wanted.bytes().unwrap(), "{name}");
        }
        let mut resumed = load(&model);
        assert_ne!(bits(&resumed.weights), bits(&policy.weights), "the folder holds rounded weights");
        resumed.restore(&written).unwrap();
        assert_eq!(bits(&resumed.weights), bits(&policy.weights), "{kind:?}");
        assert!(resumed.weights.trained().count() == policy.weights.trained().count());
        let again = tempfile::tempdir().unwrap();
        let again = checkpoint(&resumed, again.path(), u64::MAX);
        for name in ["model/model.safetensors", "master.safetensors"] {
            assert_eq!(
                contents_of(&again.path().join(name)),
                contents_of(&written.path().join(name)),
                "{name}"
            );
        }
    }
}

#[test]
fn shards_hold_every_tensor_once_and_no_more_than_they_may() {
    let folder = complete(&golden("llama"));
    let policy = load(folder.path());
    let whole = contents_of(&folder.path().join("model.safetensors"));
    for max in [1, 3_000, 8_192, 1 << 40] {
        let (files, index) = shards(&policy.weights, max);
        assert_eq!(index.is_some(), files.len() > 1, "{max}: an index if there are several");
        for Shard { name, tensors } in &files {
            let bytes: usize = tensors.iter().map(|(_, view)| TensorSource::byte_len(view)).sum();
            assert!(bytes as u64 <= max || tensors.len() == 1, "{max}: {name} holds {bytes} bytes");
        }
        let run = tempfile::tempdir().unwrap();
        let model = checkpoint(&policy, run.path(), max).path().join("model");
        let mut found = BTreeMap::new();
        for Shard { name, .. } in &files {
            for (tensor, content) in contents_of(&model.join(name)) {
                let twice = found.insert(tensor.clone(), content);
                assert!(twice.is_none(), "{max}: `{tensor}` comes twice");
                if let Some(index) = &index {
                    assert_eq!(index["weight_map"][&tensor], Value::from(name.as_str()));
                }
            }
        }
        assert_eq!(found, whole, "{max}");
        if let Some(index) = index {
            let total: usize = whole.values().map(|(_, _, bytes)| bytes.len()).sum();
            assert_eq!(index["metadata"]["total_size"], Value::from(total));
            assert_eq!(read(&model.join("model.safetensors.index.json")), index);
        }
        assert_eq!(bits(&load(&model).weights), bits(&policy.weights), "{max}: read back");
    }
}

/// The folders of the first GPT-2 on the Hub call the trunk's tensors as the trunk does.
#[test]
fn tensors_may_be_called_as_the_trunk_calls_them() {
    let folder = complete(&golden("gpt2"));
    let policy = load(folder.path());
    let path = folder.path().join("model.safetensors");
    let tensors = policy
        .weights
        .iter()
        .map(|(name, tensor)| (name.strip_prefix("transformer.").unwrap().to_owned(), HostView::new(tensor)));
    write_safetensors(&path, tensors.collect::<Vec<_>>(), &BTreeMap::new()).unwrap();
    assert_eq!(bits(&load(folder.path()).weights), bits(&policy.weights));
}

/// Tied, the table of tokens is also the output matrix: it gets no gradient from either.
#[test]
fn frozen_embeddings_get_no_gradient_and_everything_else_the_one_it_had() {
    for name in ["llama", "qwen2", "gpt2"] {
        let folder = complete(&golden(name));
        let (free, mut frozen) = (load(folder.path()), load(folder.path()));
        let config = ModelConfig { freeze_embeddings: true, ..model_config(folder.path()) };
        frozen.prepare(&config, 1).unwrap();
        for policy in [&free, &frozen] {
            super::packed(&[vec![5, 9, 20, 7]], false)
                .logits(&policy.model())
                .square()
                .sum(Kind::Float)
                .backward();
        }
        let frozen_names: Vec<&str> =
            ["model.embed_tokens.weight", "transformer.wte.weight", "transformer.wpe.weight"].to_vec();
        for ((name, free), (_, frozen)) in free.weights.iter().zip(frozen.weights.iter()) {
            if frozen_names.contains(&name) {
                assert!(!frozen.grad().defined(), "{name}");
            } else {
                assert_eq!(frozen.grad(), free.grad(), "{name}");
            }
        }
        let count = frozen.weights.iter().filter(|(name, _)| frozen_names.contains(name)).count();
        assert_eq!(frozen.weights.trained().count() + count, frozen.weights.iter().count(), "{name}");
    }
}

pub(super) fn model_config(folder: &Path) -> ModelConfig {
    toml::from_str(&format!("path = {:?}", folder.display().to_string())).unwrap()
}

/// A model, its bf16 or f32 weights changed, and what this program computes on it: `scripts/check_saved.py` has transformers
/// and PEFT load the folders and compare.
#[test]
#[ignore = "writes folders for scripts/check_saved.py into RLTRAIN_SAVED"]
fn folders_for_other_programs() {
    let out = PathBuf::from(std::env::var_os("RLTRAIN_SAVED").expect("RLTRAIN_SAVED names a folder"));
    let ids = vec![5i64, 77, 31, 8, 64, 12, 90, 3, 41];
    for source in folders().into_iter().filter(|folder| !folder.to_string_lossy().contains("shared")) {
        let name = source.file_name().unwrap().to_string_lossy().into_owned();
        for (variant, kind, adapted) in
            [("f32", Kind::Float, false), ("bf16", Kind::BFloat16, false), ("adapter", Kind::Float, true)]
        {
            let folder = complete(&source);
            convert(folder.path(), kind);
            let mut policy = load(folder.path());
            if adapted {
                let lora = Some(toml::from_str("rank = 3\nalpha = 5\nrank_stabilised = true").unwrap());
                policy.prepare(&ModelConfig { lora, ..model_config(folder.path()) }, 4).unwrap();
            }
            tch::no_grad(|| {
                for (_, weight) in policy.weights.trained() {
                    let place =
                        Tensor::arange(weight.numel() as i64, (Kind::Float, Device::Cpu)).view_as(weight);
                    let _ = weight.shallow_clone().g_add_(&(place.sin() * 0.05));
                }
            });
            let place = out.join(format!("{name}-{variant}"));
            std::fs::create_dir_all(&place).unwrap();
            let written = checkpoint(&policy, &place, 9_000);
            let model = if adapted { folder.path().to_owned() } else { written.path().join("model") };
            // What the folder holds, so that rounding to bf16 is not what is compared.
            let computed = if adapted { policy.model() } else { load(&model).model() };
            let logits = tch::no_grad(|| super::packed(std::slice::from_ref(&ids), true).logits(&computed));
            let ids = Tensor::from_slice(&ids).to_kind(Kind::Float);
            let tensors =
                [("ids".to_owned(), HostView::new(&ids)), ("logits".to_owned(), HostView::new(&logits))];
            write_safetensors(&place.join("expected.safetensors"), tensors, &BTreeMap::new()).unwrap();
            if adapted {
                std::fs::create_dir_all(place.join("base")).unwrap();
                for file in ["config.json", "model.safetensors"] {
                    std::fs::copy(model.join(file), place.join("base").join(file)).unwrap();
                }
            }
        }
    }
}
