//! Ten steps of the whole update against transformers' Trainer on a tiny Qwen2: AdamW with decay on matrices only, clipping, cosine.
//!
//! `golden/hf_trainer` is `shared/parity/optimizer` (PyTorch 2.13.0, transformers 5.23.0). Its case A decays norms and biases as
//! well, which ours does not offer. Trainer's warm-up begins at a learning rate of 0, ours above: the rates are its own.

use rltrain::algorithm::{AlgorithmConfig, PolicyLoss};
use rltrain::batch::Batch;
use rltrain::critic::CriticConfig;
use rltrain::optim::{Optimizer, OptimizerConfig, Schedule, Settings, apply, learning_rate};
use rltrain::policy::Policy;
use rltrain::rollout::{Completion, Finish, Group};
use tch::{Device, Kind};

use super::{assert_near, golden, golden_json, golden_path, settings};
use crate::tiny;

/// The model with a tokenizer that nobody asks.
fn policy() -> Policy {
    let folder = tempfile::tempdir().unwrap();
    tiny::make_model(folder.path());
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(golden_path("hf_trainer").join(name), folder.path().join(name)).unwrap();
    }
    Policy::load(folder.path(), Kind::Float, Device::Cpu).unwrap()
}

/// Each row as a prompt of one token and a completion: the loss of every later token.
fn groups(expected: &serde_json::Value) -> Vec<Group> {
    let row = |index: usize| -> Vec<i64> {
        let ids = expected["input_ids"][index].as_array().unwrap().iter();
        let mask = expected["attention_mask"][index].as_array().unwrap().iter();
        ids.zip(mask)
            .filter(|(_, mask)| mask.as_i64() == Some(1))
            .map(|(id, _)| id.as_i64().unwrap())
            .collect()
    };
    let group = |index: usize| {
        let tokens = row(index)[1..].to_vec();
        let completion = Completion {
            request: index,
            sample: 0,
            logprobs: vec![0.0; tokens.len()],
            tokens,
            finish: Finish::Length,
            ..Completion::default()
        };
        Group { task: index, prompt: row(index)[..1].to_vec(), completions: vec![completion] }
    };
    (0..expected["input_ids"].as_array().unwrap().len()).map(group).collect()
}

/// Follows one case with at most `micro_batch_tokens` tokens in a micro-batch.
///
/// Losses are f32 sums in another order: observed at most 2e-6 of the loss, 4e-6 of the norm. Adam divides small gradients by
/// their own size, so that rounding in them moves weights: observed at most 2e-5 of a weight's norm after ten steps.
fn follow(case: &str, micro_batch_tokens: usize) {
    let expected = golden_json("hf_trainer/expected.json");
    let of_case = |list: &str, step: u64| expected[case][list][step as usize].as_f64().unwrap();
    let policy = policy();
    let batch = Batch::new(&groups(&expected), Device::Cpu).with_advantages([1.0; 4]);
    let algorithm = AlgorithmConfig { policy_loss: PolicyLoss::Reinforce, ..AlgorithmConfig::default() };
    let config = OptimizerConfig {
        learning_rate: 3e-3,
        weight_decay: 0.1,
        warmup_steps: 2,
        schedule: Schedule::Cosine,
        micro_batch_tokens: micro_batch_tokens.try_into().unwrap(),
        ..OptimizerConfig::default()
    };
    let critic = CriticConfig::default();
    let mut optimizer = Optimizer::new(config.kind, &policy.weights);
    for step in 0..10 {
        let rate = of_case("lr_logged", step);
        if step >= 2 {
            let ours = learning_rate(&config, step, 10);
            assert!(
                (ours / rate - 1.0).abs() < 1e-12,
                "learning rate {ours} in step {step}, Trainer has {rate}"
            );
        }
        let settings = Settings { learning_rate: Some(rate), ..settings(&algorithm, &config, &critic) };
        let report = apply(&policy, &mut optimizer, None, &batch, &batch.members(), &settings);
        for (what, ours, theirs, bound) in [
            ("loss", report.loss, of_case("losses", step), 1e-5),
            ("norm", report.gradient_norm, of_case("grad_norms", step), 3e-5),
        ] {
            assert!(
                (ours / theirs - 1.0).abs() < bound,
                "case {case}, step {step}: {what} {ours}, Trainer has {theirs}"
            );
        }
    }
    let theirs = golden(&format!("hf_trainer/final_{case}.safetensors"));
    for (name, weight) in policy.weights.iter() {
        assert_near(&format!("case {case}: {name}"), weight, &theirs[name], 2e-4);
    }
}

#[test]
fn ten_steps_of_the_update_are_those_of_transformers_trainer() {
    follow("B", 4096);
}

#[test]
fn ten_steps_in_micro_batches_are_those_of_transformers_trainer_with_accumulation() {
    follow("C", 30);
}
