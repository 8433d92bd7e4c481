//! A small random Llama against transformers' numbers: logits, log-probabilities, entropies, greedy tokens,
//! gradients.
//!
//! `../shared/parity/README.md` says how they were made.

#![expect(clippy::print_stdout, reason = "says what was skipped and how near the numbers are")]

use std::path::PathBuf;

use rltrain::policy::{Architecture, Network, Pack, Weights, load_tensor, logprobs_and_entropy};
use rltrain_checkpoints::{TensorFile, read_safetensors};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

/// Largest difference in a logit that another order of summation explains.
const LOGITS: f64 = 1e-4;

struct Reference {
    json: Value,
    tensors: TensorFile,
    architecture: Architecture,
    weights: Weights,
}

impl Reference {
    /// The numbers, if this checkout has them.
    fn load() -> Option<Reference> {
        let folder =
            PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/parity/architectures/llama"));
        if !folder.exists() {
            println!("skipped: no {}", folder.display());
            return None;
        }
        let read = |name: &str| -> Value {
            serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
        };
        let architecture = Architecture::from_json(&read("config.json")).unwrap();
        assert_eq!(
            architecture,
            Architecture::from_json(&read("config_v4.json")).unwrap(),
            "both forms of config.json"
        );
        Some(Reference {
            json: read("expected.json"),
            tensors: read_safetensors(&folder.join("expected.safetensors")).unwrap(),
            weights: Weights::load(&folder, &architecture.shapes(), Device::Cpu).unwrap(),
            architecture,
        })
    }

    fn model(&self) -> Network {
        Network::new(&self.architecture, &self.weights, Kind::Float)
    }

    /// The ids of sequence `number`, without padding.
    fn ids(&self, number: usize) -> Vec<i64> {
        let length = self.json["lengths"][number].as_u64().unwrap() as usize;
        integers(&self.json["right_ids"][number])[..length].to_vec()
    }

    fn tensor(&self, name: &str, shape: &[i64]) -> Tensor {
        load_tensor(&self.tensors, name, shape).unwrap()
    }
}

fn integers(json: &Value) -> Vec<i64> {
    json.as_array().unwrap().iter().map(|n| n.as_i64().unwrap()).collect()
}

/// All but the first token of a sequence, as a completion of the first.
fn predictions(ids: &[i64]) -> Pack {
    Pack::new(&ids[..1], [&ids[1..]])
}

/// Logits at every position of a sequence: one more token, whatever it is, makes the last one a predictor
/// too.
fn all_logits(model: &Network, ids: &[i64]) -> Tensor {
    tch::no_grad(|| predictions(&[ids, &[0]].concat()).logits(model))
}

fn furthest(found: &Tensor, wanted: &Tensor) -> f64 {
    assert_eq!(found.size(), wanted.size());
    (found - wanted).abs().max().double_value(&[])
}

#[test]
fn logits_are_those_of_transformers() {
    let Some(reference) = Reference::load() else { return };
    let model = reference.model();
    for number in 0..2 {
        let ids = reference.ids(number);
        let shape = [ids.len() as i64, reference.architecture.sizes().vocab_size];
        let wanted = reference.tensor(&format!("single{number}_logits"), &shape);
        let apart = furthest(&all_logits(&model, &ids), &wanted);
        println!("sequence {number}: logits within {apart:.1e}");
        assert!(apart < LOGITS, "sequence {number}: {apart}");
    }
}

#[test]
fn logprobs_and_entropies_are_those_of_transformers() {
    let Some(reference) = Reference::load() else { return };
    let model = reference.model();
    let _no_gradient = tch::no_grad_guard();
    let (logprobs, entropies) =
        (reference.tensor("token_logprobs", &[2, 8]), reference.tensor("token_entropy", &[2, 8]));
    for number in 0..2 {
        let pack = predictions(&reference.ids(number));
        let (found, entropy) = logprobs_and_entropy(&pack.logits(&model), &pack.targets(Device::Cpu), 1.0);
        let wanted = |table: &Tensor| table.get(number as i64).narrow(0, 0, found.size()[0]);
        assert!(furthest(&found, &wanted(&logprobs)) < LOGITS);
        assert!(furthest(&entropy, &wanted(&entropies)) < LOGITS);
    }
}

#[test]
fn greedy_tokens_are_those_of_transformers() {
    let Some(reference) = Reference::load() else { return };
    let model = reference.model();
    for number in 0..2 {
        let wanted = integers(&reference.json["greedy_single"][number]);
        let mut ids = reference.ids(number);
        let start = ids.len();
        for _ in &wanted {
            let logits = all_logits(&model, &ids);
            ids.push(logits.get(-1).argmax(-1, false).int64_value(&[]));
        }
        assert_eq!(ids[start..], wanted, "sequence {number}");
    }
}

#[test]
fn gradients_have_the_norms_of_transformers() {
    let Some(reference) = Reference::load() else { return };
    let model = reference.model();
    let losses: Vec<Tensor> = (0..2)
        .map(|number| {
            let pack = predictions(&reference.ids(number));
            -logprobs_and_entropy(&pack.logits(&model), &pack.targets(Device::Cpu), 1.0).0
        })
        .collect();
    let loss = Tensor::cat(&losses, 0).mean(Kind::Float);
    let wanted = reference.json["loss_mean_ce"].as_f64().unwrap();
    assert!((loss.double_value(&[]) - wanted).abs() < 1e-5);
    loss.backward();
    let norms = reference.json["grad_norms"].as_object().unwrap();
    assert_eq!(reference.weights.iter().count(), norms.len());
    for (name, weight) in reference.weights.iter() {
        let (found, wanted) = (weight.grad().norm().double_value(&[]), norms[name].as_f64().unwrap());
        assert!((found / wanted - 1.0).abs() < 1e-4, "{name}: {found}, wanted {wanted}");
    }
}
