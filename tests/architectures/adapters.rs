//! Low-rank adapters against PEFT: logits, gradients, files.

use std::path::{Path, PathBuf};

use rltrain::policy::{
    Adapter, Architecture, LoraConfig, ModelConfig, Network, Pack, Policy, Weights, load_tensor,
};
use rltrain_checkpoints::read_safetensors;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::saving::{checkpoint, complete, contents, golden, load, model_config};
use super::{LOGITS, json as read, packed};

const NAMES: [&str; 5] = ["codegen", "gpt2", "gpt_neox", "gptj", "llama"];

fn adapter_folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/adapters").join(name)
}

/// A golden model with PEFT's adapter on it.
fn adapted(name: &str) -> (Architecture, Weights) {
    let folder = golden(name);
    let architecture = Architecture::from_json(&read(&folder.join("config.json"))).unwrap();
    let mut weights = Weights::load(&folder, &architecture.shapes(), Device::Cpu).unwrap();
    weights.adapt(Adapter::load(&adapter_folder(name), &architecture, Device::Cpu).unwrap());
    (architecture, weights)
}

/// Observed: logits within 2e-6, gradients within 3e-6 of their norm.
#[test]
fn logits_and_gradients_are_those_of_peft_merged_or_not() {
    for name in NAMES {
        let (architecture, weights) = adapted(name);
        let expected = read_safetensors(&adapter_folder(name).join("expected.safetensors")).unwrap();
        let table = |key: &str| {
            let shape: Vec<i64> = expected.info(key).unwrap().shape.iter().map(|n| *n as i64).collect();
            load_tensor(&expected, key, &shape).unwrap()
        };
        let ids: Vec<i64> = expected
            .read("ids")
            .unwrap()
            .data
            .chunks_exact(8)
            .map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap()))
            .collect();
        let apart = |logits: &Tensor| (logits - table("logits")).abs().max().double_value(&[]);
        let pack = packed(std::slice::from_ref(&ids), true);
        let logits = pack.logits(&Network::new(&architecture, &weights, Kind::Float));
        let merged = tch::no_grad(|| pack.logits(&Network::new(&architecture, &weights, Kind::Float)));
        assert!(apart(&logits) < LOGITS, "{name}: {}", apart(&logits));
        assert!(apart(&merged) < LOGITS, "{name}, merged: {}", apart(&merged));

        let count = ids.len() as i64 - 1;
        let targets = Tensor::from_slice(&ids[1..]).unsqueeze(1);
        logits
            .narrow(0, 0, count)
            .log_softmax(-1, Kind::Float)
            .gather(1, &targets, false)
            .mean(Kind::Float)
            .backward();
        let mut factors = 0;
        for (key, factor) in weights.trained() {
            let (found, wanted) = (factor.grad(), table(&key));
            let apart = ((found - &wanted).norm() / wanted.norm()).double_value(&[]);
            assert!(apart < 1e-4, "{name}: {key}: {apart}");
            factors += 1;
        }
        assert_eq!(factors, expected.names().len() - 2, "{name}: every factor is trained and nothing else");
        assert!(weights.iter().all(|(_, weight)| !weight.grad().defined()), "{name}: the weights stay");
    }
}

/// The change of a matrix that is stored by columns is stored by columns too.
#[test]
fn a_merged_model_computes_what_the_adapted_one_computes() {
    for name in NAMES {
        let (architecture, weights) = adapted(name);
        let merged =
            Weights::of(weights.iter().map(|(key, _)| (key.to_owned(), weights.merged(key).detach())));
        let pack = packed(&[vec![4, 8, 15, 16, 23, 42]], true);
        let logits =
            |weights| tch::no_grad(|| pack.logits(&Network::new(&architecture, weights, Kind::Float)));
        let apart = (logits(&merged) - logits(&weights)).abs().max().double_value(&[]);
        assert!(apart < LOGITS, "{name}: {apart}");
        let without = (logits(&weights.without_adapter()) - logits(&weights)).abs().max().double_value(&[]);
        assert!(without > 0.01, "{name}: the adapter changes something, {without}");
    }
}

