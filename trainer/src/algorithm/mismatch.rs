//! How far the trainer's probabilities are from those that the rollout sampled with: metrics of a step.

use tch::{Kind, Tensor};

use super::policy_loss::MAX_LOG_RATIO;
use super::sequence::Sequences;

/// Distances between trainer and rollout, over the trained tokens of a step. All are 0, and the ratio 1, where both
/// compute the same.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mismatch {
    /// Mean of `logp_sampled - logp`, in nats a token: k1 of `KL(rollout || trainer)`.
    pub kl: f64,
    /// Mean of `exp(x) - x - 1`, in nats a token: k3 of the same, never negative.
    pub k3: f64,
    /// Mean over sequences of the trainer's perplexity over the rollout's.
    pub perplexity_ratio: f64,
    /// Mean of `exp(2 x) - 1`: the chi-square divergence of tokens. An estimate by importance weights has about
    /// `1 + chi2` times the variance.
    pub chi2_token: f64,
    /// The same of whole sequences, whose `x` is the sum over their tokens.
    pub chi2_sequence: f64,
}

/// The distances of a step, with `x = logp - logp_sampled`: `old_n` by the trainer, `sampled_n` by the rollout, both
/// `[N]`, in nats. Reads the device once. `None` if there are no tokens.
///
/// The metrics `rollout_corr/*` of verl, which adds 1e-8 to what it divides by; `x` is clamped to ±20 before `exp`.
pub fn mismatch(old_n: &Tensor, sampled_n: &Tensor, sequences: Sequences<'_>) -> Option<Mismatch> {
    if old_n.numel() == 0 {
        return None;
    }
    let bounded = |x: Tensor| x.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO);
    let x_n = bounded(old_n.detach() - sampled_n.detach()).to_kind(Kind::Double);
    let mean = |x: Tensor| x.mean(Kind::Double);
    let total_s = sequences.total_s(&x_n);
    let mean_s = &total_s / sequences.total_s(&x_n.ones_like()).clamp_min(1.0);
    let numbers = Tensor::stack(
        &[
            mean(-&x_n),
            mean(x_n.exp() - &x_n - 1.0),
            mean((-mean_s).exp()),
            mean((&x_n * 2.0).exp() - 1.0),
            mean((bounded(total_s) * 2.0).exp() - 1.0),
        ],
        0,
    );
    let numbers = Vec::<f64>::try_from(numbers).expect("means are a vector of f64");
    let [kl, k3, perplexity_ratio, chi2_token, chi2_sequence] = numbers[..] else {
        unreachable!("five means were stacked")
    };
    Some(Mismatch { kl, k3, perplexity_ratio, chi2_token, chi2_sequence })
}
