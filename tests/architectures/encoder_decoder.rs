//! Encoder-decoders: against transformers (logits under teacher forcing, gradients, greedy tokens), and rollout against update.

use std::collections::BTreeMap;

use rltrain::policy::{Architecture, Network, Pack, Policy, Weights, load_tensor, logprobs_and_entropy};
use rltrain::rng::Stream;
use rltrain::rollout::{Completion, Request, Sampling, generate};
use rltrain_checkpoints::{TensorFile, read_safetensors};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::{LOGITS, endless_tokenizer, folders, integers, json as read};
use crate::tiny;

struct Reference {
    name: String,
    expected: Value,
    tensors: TensorFile,
    architecture: Architecture,
    weights: Weights,
}

fn references() -> Vec<Reference> {
    tch::set_num_threads(1);
    let is_wanted = |folder: &std::path::PathBuf| {
        read(&folder.join("config.json"))["is_encoder_decoder"] == Value::Bool(true)
    };
    let reference = |folder: std::path::PathBuf| {
        let architecture = Architecture::from_json(&read(&folder.join("config.json"))).unwrap();
        Reference {
            name: folder.display().to_string(),
            expected: read(&folder.join("expected.json")),
            tensors: read_safetensors(&folder.join("expected.safetensors")).unwrap(),
            weights: Weights::load(&folder, &architecture.shapes(), Device::Cpu).unwrap(),
            architecture,
        }
    };
    let references: Vec<Reference> = folders().into_iter().filter(is_wanted).map(reference).collect();
    assert!(references.len() >= 2, "the repository has two folders of its own");
    references
}

impl Reference {
    fn network(&self) -> Network {
        Network::new(&self.architecture, &self.weights, Kind::Float)
    }

    fn table(&self, name: &str) -> Tensor {
        let info = self.tensors.info(name).unwrap();
        let shape: Vec<i64> = info.shape.iter().map(|n| *n as i64).collect();
        if info.dtype == rltrain_checkpoints::Dtype::I64 {
            return Tensor::from_data_size(&self.tensors.read(name).unwrap().data, &shape, Kind::Int64);
        }
        load_tensor(&self.tensors, name, &shape).unwrap()
    }

    fn prompts(&self) -> Vec<Vec<i64>> {
        let lengths = integers(&self.expected["lengths"]);
        let rows = self.expected["right_ids"].as_array().unwrap();
        rows.iter().zip(lengths).map(|(row, length)| integers(row)[..length as usize].to_vec()).collect()
    }

    /// The completions that transformers was given.
    fn labels(&self) -> Vec<Vec<i64>> {
        let table = self.table("labels");
        let row = |row| Vec::<i64>::try_from(table.get(row)).unwrap();
        (0..table.size()[0]).map(row).map(|ids| ids.into_iter().filter(|id| *id >= 0).collect()).collect()
    }
}

/// A completion may be predicted behind others of the pack, and behind more tokens of its own.
#[test]
fn logits_loss_and_gradients_are_those_of_transformers() {
    for reference in references() {
        let network = reference.network();
        let (prompts, labels) = (reference.prompts(), reference.labels());
        let mut pack = Pack::default();
        for (prompt, completion) in prompts.iter().zip(&labels) {
            pack.add(prompt, [&completion[..]]);
        }
        let logits = pack.logits(&network);
        let table = reference.table("logits");
        let rows = (0..).zip(&labels).map(|(row, ids)| table.get(row).narrow(0, 0, ids.len() as i64));
        let wanted = Tensor::cat(&rows.collect::<Vec<_>>(), 0);
        assert_eq!(logits.size(), wanted.size());
        let apart = (&logits - &wanted).abs().max().double_value(&[]);
        assert!(apart < LOGITS, "{}: {apart}", reference.name);
        let mut begin = 0;
        for (prompt, completion) in prompts.iter().zip(&labels) {
            let alone = tch::no_grad(|| Pack::new(prompt, [&completion[..]]).logits(&network));
            let apart = (&alone - wanted.narrow(0, begin, alone.size()[0])).abs().max().double_value(&[]);
            assert!(apart < LOGITS, "{}: alone {apart}", reference.name);
            begin += alone.size()[0];
        }
        let loss = -logprobs_and_entropy(&logits, &pack.targets(Device::Cpu), 1.0).0.mean(Kind::Float);
        let wanted = reference.expected["loss_mean_ce"].as_f64().unwrap();
        assert!((loss.double_value(&[]) - wanted).abs() < 1e-5 * wanted, "{}", reference.name);
        loss.backward();
        let norms = reference.expected["grad_norms"].as_object().unwrap();
        for (name, weight) in reference.weights.iter() {
            let (found, wanted) = (weight.grad().norm().double_value(&[]), norms[name].as_f64().unwrap());
            let apart = (found - wanted).abs() / wanted.max(1e-3);
            assert!(apart < 1e-4, "{}: {name}: {found}, wanted {wanted}", reference.name);
        }
        assert_eq!(reference.weights.iter().count(), norms.len(), "{}", reference.name);
    }
}