fn policy(name: &str, lora: LoraConfig) -> (tempfile::TempDir, Policy) {
    let folder = complete(&golden(name));
    let mut policy = load(folder.path());
    let config = ModelConfig { lora: Some(lora), ..model_config(folder.path()) };
    policy.prepare(&config, 9).unwrap();
    (folder, policy)
}

#[test]
fn an_adapter_is_written_as_peft_wrote_it_and_read_back() {
    for name in NAMES {
        let (folder, mut policy) = policy(name, LoraConfig::default());
        let theirs = adapter_folder(name);
        policy.weights.adapt(Adapter::load(&theirs, &policy.architecture, Device::Cpu).unwrap());
        let run = tempfile::tempdir().unwrap();
        let written = checkpoint(&policy, run.path(), u64::MAX);
        let file =
            |folder: &Path| contents(&read_safetensors(&folder.join("adapter_model.safetensors")).unwrap());
        assert_eq!(file(&written.path().join("adapter")), file(&theirs), "{name}");
        let (ours, theirs) = (
            read(&written.path().join("adapter/adapter_config.json")),
            read(&theirs.join("adapter_config.json")),
        );
        for key in ["peft_type", "task_type", "r", "use_rslora", "bias", "fan_in_fan_out"] {
            assert_eq!(ours[key], theirs[key], "{name}: {key}");
        }
        assert_eq!(ours["lora_alpha"].as_f64(), theirs["lora_alpha"].as_f64(), "{name}");
        assert_eq!(ours["base_model_name_or_path"], Value::from(folder.path().display().to_string()));
        assert_eq!(Policy::model_in(written.path()), None, "a checkpoint of an adapter has no model");

        let (_folder, mut resumed) = self::policy(name, LoraConfig::default());
        resumed.restore(&written).unwrap();
        let trained = |policy: &Policy| {
            policy.weights.trained().map(|(key, tensor)| (key, tensor.copy())).collect::<Vec<_>>()
        };
        assert_eq!(trained(&resumed), trained(&policy), "{name}");
    }
}

#[test]
fn a_new_adapter_changes_nothing_and_every_factor_but_the_first_learns_at_once() {
    let (_folder, policy) = policy("llama", LoraConfig::default());
    let pack = packed(&[vec![4, 8, 15, 16, 23, 42]], false);
    let (adapted, base) = (pack.logits(&policy.training_model(0)), pack.logits(&policy.base_model()));
    assert_eq!(adapted, base);
    adapted.square().sum(Kind::Float).backward();
    for (name, factor) in policy.weights.trained() {
        let norm = factor.grad().norm().double_value(&[]);
        assert_eq!(
            norm > 0.0,
            name.ends_with("lora_B.weight"),
            "{name}: B is zero, so A has no gradient yet"
        );
    }
    let bound = 1.0 / 16f64.sqrt();
    let (name, down) =
        policy.weights.trained().find(|(name, _)| name.ends_with("q_proj.lora_A.weight")).unwrap();
    let (largest, deviation) = (down.abs().max().double_value(&[]), down.std(true).double_value(&[]));
    assert!(
        largest <= bound && (deviation / bound * 3f64.sqrt() - 1.0).abs() < 0.15,
        "{name}: {largest} {deviation}"
    );
}

/// The gradient of the sum of squared logits of two sequences, in one pack or two.
fn gradient(policy: &Policy, update: u64, packs: &[Pack]) -> Tensor {
    let model = policy.training_model(update);
    for pack in packs {
        pack.logits(&model).square().sum(Kind::Float).backward();
    }
    let parts: Vec<Tensor> =
        policy.weights.trained().map(|(_, factor)| factor.grad().flatten(0, -1)).collect();
    let gradient = Tensor::cat(&parts, 0);
    policy.weights.zero_gradients();
    gradient
}

