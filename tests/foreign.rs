//! Folders of other programs in ours, and folders of our runs in theirs.
//!
//! `tests/golden/trl` is what TRL saved (`scripts/make_trl_checkpoint.py` made it), with the logits of transformers and PEFT.

use std::path::{Path, PathBuf};

use rltrain::policy::{Adapter, HostView, ModelConfig, Policy, load_tensor};
use rltrain_checkpoints::{Checkpoint, read_safetensors, write_safetensors};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::architectures::{LOGITS, packed};
use crate::first_light::contents;
use crate::rltrain::expect;
use crate::tiny::{self, edit};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/trl").canonicalize().unwrap()
}

fn load(folder: &Path) -> Policy {
    Policy::load(folder, Kind::Float, Device::Cpu).unwrap()
}

fn logits(policy: &Policy, ids: &[i64]) -> Tensor {
    tch::no_grad(|| packed(&[ids.to_vec()], true).logits(&policy.model()))
}

#[test]
fn what_trl_saved_computes_what_transformers_and_peft_compute() {
    let expected = read_safetensors(&golden().join("expected.safetensors")).unwrap();
    let table = |name: &str| {
        let shape: Vec<i64> = expected.info(name).unwrap().shape.iter().map(|n| *n as i64).collect();
        load_tensor(&expected, name, &shape).unwrap()
    };
    let ids = Vec::<i64>::try_from(table("ids").to_kind(Kind::Int64)).unwrap();
    let mut policy = load(&golden().join("policy"));
    let apart =
        |policy: &Policy, name: &str| (logits(policy, &ids) - table(name)).abs().max().double_value(&[]);
    assert!(apart(&policy, "policy") < LOGITS, "{}", apart(&policy, "policy"));
    assert_eq!(policy.tokenizer.stop_ids.iter().copied().collect::<Vec<_>>(), [256, 258]);
    policy
        .weights
        .adapt(Adapter::load(&golden().join("adapter"), &policy.architecture, Device::Cpu).unwrap());
    assert!(apart(&policy, "policy") > 0.01, "the adapter changes something");
    assert!(apart(&policy, "adapter") < LOGITS, "{}", apart(&policy, "adapter"));
}

/// Two steps on what TRL saved, then two more after a stop: what is saved has the layout that it came in.
#[test]
fn what_trl_saved_trains_on() {
    for lora in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        tiny::make(folder.path());
        let section = if lora {
            format!("[model.lora]\npath = {:?}\n", golden().join("adapter").display().to_string())
        } else {
            String::new()
        };
        let path = format!("path = {:?}\n", golden().join("policy").display().to_string());
        edit(folder.path(), "path = \"model\"\n", &path);
        edit(folder.path(), "\n[tasks]\n", &format!("{section}\n[tasks]\n"));
        edit(folder.path(), "max_tokens = 48\n", "max_tokens = 12\n");
        edit(folder.path(), "samples = 4\nk = [1, 4]\n", "samples = 1\nk = [1]\n");
        for steps in [("steps = 4\n", "steps = 2\n"), ("steps = 2\n", "steps = 4\n")] {
            edit(folder.path(), steps.0, steps.1);
            expect(folder.path(), &["recipe.toml"], 0);
        }
        let last = folder.path().join("run/checkpoints/step-00000004");
        let (ours, theirs, name) = if lora {
            (last.join("adapter"), golden().join("adapter"), "adapter_model.safetensors")
        } else {
            (last.join("model"), golden().join("policy"), "model.safetensors")
        };
        let (trained, start) =
            [&ours, &theirs].map(|folder| read_safetensors(&folder.join(name)).unwrap()).into();
        assert_eq!(trained.names(), start.names());
        let moved = |name: &&String| trained.read(name).unwrap().data != start.read(name).unwrap().data;
        assert!(start.names().iter().filter(moved).count() > start.names().len() / 2, "lora: {lora}");
        if !lora {
            for name in ["chat_template.jinja", "tokenizer.json", "generation_config.json", "config.json"] {
                let bytes = |folder: &Path| std::fs::read(folder.join(name)).unwrap();
                assert_eq!(bytes(&ours), bytes(&theirs), "{name}");
            }
        }
    }
}

/// Checkpoints of runs, and what this program computes on them: `scripts/check_saved.py` has transformers and PEFT load the folders
/// and compare.
#[test]
#[ignore = "writes folders for scripts/check_saved.py into RLTRAIN_SAVED"]
fn runs_for_other_programs() {
    let out = PathBuf::from(std::env::var_os("RLTRAIN_SAVED").expect("RLTRAIN_SAVED names a folder"));
    let text = "def same(x): return x #:";
    for (name, section) in [
        ("run-full", "[checkpoint]\nmax_shard_bytes = 1000000\n"),
        ("run-lora", "[model.lora]\nrank = 3\nalpha = 5\nrank_stabilised = true\n\n[checkpoint]\n"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        tiny::make(folder.path());
        edit(folder.path(), "steps = 4\n", "steps = 2\n");
        edit(folder.path(), "[checkpoint]\n", section);
        expect(folder.path(), &["recipe.toml"], 0);
        let place = out.join(name);
        let copy = |from: &Path, to: &Path| {
            for (file, bytes) in contents(from) {
                std::fs::create_dir_all(to.join(&file).parent().unwrap()).unwrap();
                std::fs::write(to.join(&file), bytes).unwrap();
            }
        };
        copy(&folder.path().join("run/checkpoints/step-00000002"), &place.join("step-00000002"));
        let checkpoint = Checkpoint::open(&place.join("step-00000002")).unwrap();
        let policy = match Policy::model_in(checkpoint.path()) {
            Some(model) => load(&model),
            None => {
                copy(&folder.path().join("model"), &place.join("base"));
                let mut policy = load(&place.join("base"));
                let lora = toml::from_str("rank = 3\nalpha = 5\nrank_stabilised = true").unwrap();
                let path = format!("path = {:?}", place.join("base").display().to_string());
                let config = ModelConfig { lora: Some(lora), ..toml::from_str(&path).unwrap() };
                policy.prepare(&config, 3).unwrap();
                policy.restore(&checkpoint).unwrap();
                policy
            }
        };
        let ids = policy.tokenizer.encode(text).unwrap();
        let logits = logits(&policy, &ids);
        let told = Tensor::from_slice(&ids).to_kind(Kind::Float);
        let tensors =
            [("ids".to_owned(), HostView::new(&told)), ("logits".to_owned(), HostView::new(&logits))];
        write_safetensors(&place.join("expected.safetensors"), tensors, &std::collections::BTreeMap::new())
            .unwrap();
        let told = json!({ "text": text, "stop": policy.tokenizer.stop_ids });
        std::fs::write(place.join("text.json"), told.to_string()).unwrap();
    }
}
