//! One optimizer step from the attempts of a batch.

use tch::{Kind, Tensor};

use super::config::OptimizerConfig;
use super::optimizer::{Optimizer, clip_factor, gradient_norm};
use crate::algorithm::{AlgorithmConfig, Denominators, clipped_surrogate};
use crate::batch::{Batch, Plan, plans};
use crate::policy::{Network, Policy, token_logprobs};

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

/// What an update needs besides data.
pub struct Settings<'a> {
    /// Loss and aggregation.
    pub algorithm: &'a AlgorithmConfig,
    /// The rule and clipping.
    pub optimizer: &'a OptimizerConfig,
    /// This step's learning rate.
    pub learning_rate: f64,
    /// Sampling temperature: logprobs are of the tempered distribution, as recorded.
    pub temperature: f64,
    /// Longest completion that the rollout allows, in tokens.
    pub longest: usize,
}

/// Accumulates the gradient of the sequences `members` of `batch` and applies one optimizer step.
///
/// The denominators of the aggregation are computed here, once, over all of `members`: sequences without a signal count
/// in them although they are not computed (their gradient is exactly zero). So the gradient does not depend on how the
/// step is cut into packs.
pub fn apply(
    policy: &Policy,
    optimizer: &mut Optimizer,
    batch: &Batch,
    members: &[usize],
    settings: &Settings<'_>,
) -> UpdateReport {
    let mut report = UpdateReport::default();
    accumulate(policy, batch, members, settings, &mut report);
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

/// Adds the gradient of the step to the weights' gradients and fills everything in the report but the norm.
pub fn accumulate(
    policy: &Policy,
    batch: &Batch,
    members: &[usize],
    settings: &Settings<'_>,
    report: &mut UpdateReport,
) {
    let weight_n = token_weights(batch, members, settings);
    let model = policy.model();
    let mut sums = Sums([0.0; 6]);
    let with_signal = batch.with_signal();
    let trained: Vec<usize> =
        members.iter().copied().filter(|member| with_signal.binary_search(member).is_ok()).collect();
    for plan in plans(batch, &trained, settings.optimizer.micro_batch_tokens.get()) {
        report.computed_tokens += plan.pack.len();
        report.trained_tokens += plan.place_n.numel();
        backward(&model, batch, &plan, &weight_n, settings, &mut sums);
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

/// The factor of each token's loss, a column of the batch: 0 outside of `members`.
fn token_weights(batch: &Batch, members: &[usize], settings: &Settings<'_>) -> Tensor {
    let lengths = batch.lengths();
    let denominators = Denominators::of(members.iter().map(|member| lengths[*member]), settings.longest);
    let mut factors = vec![0.0; lengths.len()];
    for &member in members {
        factors[member] = denominators.factor(settings.algorithm.aggregation, lengths[member]);
    }
    batch.column(lengths.iter().zip(factors).flat_map(|(length, factor)| std::iter::repeat_n(factor, *length)))
}

/// Adds the gradient of one pack.
///
/// The network's gradient goes through the logprobs of the tokens only, so the graph is cut there: the loss gives the
/// gradient of each logprob, the output layer continues it chunk by chunk, and the rest of the network does as it always
/// does.
fn backward(
    model: &Network,
    batch: &Batch,
    plan: &Plan,
    weight_n: &Tensor,
    settings: &Settings<'_>,
    sums: &mut Sums,
) {
    let hidden_ne = plan.pack.hidden(model);
    let target_n = plan.pack.targets(model.device());
    let forward = token_logprobs::forward(model, &hidden_ne, &target_n, settings.temperature);
    let logprobs_n = forward.logprobs_n.copy().set_requires_grad(true);

    let (sampled_n, advantages_n) = (plan.cut(&batch.sampled_n), plan.cut(&batch.advantages_n));
    let AlgorithmConfig { clip_low, clip_high, .. } = *settings.algorithm;
    let old_n = plan.cut(&batch.old_n);
    let surrogate = clipped_surrogate(&logprobs_n, &old_n, &advantages_n, clip_low, clip_high);
    let loss = (&surrogate.loss_n * &plan.cut(weight_n)).sum(Kind::Float);
    loss.backward();
    let gradient_ne = token_logprobs::backward(
        model,
        &hidden_ne,
        &target_n,
        settings.temperature,
        &forward,
        &logprobs_n.grad(),
        None,
    );
    (hidden_ne * gradient_ne).sum(Kind::Float).backward();

    let difference_n = (&forward.logprobs_n - &sampled_n).abs();
    let totals = [
        loss.detach(),
        forward.entropy_n.sum(Kind::Float),
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
