//! Every model family against transformers' numbers: logits, log-probabilities, gradients, greedy tokens.
//!
//! Each folder of `tests/golden/architectures` is a tiny random model with what transformers computes on it
//! (`scripts/make_architecture.py` made them); `../shared/parity/architectures` has more of them where it is there. A new
//! family means a new folder.

#![expect(clippy::print_stdout, reason = "says what was skipped and how near the numbers are")]

mod adapters;
mod direct;
mod encoder_decoder;
mod recomputation;
mod refusals;
mod runs;
pub(crate) mod saving;

use std::path::{Path, PathBuf};

use rltrain::policy::{Architecture, Network, Pack, Tokenizer, Weights, load_tensor, logprobs_and_entropy};
use rltrain::rng::Stream;
use rltrain::rollout::{Request, Sampling, generate};
use rltrain_checkpoints::{TensorFile, read_safetensors};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::tiny;

/// Largest difference in a logit that another order of summation explains. Observed: at most 1e-5.
pub(crate) const LOGITS: f64 = 1e-4;

/// A model of transformers' and its numbers.
struct Reference {
    name: String,
    expected: Value,
    tensors: TensorFile,
    architecture: Architecture,
    weights: Weights,
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn integers(json: &Value) -> Vec<i64> {
    json.as_array().unwrap().iter().map(|n| n.as_i64().unwrap()).collect()
}

/// The folders of models: those of the repository and, where they are, the shared ones.
fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let places = [root.join("tests/golden/architectures"), root.join("../shared/parity/architectures")];
    let mut folders = Vec::new();
    for place in places {
        match std::fs::read_dir(&place) {
            Ok(entries) => folders.extend(entries.map(|entry| entry.unwrap().path())),
            Err(error) => println!("skipped: cannot read `{}`: {error}", place.display()),
        }
    }
    folders.retain(|folder| folder.join("config.json").exists());
    folders.sort();
    assert!(folders.len() >= 20, "the repository has folders of its own, found {folders:?}");
    folders
}

/// Every decoder-only model.
fn references() -> impl Iterator<Item = Reference> {
    tch::set_num_threads(1);
    folders().into_iter().filter_map(|folder| {
        let config = json(&folder.join("config.json"));
        if config["is_encoder_decoder"] == Value::Bool(true) {
            return None;
        }
        let architecture = Architecture::from_json(&config).unwrap();
        Some(Reference {
            name: folder.display().to_string(),
            expected: json(&folder.join("expected.json")),
            tensors: read_safetensors(&folder.join("expected.safetensors")).unwrap(),
            weights: Weights::load(&folder, &architecture.shapes(), Device::Cpu).unwrap(),
            architecture,
        })
    })
}

impl Reference {
    fn network(&self) -> Network {
        Network::new(&self.architecture, &self.weights, Kind::Float)
    }

    fn sequences(&self) -> Vec<Vec<i64>> {
        let lengths = integers(&self.expected["lengths"]);
        let rows = self.expected["right_ids"].as_array().unwrap();
        rows.iter().zip(lengths).map(|(row, length)| integers(row)[..length as usize].to_vec()).collect()
    }

    /// A table of the reference.
    fn tensor(&self, name: &str) -> Tensor {
        let info = self.tensors.info(name).unwrap_or_else(|| panic!("{}: no `{name}`", self.name));
        let shape: Vec<i64> = info.shape.iter().map(|n| *n as i64).collect();
        load_tensor(&self.tensors, name, &shape).unwrap()
    }

    #[track_caller]
    fn assert_near(&self, what: &str, found: &Tensor, wanted: &Tensor) {
        assert_eq!(found.size(), wanted.size(), "{}: {what}", self.name);
        let apart = (found - wanted).abs().max().double_value(&[]);
        println!("{}: {what} within {apart:.1e}", self.name);
        assert!(apart < LOGITS, "{}: {what} differs by {apart:e}", self.name);
    }
}

/// All sequences in one pass, each as one prompt token and a completion. One more token, whatever it is, makes the last one
/// predict something too.
pub(crate) fn packed(sequences: &[Vec<i64>], one_more: bool) -> Pack {
    let mut pack = Pack::default();
    for ids in sequences {
        let tail = if one_more { [&ids[1..], &[0]].concat() } else { ids[1..].to_vec() };
        pack.add(&ids[..1], [&tail[..]]);
    }
    pack
}

