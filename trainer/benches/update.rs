//! A GRPO update beside TRL's, on the same weights, tokens, threads and dtype. `make bench-update` runs it.
//!
//! 64 completions of 128 tokens, eight for each of eight prompts of 64 tokens: the reference's logprobs, forward, backward,
//! clipping and AdamW, with a KL term. All sides take turns for several rounds, and medians are printed. The limit is what the
//! products alone would take at the speed of large square ones, measured in the same rounds, each prompt computed once.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod support;

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

use rltrain::algorithm::AlgorithmConfig;
use rltrain::batch::Batch;
use rltrain::critic::CriticConfig;
use rltrain::optim::{self, Optimizer, OptimizerConfig, OptimizerKind, Settings};
use rltrain::policy::{Compute, Policy};
use rltrain::ranks::ALONE;
use rltrain::reference::Reference;
use rltrain::rng::{Stream, uniform};
use rltrain::rollout::{Completion, Finish, Group};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use support::models::{compute, load, models, rounds};
use support::peer::{Peer, Setting};
use support::{Cost, Failure, THREADS, machine, measure, median, root};

/// Prompts, completions of each, and their lengths in tokens.
const PROMPTS: usize = 8;
const SAMPLES: usize = 8;
const PROMPT_TOKENS: usize = 64;
const NEW_TOKENS: usize = 128;

/// What a nat of divergence from the reference costs.
const KL: f64 = 0.04;

/// Rounds of each side; `RLTRAIN_BENCH_ROUNDS` asks for another number.
const ROUNDS: usize = 3;

fn main() -> Result<(), Failure> {
    rltrain::cli::startup::settle();
    tch::set_num_threads(THREADS);
    let (compute, rounds) = (compute(), rounds(ROUNDS)?);
    println!("{}", machine());
    println!(
        "{PROMPTS} prompts of {PROMPT_TOKENS} tokens, {SAMPLES} completions of {NEW_TOKENS} each, {THREADS} threads, \
         {rounds} rounds in turns, medians"
    );
    println!(
        "| model | dtype | ours wall / cpu s | stock wall / cpu s | same MKL path wall / cpu s | to stock | to same path | \
         limit s | of the limit | peak MiB, ours | peak MiB, stock | ours to stock |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (name, folder) in models(&root()) {
        report(&name, &folder, compute, rounds)?;
    }
    println!("load afterwards: {}", machine());
    Ok(())
}

fn report(name: &str, folder: &Path, compute: Compute, rounds: usize) -> Result<(), Failure> {
    let mut ours = Ours::new(folder, compute)?;
    let groups = groups(ours.policy.architecture.sizes().vocab_size);
    let advantages: Vec<f64> =
        (0..PROMPTS * SAMPLES).map(|row| if row % SAMPLES < SAMPLES / 2 { 1.0 } else { -1.0 }).collect();
    let rows = |of: fn(&Group, &Completion) -> Vec<i64>| -> Vec<Vec<i64>> {
        groups
            .iter()
            .flat_map(|group| group.completions.iter().map(move |completion| of(group, completion)))
            .collect()
    };
    let asked = json!({
        "prompts": rows(|group, _| group.prompt.clone()),
        "completions": rows(|_, completion| completion.tokens.clone()),
        "advantages": advantages,
    });
    let dtype = if ours.policy.compute == Kind::BFloat16 { "bf16" } else { "f32" };
    // As many rows as the peer is fastest with: fewer of the large models.
    let at_once = if matches!(name, "1M" | "10M") { "64" } else { "16" };
    let path = folder.to_string_lossy();
    let mut peers = Vec::new();
    if std::env::var_os("RLTRAIN_BENCH_ALONE").is_none() {
        for setting in Setting::ALL {
            let arguments = [&path, dtype, &THREADS.to_string(), at_once];
            peers.push(Peer::start("bench_update.py", &arguments, setting)?);
        }
    }
    let (mut own, mut limits, mut peak) = (Vec::new(), Vec::new(), 0.0);
    let mut theirs = vec![Vec::new(); peers.len()];
    // The first round warms up.
    for round in 0..=rounds {
        let (report, cost) = measure(|| Ok(ours.update(&groups, &advantages)))?;
        if report.skipped > 0 || report.trained_tokens != PROMPTS * SAMPLES * NEW_TOKENS {
            return Err(format!("the update was not one: {report:?}").into());
        }
        let limit = ours.operations() / product_speed(ours.policy.compute);
        for (peer, costs) in peers.iter_mut().zip(&mut theirs) {
            let reply = peer.ask(&asked)?;
            let number = |key: &str| reply[key].as_f64().ok_or_else(|| format!("the peer said `{reply}`"));
            if round > 0 {
                costs.push((Cost { wall: number("wall")?, cpu: number("cpu")? }, number("peak")?));
            }
        }
        if round > 0 {
            own.push(cost);
            limits.push(limit);
            peak = peak_memory()?;
        }
    }
    let wall = median(own.iter().map(|cost| cost.wall));
    let their_wall = |costs: &[(Cost, f64)]| median(costs.iter().map(|(cost, _)| cost.wall));
    let shown: Vec<String> = theirs
        .iter()
        .map(|costs| {
            format!("{:.2} / {:.2}", their_wall(costs), median(costs.iter().map(|(cost, _)| cost.cpu)))
        })
        .collect();
    let ratios: Vec<String> =
        theirs.iter().map(|costs| format!("{:.2}x", their_wall(costs) / wall)).collect();
    let their_peak = theirs.first().map_or(f64::NAN, |costs| median(costs.iter().map(|(_, peak)| *peak)));
    let limit = median(limits.iter().copied());
    println!(
        "| {name} | {dtype} | {wall:.2} / {:.2} | {} | {} | {limit:.2} | {:.0} % | {peak:.0} | {their_peak:.0} | {:.0} % |",
        median(own.iter().map(|cost| cost.cpu)),
        shown.join(" | "),
        ratios.join(" | "),
        100.0 * limit / wall,
        100.0 * peak / their_peak,
    );
    Ok(())
}

