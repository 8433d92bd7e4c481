//! Whether training trains: sign and plumbing of the whole update, without a sandbox.

use rltrain::algorithm::{AlgorithmConfig, Outcomes, advantages};
use rltrain::batch::Batch;
use rltrain::critic::CriticConfig;
use rltrain::optim::{Optimizer, OptimizerConfig, OptimizerKind, apply};
use rltrain::policy::Policy;
use rltrain::rng::Stream;
use rltrain::rollout::{Completion, Group, Request, Sampling, collect, generate};
use tch::{Device, Kind};

use super::{settings, tiny_policy, tiny_t5};

const STEPS: u64 = 15;
const TASKS: u64 = 4;

/// Share of lower-case letters: 26 of the 259 tokens of a model that knows nothing.
fn reward(completion: &Completion) -> f64 {
    let letters = completion.tokens.iter().filter(|token| (97..123).contains(*token)).count();
    letters as f64 / completion.tokens.len() as f64
}

/// Mean rewards observed: 0.13 at first, 0.97 at last.
#[test]
fn fifteen_steps_of_grpo_teach_a_random_model_to_write_letters() {
    learns(&tiny_policy(Kind::Float));
}

#[test]
fn fifteen_steps_of_grpo_teach_an_encoder_decoder_to_write_letters() {
    learns(&tiny_t5(Kind::Float));
}

fn learns(policy: &Policy) {
    let mut adamw = Optimizer::new(OptimizerKind::AdamW, &policy.weights);
    let algorithm = AlgorithmConfig::default();
    let optimizer = OptimizerConfig { learning_rate: 5e-3, ..OptimizerConfig::default() };
    let critic = CriticConfig::default();
    let settings = settings(&algorithm, &optimizer, &critic);
    let mut means = Vec::new();
    for step in 0..STEPS {
        let groups = rollout(policy, step);
        let rewards: Vec<Vec<f64>> =
            groups.iter().map(|group| group.completions.iter().map(reward).collect()).collect();
        means.push(rewards.concat().iter().sum::<f64>() / rewards.concat().len() as f64);
        let known: Vec<Vec<Option<f64>>> =
            rewards.iter().map(|rewards| rewards.iter().copied().map(Some).collect()).collect();
        let advantages = advantages(&algorithm, &Outcomes::of(&known));
        let batch = Batch::new(&groups, Device::Cpu).with_advantages(advantages.concat());
        let report = apply(policy, &mut adamw, None, &batch, &batch.members(), &settings);
        assert!(report.skipped == 0 && report.tokens.drift < 1e-4, "step {step}: {report:?}");
        assert!((report.tokens.ratio_mean - 1.0).abs() < 1e-4, "step {step} is on-policy: {report:?}");
    }
    let (first, last) = (means[0], means[STEPS as usize - 1]);
    assert!(first < 0.2 && last > 0.5, "mean rewards {means:?}");
}

fn rollout(policy: &Policy, step: u64) -> Vec<Group> {
    let prompt = |task: u64| format!("task {task}:").bytes().map(i64::from).collect();
    let requests: Vec<Request> = (0..TASKS)
        .map(|task| Request { prompt: prompt(task), samples: 8, task, ..Request::default() })
        .collect();
    let sampling = Sampling {
        seed: 1,
        stream: Stream::Sampling,
        step,
        temperature: 1.0,
        max_tokens: 16,
        stop: Vec::new(),
        max_batch: 64,
        ..Sampling::default()
    };
    let mut completions = Vec::new();
    let model = tch::no_grad(|| policy.model());
    generate(&model, &policy.tokenizer, &requests, &sampling, &mut |completion| completions.push(completion))
        .unwrap();
    collect(&[0, 1, 2, 3], requests, completions)
}
