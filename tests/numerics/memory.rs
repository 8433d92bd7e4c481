//! Memory that runs out in an update, and what is planned of it.

use std::num::NonZeroUsize;
use std::process::Command;

use rltrain::algorithm::AlgorithmConfig;
use rltrain::batch::Batch;
use rltrain::critic::CriticConfig;
use rltrain::optim::{
    self, Optimizer, OptimizerConfig, OptimizerKind, TokenBudget, TooLarge, UpdateError, UpdateReport,
};
use rltrain::policy::{
    KvCache, LoraConfig, ModelConfig, Pack, Policy, Training, attention::PrefillAttention,
};
use rltrain::rollout::{Completion, Group};
use tch::{Device, Kind, Tensor};

use super::{settings, tiny_policy};

/// Four groups of eight completions of `length` tokens.
fn batch(length: i64) -> Batch {
    let group = |task: usize| Group {
        task,
        prompt: vec![65 + task as i64; 20],
        completions: (0..8)
            .map(|sample| Completion {
                sample,
                tokens: (0..length)
                    .map(|place| (place * 7 + sample as i64 * 3 + task as i64) % 256)
                    .collect(),
                logprobs: vec![-5.5; length as usize],
                ..Completion::default()
            })
            .collect(),
    };
    let groups: Vec<Group> = (0..4).map(group).collect();
    let advantages = (0..32).map(|place| if place % 2 == 0 { 1.0 } else { -1.0 });
    Batch::new(&groups, Device::Cpu).with_advantages(advantages)
}

/// One update within `budget`.
fn update(
    policy: &Policy,
    optimizer: &mut Optimizer,
    length: i64,
    budget: &mut TokenBudget,
) -> Result<UpdateReport, TooLarge> {
    let (algorithm, critic) = (AlgorithmConfig::default(), CriticConfig::default());
    let config = OptimizerConfig { learning_rate: 1e-3, ..OptimizerConfig::default() };
    let (batch, settings) = (batch(length), settings(&algorithm, &config, &critic));
    optim::apply_within(budget, policy, optimizer, None, (&batch, &batch.members()), &settings).map_err(
        |error| match error {
            UpdateError::TooLarge(error) => error,
            UpdateError::Ranks(error) => panic!("there are no others: {error}"),
        },
    )
}

fn weights(policy: &Policy) -> Vec<Tensor> {
    policy.weights.iter().map(|(_, tensor)| tensor.detach().copy()).collect()
}

/// A policy after an update in small packs, which warms up everything that allocates once.
fn updated() -> (Policy, Optimizer) {
    let policy = tiny_policy(Kind::Float);
    let mut optimizer = Optimizer::new(OptimizerKind::AdamW, &policy.weights);
    update(&policy, &mut optimizer, 100, &mut budget(200)).unwrap();
    (policy, optimizer)
}

fn budget(tokens: usize) -> TokenBudget {
    TokenBudget::new(NonZeroUsize::new(tokens).unwrap())
}

const CHILD: &str = "RLTRAIN_TEST_MEMORY";

/// Runs one of this file's tests alone in a process, in which it limits its own memory.
fn alone(name: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("numerics::memory::{name}"), "--nocapture", "--test-threads", "1"])
        .envs([(CHILD, "1"), ("OMP_NUM_THREADS", "1")])
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("1 passed"), "{}", text(&output.stdout));
}

/// Lets this process have `mebibytes` more than it has now, of address space.
fn limit_to(mebibytes: u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let now: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
    let limit = (now << 10) + (mebibytes << 20);
    let pid = std::process::id().to_string();
    let status = Command::new("prlimit").args(["--pid", &pid, &format!("--as={limit}")]).status().unwrap();
    assert!(status.success());
}

/// An allocation of libtorch that fails, for real: the step ends as one that had the smaller budget from the start.
#[test]
fn a_step_that_runs_out_of_memory_is_done_again_in_smaller_packs() {
    if std::env::var_os(CHILD).is_none() {
        return alone("a_step_that_runs_out_of_memory_is_done_again_in_smaller_packs");
    }
    let mut limited = budget(4096);
    let (policy, mut optimizer) = updated();
    // Observed: with 20 one attempt alone does not fit, with 70 all do.
    limit_to(40);
    let report = update(&policy, &mut optimizer, 100, &mut limited).unwrap();
    assert!(limited.halvings() >= 1 && limited.tokens() < 4096, "{limited:?}");
    assert!(limited.tokens().is_power_of_two(), "{limited:?}");
    let (other, mut optimizer) = updated();
    let undisturbed = update(&other, &mut optimizer, 100, &mut budget(limited.tokens())).unwrap();
    assert_eq!(report, undisturbed);
    assert!(weights(&policy) == weights(&other), "not the same bits");
}