#[test]
fn greedy_tokens_are_those_of_transformers_with_and_without_a_cache_alone_and_together() {
    let tokenizer = endless_tokenizer();
    for reference in references() {
        let network = tch::no_grad(|| reference.network());
        let wanted: Vec<Vec<i64>> =
            reference.expected["greedy_single"].as_array().unwrap().iter().map(integers).collect();
        for (prompt, wanted) in reference.prompts().iter().zip(&wanted) {
            let mut tokens = Vec::new();
            for _ in wanted {
                let with_one_more = [&tokens[..], &[0]].concat();
                let logits = tch::no_grad(|| Pack::new(prompt, [&with_one_more[..]]).logits(&network));
                tokens.push(logits.get(-1).argmax(-1, false).int64_value(&[]));
            }
            assert_eq!(&tokens, wanted, "{}: without a cache", reference.name);
        }
        let requests: Vec<Request> = (0u64..)
            .zip(reference.prompts())
            .map(|(task, prompt)| Request { prompt, samples: 2, task, ..Request::default() })
            .collect();
        for max_batch in [1, 4] {
            let greedy = Sampling { max_tokens: wanted[0].len(), max_batch, ..sampling(0.0) };
            let mut finished = 0;
            generate(&network, &tokenizer, &requests, &greedy, &mut |completion| {
                assert_eq!(completion.tokens, wanted[completion.request], "{}: {max_batch}", reference.name);
                finished += 1;
            })
            .unwrap();
            assert_eq!(finished, 4);
        }
    }
}

fn sampling(temperature: f64) -> Sampling {
    Sampling {
        seed: 7,
        stream: Stream::Sampling,
        temperature,
        max_tokens: 24,
        max_batch: 64,
        ..Sampling::default()
    }
}

fn tiny_t5(compute: Kind) -> Policy {
    tch::set_num_threads(1);
    let folder = tempfile::tempdir().unwrap();
    tiny::make_t5(folder.path());
    Policy::load(folder.path(), compute, Device::Cpu).unwrap()
}

/// Prompts of several lengths, one twice as long as the last distance that has a bucket of its own.
fn requests(policy: &Policy) -> Vec<Request> {
    let prompts = ["def same(x):", "?", "def minus(x): return 0 - x  # and so on, until it is long"];
    let request = |(task, (prompt, samples)): (u64, (&str, usize))| Request {
        prompt: policy.tokenizer.encode_prompt(prompt).unwrap(),
        samples,
        task,
        ..Request::default()
    };
    (0..).zip(prompts.into_iter().zip([9, 4, 12])).map(request).collect()
}

fn sample(policy: &Policy, sampling: &Sampling) -> BTreeMap<(usize, usize), Completion> {
    let mut completions = BTreeMap::new();
    let model = tch::no_grad(|| policy.model());
    generate(&model, &policy.tokenizer, &requests(policy), sampling, &mut |completion| {
        completions.insert((completion.request, completion.sample), completion);
    })
    .unwrap();
    assert_eq!(completions.len(), 25);
    completions
}

#[test]
fn an_encoder_reads_the_prompt_with_the_special_tokens_of_its_folder() {
    let policy = tiny_t5(Kind::Float);
    assert_eq!(policy.tokenizer.encode("ab").unwrap(), [97, 98]);
    assert_eq!(policy.tokenizer.encode_prompt("ab").unwrap(), [97, 98, 258]);
    assert_eq!(
        policy.tokenizer.encode_with_prompt("ab", "c").unwrap(),
        (vec![97, 98, 258], vec![99]),
        "what follows is written apart"
    );
}