#[test]
fn logits_are_those_of_transformers_alone_and_under_padding() {
    for reference in references() {
        let network = reference.network();
        let _no_gradient = tch::no_grad_guard();
        let (right, left) = (reference.tensor("right_logits"), reference.tensor("left_logits_mask_pos"));
        let longest = right.size()[1];
        let sequences = reference.sequences();
        let together = packed(&sequences, true).logits(&network);
        let mut start = 0;
        for (row, ids) in sequences.iter().enumerate() {
            let (number, length) = (row as i64, ids.len() as i64);
            let alone = packed(std::slice::from_ref(ids), true).logits(&network);
            reference.assert_near("logits alone", &alone, &reference.tensor(&format!("single{row}_logits")));
            let cut = together.narrow(0, start, length);
            reference.assert_near(
                "logits beside, right padding",
                &cut,
                &right.get(number).narrow(0, 0, length),
            );
            let padded = left.get(number).narrow(0, longest - length, length);
            reference.assert_near("logits beside, left padding", &cut, &padded);
            start += length;
        }
    }
}

/// The name that transformers 5 gives a tensor once it is loaded.
fn in_memory(name: &str) -> &str {
    if name == "embed_out.weight" { "lm_head.weight" } else { name }
}

/// The bound on norms is relative; observed at most 2e-5.
#[test]
fn loss_and_gradients_are_those_of_transformers() {
    for reference in references() {
        let pack = packed(&reference.sequences(), false);
        let logits = pack.logits(&reference.network());
        let loss = -logprobs_and_entropy(&logits, &pack.targets(Device::Cpu), 1.0).0.mean(Kind::Float);
        let wanted = reference.expected["loss_mean_ce"].as_f64().unwrap();
        let apart = (loss.double_value(&[]) - wanted).abs();
        assert!(apart < 1e-5 * wanted, "{}: loss differs by {apart:e}", reference.name);
        loss.backward();
        let norms = reference.expected["grad_norms"].as_object().unwrap();
        assert_eq!(reference.weights.iter().count(), norms.len(), "{}: parameters", reference.name);
        let mut furthest: f64 = 0.0;
        for (name, weight) in reference.weights.iter() {
            let (found, wanted) =
                (weight.grad().norm().double_value(&[]), norms[in_memory(name)].as_f64().unwrap());
            // A bias of keys moves all scores of a query alike: its gradient is zero up to rounding.
            let apart = (found - wanted).abs() / wanted.max(1e-3);
            assert!(apart < 1e-4, "{}: {name}: {found}, wanted {wanted}", reference.name);
            furthest = furthest.max(apart);
        }
        println!("{}: gradient norms within {furthest:.1e}", reference.name);
    }
}

#[test]
fn both_forms_of_a_configuration_are_the_same_network() {
    for folder in folders() {
        let config = json(&folder.join("config.json"));
        let read = |config| Architecture::from_json(config).unwrap();
        assert_eq!(read(&config), read(&json(&folder.join("config_v4.json"))), "{}", folder.display());
    }
}

#[test]
fn greedy_tokens_without_a_cache_are_those_of_transformers() {
    for reference in references() {
        let network = reference.network();
        let _no_gradient = tch::no_grad_guard();
        for (row, mut ids) in reference.sequences().into_iter().enumerate() {
            let wanted = integers(&reference.expected["greedy_single"][row]);
            let start = ids.len();
            for _ in &wanted {
                let logits = packed(std::slice::from_ref(&ids), true).logits(&network);
                ids.push(logits.get(-1).argmax(-1, false).int64_value(&[]));
            }
            assert_eq!(ids[start..], wanted, "{}: sequence {row}", reference.name);
        }
    }
}

/// A tokenizer of bytes that ends no completion.
fn endless_tokenizer() -> Tokenizer {
    let folder = tempfile::tempdir().unwrap();
    tiny::make_model(folder.path());
    let mut tokenizer = Tokenizer::load(folder.path()).unwrap();
    tokenizer.stop_ids.clear();
    tokenizer
}

#[test]
fn greedy_tokens_over_the_cache_are_those_of_transformers_alone_and_in_a_batch() {
    let tokenizer = endless_tokenizer();
    for reference in references() {
        let network = tch::no_grad(|| reference.network());
        let greedy = &reference.expected["greedy_single"];
        let requests: Vec<Request> = (0u64..)
            .zip(reference.sequences())
            .map(|(task, prompt)| Request { prompt, samples: 1, task, ..Request::default() })
            .collect();
        for max_batch in [1, requests.len()] {
            let sampling = Sampling {
                seed: 0,
                stream: Stream::Evaluation,
                step: 0,
                temperature: 0.0,
                max_tokens: integers(&greedy[0]).len(),
                stop: Vec::new(),
                max_batch,
                ..Sampling::default()
            };
            let mut finished = 0;
            generate(&network, &tokenizer, &requests, &sampling, &mut |completion| {
                let wanted = integers(&greedy[completion.request]);
                assert_eq!(completion.tokens, wanted, "{}: {max_batch} together", reference.name);
                finished += 1;
            })
            .unwrap();
            assert_eq!(finished, requests.len());
        }
    }
}