#[test]
fn an_attempt_that_does_not_fit_alone_is_an_error_and_changes_nothing() {
    if std::env::var_os(CHILD).is_none() {
        return alone("an_attempt_that_does_not_fit_alone_is_an_error_and_changes_nothing");
    }
    let (policy, mut optimizer) = updated();
    let before = weights(&policy);
    limit_to(8);
    let TooLarge { tokens, exhausted } =
        update(&policy, &mut optimizer, 4000, &mut budget(4096)).unwrap_err();
    assert_eq!(tokens, 4020);
    assert!(exhausted.message.contains("memory"), "{exhausted}");
    assert!(weights(&policy) == before, "weights have changed");
    let zero = |(_, weight): (String, &Tensor)| weight.grad().abs().max().double_value(&[]) == 0.0;
    assert!(policy.weights.trained().all(zero), "a part of a gradient is left");
}

#[test]
fn what_is_planned_of_weights_is_what_a_policy_has() {
    let lora =
        LoraConfig { targets: vec!["q_proj".to_owned(), "down_proj".to_owned()], ..LoraConfig::default() };
    for (freeze_embeddings, lora) in [(false, None), (true, None), (false, Some(lora))] {
        let mut policy = tiny_policy(Kind::Float);
        let config = ModelConfig {
            path: "model".into(),
            compute: Kind::Float.into(),
            device: rltrain::policy::DeviceChoice::Cpu,
            fast_matmul: true,
            freeze_embeddings,
            gradient_checkpointing: false,
            lora,
        };
        policy.prepare(&config, 1).unwrap();
        let trained: usize = policy.weights.trained().map(|(_, tensor)| tensor.numel()).sum();
        assert_eq!(policy.architecture.parameters(), policy.weights.parameters());
        assert_eq!(policy.architecture.trained_parameters(Training::of(&config)), trained);
    }
}

/// Keys and values of a prompt that lie in memory of their own: what the cache of a prompt takes and no more.
#[test]
fn what_is_kept_of_a_prompt_keeps_nothing_else_alive() {
    let policy = tiny_policy(Kind::Float);
    let model = tch::no_grad(|| policy.model());
    let tokens = Tensor::from_slice(&[65i64; 30]).unsqueeze(0);
    let positions = Tensor::arange(30, (Kind::Int64, Device::Cpu)).unsqueeze(0);
    let mut attention =
        PrefillAttention { spans: vec![(0, 30)], before: vec![&[]], stored: Default::default(), read: None };
    let _ = tch::no_grad(|| model.hidden(&tokens, &positions, &mut attention));
    let tensors = attention.stored.layers.iter().flat_map(|(key, value)| [key, value]);
    let bytes: usize = tensors
        .map(|tensor| {
            assert!(!tensor.requires_grad());
            // A tensor that is a part of another cannot be given another shape in place without gaps.
            assert_eq!(tensor.stride().iter().copied().max(), Some(storage_stride(tensor)), "{tensor:?}");
            tensor.numel() * 4
        })
        .sum();
    assert_eq!(bytes, 30 * KvCache::bytes_per_token(model.sizes(), model.kind()));
}

/// The largest stride of a tensor `[K, T, D]` without gaps, in whichever order its dimensions lie.
fn storage_stride(tensor: &Tensor) -> i64 {
    let mut dimensions: Vec<(i64, i64)> = tensor.stride().into_iter().zip(tensor.size()).collect();
    dimensions.sort_unstable();
    let mut next = 1;
    for (stride, size) in &dimensions {
        assert_eq!(*stride, next);
        next *= size;
    }
    dimensions.last().unwrap().0
}

#[test]
fn a_pack_says_how_large_it_is() {
    let pack = Pack::new(&[1, 2, 3], [&[4i64, 5][..], &[6]]);
    let size = pack.size();
    assert_eq!((size.tokens, size.predicted, size.keys), (6, 3, 5 + 4));
}