#[test]
fn dropout_is_a_function_of_the_update_and_the_text_alone() {
    let lora = LoraConfig { dropout: 0.3, ..LoraConfig::default() };
    let (_folder, policy) = policy("gptj", lora);
    tch::no_grad(|| {
        for (_, factor) in policy.weights.trained() {
            let place = Tensor::arange(factor.numel() as i64, (Kind::Float, Device::Cpu)).view_as(factor);
            factor.shallow_clone().copy_(&(place.sin() * 0.3));
        }
    });
    let (one, two) = (vec![4i64, 8, 15, 16, 23, 42], vec![7i64, 3, 9]);
    let together = gradient(&policy, 3, &[packed(&[one.clone(), two.clone()], false)]);
    let apart = gradient(
        &policy,
        3,
        &[packed(std::slice::from_ref(&two), false), packed(std::slice::from_ref(&one), false)],
    );
    let distance = |a: &Tensor, b: &Tensor| ((a - b).norm() / b.norm()).double_value(&[]);
    assert!(distance(&apart, &together) < 1e-5, "{}", distance(&apart, &together));
    let other = gradient(&policy, 4, &[packed(&[one.clone(), two], false)]);
    assert!(distance(&other, &together) > 0.01, "another update leaves out others");
    let rollout =
        |network: Network| tch::no_grad(|| packed(std::slice::from_ref(&one), false).logits(&network));
    assert_eq!(rollout(policy.model()), rollout(policy.model()));
}

fn refusal(change: Value) -> String {
    let folder = tempfile::tempdir().unwrap();
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(adapter_folder("llama").join(name), folder.path().join(name)).unwrap();
    }
    let path = folder.path().join("adapter_config.json");
    let mut config = read(&path);
    config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    std::fs::write(&path, config.to_string()).unwrap();
    let architecture = Architecture::from_json(&read(&golden("llama").join("config.json"))).unwrap();
    Adapter::load(folder.path(), &architecture, Device::Cpu).err().expect("a refusal").to_string()
}

#[test]
fn other_kinds_of_adapters_are_refused() {
    let cases = [
        (json!({ "peft_type": "IA3" }), "`adapter_config.json`: `peft_type = \"IA3\"` is not supported"),
        (json!({ "use_dora": true }), "`adapter_config.json`: `use_dora = true` is not supported"),
        (json!({ "bias": "all" }), "`adapter_config.json`: `bias = \"all\"` is not supported"),
        (
            json!({ "rank_pattern": { "q_proj": 4 } }),
            "`adapter_config.json`: `rank_pattern = {\"q_proj\":4}` is not supported",
        ),
        (json!({ "r": null }), "`adapter_config.json`: key `r` is null, wanted a positive integer"),
    ];
    for (change, wanted) in cases {
        assert_eq!(refusal(change), wanted);
    }
    let message = refusal(json!({ "r": 4 }));
    assert!(message.contains("has shape [3, 16], the model needs [4, 16]"), "{message}");
}

#[test]
fn a_target_that_the_model_does_not_have_is_refused() {
    let architecture = Architecture::from_json(&read(&golden("gpt2").join("config.json"))).unwrap();
    let config =
        LoraConfig { targets: vec!["c_attn".to_owned(), "q_proj".to_owned()], ..LoraConfig::default() };
    let error = Adapter::new(&config, &architecture, 1, Device::Cpu).err().expect("a refusal");
    assert_eq!(
        error.to_string(),
        "`model.lora.targets`: the model has no matrix `q_proj`, wanted some of `c_attn`, `c_fc`, `c_proj`"
    );
}

#[test]
fn the_program_merges_an_adapter_into_a_folder_of_its_own() {
    let (base, out) = (complete(&golden("gpt2")), tempfile::tempdir().unwrap());
    let merge = |folder: &Path| {
        std::process::Command::new(env!("CARGO_BIN_EXE_rltrain"))
            .arg("merge")
            .args([base.path(), &adapter_folder("gpt2"), folder])
            .output()
            .unwrap()
    };
    let folder = out.path().join("merged");
    let done = merge(&folder);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let merged = load(&folder);
    let (_, weights) = adapted("gpt2");
    for (name, weight) in merged.weights.iter() {
        assert_eq!(*weight, weights.merged(name), "{name}");
    }
    assert_eq!(read(&folder.join("config.json")), read(&base.path().join("config.json")));
    let again = merge(&folder);
    assert_eq!(again.status.code(), Some(2), "a folder with a model in it is left alone");
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not empty"));
}
