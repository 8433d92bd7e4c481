//! The arithmetic of training against PyTorch's, TRL's and transformers' numbers, and against itself done the slow way.
//!
//! Every bound is stated beside its comparison, with what was observed when it was chosen. They are bounds of f32
//! rounding: a wrong formula is off by orders of magnitude more.

mod advantages;
mod corrections;
mod critic;
mod divergence;
mod episodes;
mod gradient;
mod grammar;
mod hf_trainer;
mod laws;
mod learning;
mod losses;
mod memory;
mod optimizer;
mod packed;
mod packing;
mod rollout;
mod surrogate;
mod trl_losses;
mod truncation;
mod vectors;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rltrain::algorithm::AlgorithmConfig;
use rltrain::critic::CriticConfig;
use rltrain::optim::{OptimizerConfig, Settings};
use rltrain::policy::{Attention, AttentionLayer, Network, Policy, Weights};
use rltrain::ranks::ALONE;
use rltrain_checkpoints::{Dtype, read_safetensors};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::tiny;

/// A file or folder of `tests/golden`. The Python that made it lies beside it.
fn golden_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name)
}

/// Every tensor of a golden file.
fn golden(name: &str) -> BTreeMap<String, Tensor> {
    let file = read_safetensors(&golden_path(name)).unwrap();
    let tensor = |name: &str| {
        let owned = file.read(name).unwrap();
        let shape: Vec<i64> = owned.shape.iter().map(|n| *n as i64).collect();
        let kind = match owned.dtype {
            Dtype::F32 => Kind::Float,
            Dtype::F64 => Kind::Double,
            Dtype::I64 => Kind::Int64,
            other => panic!("`{name}` has dtype {other:?}"),
        };
        Tensor::from_data_size(&owned.data, &shape, kind)
    };
    file.names().iter().map(|name| (name.clone(), tensor(name))).collect()
}

/// A JSON file of `tests/golden`: numbers made by other trainers.
fn golden_json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(golden_path(name)).unwrap()).unwrap()
}

/// Numbers of a JSON list, or of a list of equally long lists, as an f64 tensor.
fn tensor(json: &Value) -> Tensor {
    let list = json.as_array().unwrap();
    if list.iter().all(Value::is_number) {
        return Tensor::from_slice(&list.iter().map(|n| n.as_f64().unwrap()).collect::<Vec<f64>>());
    }
    Tensor::stack(&list.iter().map(tensor).collect::<Vec<_>>(), 0)
}

/// `|ours - theirs| / |theirs|`, L2, in f64.
fn relative_difference(ours: &Tensor, theirs: &Tensor) -> f64 {
    assert_eq!(ours.size(), theirs.size());
    let (ours, theirs) = (ours.detach().to_kind(Kind::Double), theirs.detach().to_kind(Kind::Double));
    let difference = (ours - &theirs).norm().double_value(&[]);
    difference / theirs.norm().double_value(&[])
}

#[track_caller]
fn assert_near(what: &str, ours: &Tensor, theirs: &Tensor, bound: f64) {
    let difference = relative_difference(ours, theirs);
    assert!(difference <= bound, "{what} differs by {difference:e} of its norm, more than {bound:e}");
}

/// The random Llama of `tiny.rs` and its byte tokenizer.
///
/// Its products are too small to share: with several threads, and tests or other programs beside them, the threads wait
/// for each other most of the time.
fn tiny_policy(compute: Kind) -> Policy {
    tch::set_num_threads(1);
    let folder = tempfile::tempdir().unwrap();
    tiny::make_model(folder.path());
    Policy::load(folder.path(), compute, Device::Cpu).unwrap()
}

/// The random T5 of `tiny.rs`.
fn tiny_t5(compute: Kind) -> Policy {
    tch::set_num_threads(1);
    let folder = tempfile::tempdir().unwrap();
    tiny::make_t5(folder.path());
    Policy::load(folder.path(), compute, Device::Cpu).unwrap()
}

/// What an update on made-up data is done with: a learning rate of its own, no critic, completions of at most 16 tokens.
fn settings<'a>(
    algorithm: &'a AlgorithmConfig,
    optimizer: &'a OptimizerConfig,
    critic: &'a CriticConfig,
) -> Settings<'a> {
    Settings {
        algorithm,
        optimizer,
        critic,
        learning_rate: Some(optimizer.learning_rate),
        critic_learning_rate: critic.optimizer.learning_rate,
        temperature: 1.0,
        longest: 16,
        kl_coefficient: algorithm.kl_coefficient,
        references: None,
        ranks: &ALONE,
    }
}

/// All gradients end to end in the order of names, f64; they are zero afterwards.
fn take_gradient(weights: &Weights) -> Tensor {
    let parts: Vec<Tensor> = weights
        .iter()
        .map(|(_, weight)| {
            let mut gradient = weight.grad();
            assert!(gradient.defined(), "every weight takes part in a forward pass");
            let taken = gradient.to_kind(Kind::Double).flatten(0, -1);
            let _ = gradient.zero_();
            taken
        })
        .collect();
    Tensor::cat(&parts, 0)
}

/// Causal attention of one sequence, written out: `softmax(q k^T / sqrt(d)) v`, one head at a time.
struct WrittenOut;

impl Attention for WrittenOut {
    fn attend(
        &mut self,
        layer: AttentionLayer<'_>,
        query_bhtd: &Tensor,
        key_bktd: Tensor,
        value_bktd: Tensor,
    ) -> Tensor {
        let (_, heads, t, _) = query_bhtd.size4().unwrap();
        let shared = heads / key_bktd.size()[1];
        let future = Tensor::ones([t, t], (Kind::Float, query_bhtd.device())).triu(1).to_kind(Kind::Bool);
        let head = |h: i64| {
            let (query, key) = (query_bhtd.select(1, h), key_bktd.select(1, h / shared));
            let scores = query.matmul(&key.transpose(1, 2)) * layer.scale;
            let weights = scores.masked_fill(&future, f64::NEG_INFINITY).softmax(-1, scores.kind());
            weights.matmul(&value_bktd.select(1, h / shared))
        };
        Tensor::stack(&(0..heads).map(head).collect::<Vec<_>>(), 1)
    }
}

/// Logits `[T, V]` after each token of a sequence that is computed alone.
fn logits_alone(model: &Network, tokens: &[i64]) -> Tensor {
    let tokens_t = Tensor::from_slice(tokens);
    let positions_t = Tensor::arange(tokens.len() as i64, (Kind::Int64, Device::Cpu));
    let hidden = model.hidden(&tokens_t.unsqueeze(0), &positions_t.unsqueeze(0), &mut WrittenOut);
    model.logits(&hidden.squeeze_dim(0))
}

/// Logprobs `[N]` of a completion's tokens behind its prompt, as a sequence of its own.
fn logprobs_alone(model: &Network, prompt: &[i64], completion: &[i64], temperature: f64) -> Tensor {
    let (start, count) = (prompt.len() as i64, completion.len() as i64);
    let logits = logits_alone(model, &[prompt, completion].concat()).narrow(0, start - 1, count);
    let logprobs = (logits / temperature).log_softmax(-1, Kind::Float);
    logprobs.gather(1, &Tensor::from_slice(completion).unsqueeze(1), false).squeeze_dim(1)
}