/// One network, two ways through it. Observed 1e-6 nats.
#[test]
fn the_logprobs_recorded_at_sampling_are_those_that_the_update_computes() {
    let policy = tiny_t5(Kind::Float);
    let completions = sample(&policy, &sampling(0.8));
    let model = tch::no_grad(|| policy.model());
    let mut pack = Pack::default();
    let mut recorded: Vec<f32> = Vec::new();
    for (index, request) in requests(&policy).iter().enumerate() {
        let group = || completions.values().filter(|completion| completion.request == index);
        pack.add(&request.prompt, group().map(|completion| &completion.tokens[..]));
        recorded.extend(group().flat_map(|completion| &completion.logprobs));
    }
    let logits = tch::no_grad(|| pack.logits(&model));
    let computed = logprobs_and_entropy(&logits, &pack.targets(Device::Cpu), 0.8).0;
    let apart = (computed - Tensor::from_slice(&recorded)).abs().max().double_value(&[]);
    assert!(apart < 1e-5, "{apart:e} nats");
}

/// On AMD processors oneMKL's fast kernels round a row by its place among the others, so that bits may differ; tokens do not.
#[test]
fn batch_sizes_give_the_same_tokens() {
    for (compute, bound) in [(Kind::Float, 1e-5), (Kind::BFloat16, 1e-2)] {
        let policy = tiny_t5(compute);
        let together = sample(&policy, &sampling(1.0));
        for max_batch in [1, 7, 13] {
            let apart = sample(&policy, &Sampling { max_batch, ..sampling(1.0) });
            for (place, completion) in &apart {
                let other = &together[place];
                assert_eq!(completion.tokens, other.tokens, "{compute:?}, {max_batch} together");
                for (one, other) in completion.logprobs.iter().zip(&other.logprobs) {
                    assert!(
                        (one - other).abs() < bound,
                        "{compute:?}, {max_batch} together: {one} and {other}"
                    );
                }
            }
        }
    }
}

/// A later turn: the encoder reads the prompt alone, and what was written so far stands in front of the decoder's tokens.
#[test]
fn a_later_turn_goes_on_behind_what_was_written() {
    let policy = tiny_t5(Kind::Float);
    let model = tch::no_grad(|| policy.model());
    let greedy = |request: Request, max_tokens| {
        let mut found = Vec::new();
        let how = Sampling { max_tokens, ..sampling(0.0) };
        generate(&model, &policy.tokenizer, &[request], &how, &mut |completion| found = completion.tokens)
            .unwrap();
        found
    };
    let whole = Request { samples: 1, ..requests(&policy).remove(0) };
    let tokens = greedy(whole.clone(), 20);
    assert_eq!(tokens.len(), 20, "a stop id came, which this test does not want");
    for written in [1, 7, 16] {
        let prompt = [&whole.prompt[..], &tokens[..written]].concat();
        let rest = greedy(Request { prompt, written, ..whole.clone() }, 20 - written);
        assert_eq!(rest, tokens[written..], "behind {written}");
    }
}

fn gradient(policy: &Policy, packs: &[Pack]) -> Tensor {
    let model = policy.training_model(0);
    for pack in packs {
        let logprobs = logprobs_and_entropy(&pack.logits(&model), &pack.targets(Device::Cpu), 1.0).0;
        let weight = pack.targets(Device::Cpu).to_kind(Kind::Float).sin();
        (logprobs * weight).sum(Kind::Float).backward();
    }
    let parts =
        policy.weights.trained().map(|(_, weight)| weight.grad().to_kind(Kind::Double).flatten(0, -1));
    let gradient = Tensor::cat(&parts.collect::<Vec<_>>(), 0);
    policy.weights.zero_gradients();
    gradient
}

/// Observed: 4e-7.
#[test]
fn the_gradient_does_not_depend_on_how_completions_are_packed() {
    let policy = tiny_t5(Kind::Float);
    let completions = sample(&policy, &sampling(1.0));
    let requests = requests(&policy);
    let of_group = |index: usize| completions.values().filter(move |completion| completion.request == index);
    let mut together = Pack::default();
    for (index, request) in requests.iter().enumerate() {
        together.add(&request.prompt, of_group(index).map(|completion| &completion.tokens[..]));
    }
    let alone: Vec<Pack> = completions
        .values()
        .rev()
        .map(|completion| Pack::new(&requests[completion.request].prompt, [&completion.tokens[..]]))
        .collect();
    let (together, alone) = (gradient(&policy, &[together]), gradient(&policy, &alone));
    let apart = ((&together - &alone).norm() / alone.norm()).double_value(&[]);
    assert!(apart < 1e-5, "{apart:e}");
}
