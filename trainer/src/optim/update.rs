//! One optimizer step from one step's attempts.

use tch::{Kind, Tensor};

use super::adamw::{AdamW, clip_factor, gradient_norm};
use super::config::OptimizerConfig;
use crate::algorithm::{AlgorithmConfig, Denominators, clipped_surrogate};
use crate::policy::{Llama, Pack, Policy, logprobs_and_entropy};
use crate::rollout::{Completion, Group};

/// What one update did, for the metrics. Shares and means are over the trained tokens.
#[derive(Clone, Debug, Default)]
pub struct UpdateReport {
    /// The loss, over the global denominator.
    pub loss: f64,
    /// L2 norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Whether the gradient was not finite and the step was skipped.
    pub skipped: bool,
    /// Tokens that a gradient was computed for: those of groups with a signal.
    pub trained_tokens: usize,
    /// Tokens that went through the network, prompts included, packed.
    pub computed_tokens: usize,
    /// Mean entropy of the next-token distribution, in nats.
    pub entropy: f64,
    /// Share of tokens whose gradient the lower bound cut off.
    pub clip_fraction_low: f64,
    /// Share of tokens whose gradient the upper bound cut off.
    pub clip_fraction_high: f64,
    /// Mean importance ratio.
    pub ratio_mean: f64,
    /// Mean of `|logprob in the update - logprob at sampling|`, in nats: rollout against trainer.
    pub logprob_difference: f64,
}

/// Adds up to `[loss, entropy, clipped low, clipped high, ratio, |log-ratio|]` over tokens, f64.
struct Sums([f64; 6]);

/// Accumulates the gradient of every group with a signal and applies one optimizer step.
///
/// `advantages` has one entry per completion of each group. The denominators of the aggregation are computed here,
/// once, over the whole step: groups without a signal count in them although they are not computed (their gradient is
/// exactly zero). So the gradient does not depend on how the step is cut into packs.
pub fn apply(
    policy: &Policy,
    optimizer: &mut AdamW,
    groups: &[Group],
    advantages: &[Vec<f64>],
    settings: &Settings<'_>,
) -> UpdateReport {
    let mut report = UpdateReport::default();
    accumulate(policy, groups, advantages, settings, &mut report);
    if report.trained_tokens == 0 {
        return report;
    }
    report.gradient_norm = gradient_norm(&policy.weights);
    report.skipped = !report.gradient_norm.is_finite();
    if report.skipped {
        zero_gradients(policy);
    } else {
        let factor = clip_factor(report.gradient_norm, settings.optimizer.max_gradient_norm);
        optimizer.step(&policy.weights, settings.optimizer, settings.learning_rate, factor);
    }
    report
}

/// What an update needs besides data.
pub struct Settings<'a> {
    /// Loss and aggregation.
    pub algorithm: &'a AlgorithmConfig,
    /// AdamW and clipping.
    pub optimizer: &'a OptimizerConfig,
    /// This step's learning rate.
    pub learning_rate: f64,
    /// Sampling temperature: logprobs are of the tempered distribution, as recorded.
    pub temperature: f64,
    /// Longest completion that the rollout allows, in tokens.
    pub longest: usize,
}

/// Adds the gradient of the step to the weights' gradients and fills everything in the report but the norm.
pub fn accumulate(
    policy: &Policy,
    groups: &[Group],
    advantages: &[Vec<f64>],
    settings: &Settings<'_>,
    report: &mut UpdateReport,
) {
    let lengths =
        groups.iter().flat_map(|group| &group.completions).map(|completion| completion.tokens.len());
    let denominators = Denominators::of(lengths, settings.longest);
    let weight_of = |length| denominators.factor(settings.algorithm.aggregation, length);
    let model = policy.model();
    let mut sums = Sums([0.0; 6]);
    let budget = settings.optimizer.micro_batch_tokens.get();
    for parts in packs(parts(groups, advantages, budget), budget) {
        let mut pack = Pack::default();
        for part in &parts {
            pack.add(part.prompt, part.trained.iter().map(|(completion, _)| &completion.tokens[..]));
        }
        let trained: Vec<_> = parts.into_iter().flat_map(|part| part.trained).collect();
        report.computed_tokens += pack.len();
        report.trained_tokens += trained.iter().map(|(completion, _)| completion.tokens.len()).sum::<usize>();
        backward(&model, &pack, &trained, &weight_of, settings, &mut sums);
    }
    let tokens = report.trained_tokens.max(1) as f64;
    let [loss, entropy, low, high, ratio, difference] = sums.0;
    report.loss = loss;
    report.entropy = entropy / tokens;
    report.clip_fraction_low = low / tokens;
    report.clip_fraction_high = high / tokens;
    report.ratio_mean = ratio / tokens;
    report.logprob_difference = difference / tokens;
}