/// Our side: a policy in training.
struct Ours {
    policy: Policy,
    reference: Reference,
    optimizer: Optimizer,
    algorithm: AlgorithmConfig,
    config: OptimizerConfig,
    critic: CriticConfig,
}

impl Ours {
    fn new(folder: &Path, compute: Compute) -> Result<Ours, Failure> {
        let policy = load(folder, compute)?;
        Ok(Ours {
            reference: Reference::load(folder, &policy)?,
            optimizer: Optimizer::new(OptimizerKind::default(), &policy.weights),
            algorithm: AlgorithmConfig { kl_coefficient: KL, ..AlgorithmConfig::default() },
            config: OptimizerConfig {
                micro_batch_tokens: NonZeroUsize::new(4096).ok_or("4096 is not zero")?,
                ..OptimizerConfig::default()
            },
            critic: CriticConfig::default(),
            policy,
        })
    }

    /// The whole update, from tokens on.
    fn update(&mut self, groups: &[Group], advantages: &[f64]) -> optim::UpdateReport {
        let mut batch = Batch::new(groups, Device::Cpu).with_advantages(advantages.iter().copied());
        let budget = self.config.micro_batch_tokens.get();
        batch.reference_n =
            Some(self.reference.logprobs(&self.policy, &batch, &batch.members(), budget, 1.0));
        let settings = Settings {
            algorithm: &self.algorithm,
            optimizer: &self.config,
            critic: &self.critic,
            learning_rate: Some(self.config.learning_rate),
            critic_learning_rate: 0.0,
            temperature: 1.0,
            longest: NEW_TOKENS,
            kl_coefficient: KL,
            references: None,
            ranks: &ALONE,
        };
        optim::apply(&self.policy, &mut self.optimizer, None, &batch, &batch.members(), &settings)
    }

    /// Multiplications and additions of the matrix products: two for each weight and token forward, in the reference and the
    /// policy, and four backward. Prompts are computed once each, the output layer for the completions' tokens only.
    /// Attention is left out.
    fn operations(&self) -> f64 {
        let sizes = self.policy.architecture.sizes();
        let layers: usize = self
            .policy
            .weights
            .iter()
            .filter(|(name, weight)| name.starts_with("model.layers.") && weight.dim() == 2)
            .map(|(_, weight)| weight.numel())
            .sum();
        let head = (sizes.vocab_size * sizes.hidden_size) as f64;
        let completed = (PROMPTS * SAMPLES * NEW_TOKENS) as f64;
        let positions = completed + (PROMPTS * PROMPT_TOKENS) as f64;
        8.0 * (layers as f64 * positions + head * completed)
    }
}

/// Operations per second of square products of 2,048.
fn product_speed(kind: Kind) -> f64 {
    const SIDE: i64 = 2048;
    let square = || Tensor::randn([SIDE, SIDE], (Kind::Float, Device::Cpu)).to_kind(kind);
    let (a, b) = (square(), square());
    let best = (0..5)
        .map(|_| {
            let begun = Instant::now();
            let _ = a.matmul(&b);
            begun.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    2.0 * (SIDE as f64).powi(3) / best
}

/// The largest memory of this process so far, in MiB. Models are measured from the smallest on.
fn peak_memory() -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

/// Groups of arbitrary tokens, sampled by the policy as it is about: the vocabulary is nearly uniform to a random model.
fn groups(vocabulary: i64) -> Vec<Group> {
    let token = |what: u64, row: usize, place: usize| {
        (uniform(0, Stream::TaskOrder, &[what, row as u64, place as u64]) * vocabulary as f64) as i64
    };
    let logprob = -(vocabulary as f32).ln();
    (0..PROMPTS)
        .map(|task| Group {
            task,
            prompt: (0..PROMPT_TOKENS).map(|place| token(0, task, place)).collect(),
            completions: (0..SAMPLES)
                .map(|sample| Completion {
                    request: task,
                    sample,
                    tokens: (0..NEW_TOKENS).map(|place| token(1, task * SAMPLES + sample, place)).collect(),
                    logprobs: vec![logprob; NEW_TOKENS],
                    finish: Finish::Length,
                    ..Completion::default()
                })
                .collect(),
        })
        .collect()
}