/// A completion that a gradient is computed for, with its advantage.
type Trained<'a> = (&'a Completion, f64);

/// Completions of one prompt that go through the network together.
struct Part<'a> {
    prompt: &'a [i64],
    trained: Vec<Trained<'a>>,
    /// Tokens of the prompt and the completions.
    tokens: usize,
}

/// Cuts every group so that prompt plus completions stay within `budget` tokens where possible; at least one completion
/// each. Completions without an advantage are left out: their gradient is exactly zero.
fn parts<'a>(groups: &'a [Group], advantages: &[Vec<f64>], budget: usize) -> Vec<Part<'a>> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    for (group, advantages) in groups.iter().zip(advantages) {
        let mut open = false;
        for (completion, advantage) in group.completions.iter().zip(advantages) {
            if *advantage == 0.0 {
                continue;
            }
            let tokens = completion.tokens.len();
            match parts.last_mut() {
                Some(part) if open && part.tokens + tokens <= budget => {
                    part.trained.push((completion, *advantage));
                    part.tokens += tokens;
                }
                _ => parts.push(Part {
                    prompt: &group.prompt,
                    trained: vec![(completion, *advantage)],
                    tokens: group.prompt.len() + tokens,
                }),
            }
            open = true;
        }
    }
    parts
}

/// Puts neighbouring parts together while they stay within `budget` tokens: the fewer packs, the fewer passes over the
/// weights and their gradients.
fn packs(parts: Vec<Part<'_>>, budget: usize) -> Vec<Vec<Part<'_>>> {
    let (mut packs, mut tokens): (Vec<Vec<Part<'_>>>, _) = (Vec::new(), 0);
    for part in parts {
        match packs.last_mut() {
            Some(pack) if tokens + part.tokens <= budget => {
                tokens += part.tokens;
                pack.push(part);
            }
            _ => {
                tokens = part.tokens;
                packs.push(vec![part]);
            }
        }
    }
    packs
}

fn backward(
    model: &Llama,
    pack: &Pack,
    trained: &[Trained<'_>],
    weight_of: &impl Fn(usize) -> f64,
    settings: &Settings<'_>,
    sums: &mut Sums,
) {
    let device = model.device();
    let per_token = |value: &dyn Fn(&Completion, f64) -> f64| {
        let values: Vec<f32> = trained
            .iter()
            .flat_map(|(completion, advantage)| {
                std::iter::repeat_n(value(completion, *advantage) as f32, completion.tokens.len())
            })
            .collect();
        Tensor::from_slice(&values).to_device(device)
    };
    let advantages_n = per_token(&|_, advantage| advantage);
    let weight_n = per_token(&|completion, _| weight_of(completion.tokens.len()));
    let sampled: Vec<f32> =
        trained.iter().flat_map(|(completion, _)| completion.logprobs.iter().copied()).collect();
    let sampled_n = Tensor::from_slice(&sampled).to_device(device);

    let (logprobs_n, entropy_n) =
        logprobs_and_entropy(&pack.logits(model), &pack.targets(device), settings.temperature);
    let AlgorithmConfig { clip_low, clip_high, .. } = *settings.algorithm;
    let surrogate = clipped_surrogate(&logprobs_n, &sampled_n, &advantages_n, clip_low, clip_high);
    let loss = (&surrogate.loss_n * &weight_n).sum(Kind::Float);
    loss.backward();

    let difference_n = (logprobs_n.detach() - &sampled_n).abs();
    let totals = [
        loss.detach(),
        entropy_n.sum(Kind::Float),
        surrogate.clipped_low_n.sum(Kind::Float),
        surrogate.clipped_high_n.sum(Kind::Float),
        surrogate.ratio_n.sum(Kind::Float),
        difference_n.sum(Kind::Float),
    ];
    // One transfer for all sums of the pack.
    let totals = Vec::<f32>::try_from(Tensor::stack(&totals, 0)).expect("sums are a vector of f32");
    for (sum, total) in sums.0.iter_mut().zip(totals) {
        *sum += f64::from(total);
    }
}

fn zero_gradients(policy: &Policy) {
    for (_, weight) in policy.weights.iter() {
        let mut gradient = weight.grad();
        if gradient.defined() {
            let _ = gradient.zero_();
        }
    }
}
