//! The policy loss of each token: from logprobs and advantages to what is minimised.
//!
//! One loss is a ratio level times a shape. The ratio compares the policy that learns with the one that the logprobs
//! `old_n` are of, token by token or as the geometric mean over a sequence; the shape says how far a token may push:
//!
//! ```text
//! clip           bounded ratio               PPO, DAPO; with ratio = "sequence" GSPO and LUSPO
//! cispo          bounded weight              CISPO as in MiniMax-M1
//! cispo-capped   weight bounded from above   CISPO as in ScaleRL and TRL
//! sapo           soft gate
//! gmpo           bounded geometric mean
//! vespo          smooth weight of a sequence
//! dppo, ipo      bounded difference of probabilities
//! kl-cov         unbounded ratio, a KL term on the tokens of the largest covariance
//! reinforce      no ratio
//! dueling, gap   no ratio, of how far a token is below the likeliest
//! ```
//!
//! All tensors are `[N]`, the trained tokens of whole sequences, f32 or f64, in nats. What is averaged, and over what, is
//! `aggregation.rs`; [`token_loss`](super::token_loss) puts everything together.

mod cispo;
mod clipped;
mod covariance;
mod dppo;
mod dueling;
mod geometric;
mod reinforce;
mod soft;
mod variational;

pub use reinforce::weighted_nll;
use tch::Tensor;

use super::sequence::{Sequences, as_number};
use super::{AlgorithmConfig, PolicyLoss, RatioLevel};

/// Largest log-ratio that is exponentiated: `exp(20)` is about 5e8, far outside any clip range, and finite.
pub(super) const MAX_LOG_RATIO: f64 = 20.0;

/// What a policy loss returns, per token.
pub struct Surrogate {
    /// The loss `[N]`, to be minimised, before any averaging.
    pub loss_n: Tensor,
    /// Importance ratio `[N]`, without gradient; at the level of a sequence, that of the sequence.
    pub ratio_n: Tensor,
    /// 1.0 where the lower bound acted: ratio too small and advantage negative, so that the gradient is cut off. Of the
    /// losses that bound a weight, whatever the advantage: there the gradient is bounded, not cut off.
    pub clipped_low_n: Tensor,
    /// 1.0 where the upper bound acted: ratio too large and advantage positive.
    pub clipped_high_n: Tensor,
}

/// What a policy loss is a function of.
#[derive(Clone, Copy)]
pub(super) struct PolicyInputs<'a> {
    /// Logprobs of the policy that learns, or of losses that [read gaps](PolicyLoss::reads_gaps) how far tokens are below the likeliest
    /// ones; they carry the gradient.
    pub(super) logprobs_n: &'a Tensor,
    /// Logprobs that the ratio compares with.
    pub(super) old_n: &'a Tensor,
    /// Advantages.
    pub(super) advantages_n: &'a Tensor,
    /// Which tokens belong together.
    pub(super) sequences: Sequences<'a>,
    /// Bool marks of [`top_covariance`](super::top_covariance), which `kl-cov` needs; without them no token is marked.
    pub(super) covariant_n: Option<&'a Tensor>,
    /// Logprobs recorded by the rollout engine, if they are not `old_n`: `vespo` puts them into its weight.
    pub(super) sampled_n: Option<&'a Tensor>,
}

/// The policy loss that the recipe chose.
///
/// # Panics
///
/// If the shapes disagree. They come from one packing function, so this is a bug, not bad input.
pub(super) fn policy_loss(config: &AlgorithmConfig, inputs: &PolicyInputs<'_>) -> Surrogate {
    assert_eq!(inputs.logprobs_n.size(), inputs.old_n.size(), "logprobs and old logprobs");
    assert_eq!(inputs.logprobs_n.size(), inputs.advantages_n.size(), "logprobs and advantages");
    match config.policy_loss {
        PolicyLoss::Clip => clipped::clip(config, inputs),
        PolicyLoss::Cispo | PolicyLoss::CispoCapped => cispo::cispo(config, inputs),
        PolicyLoss::Sapo => soft::sapo(config, inputs),
        PolicyLoss::Gmpo => geometric::gmpo(config, inputs),
        PolicyLoss::Vespo => variational::vespo(config, inputs),
        PolicyLoss::Dppo | PolicyLoss::Ipo => dppo::dppo(config, inputs),
        PolicyLoss::KlCov => covariance::kl_cov(config, inputs),
        PolicyLoss::Reinforce => reinforce::reinforce(inputs),
        PolicyLoss::Dueling => dueling::dueling(config, inputs),
        PolicyLoss::Gap => dueling::gap(config, inputs),
    }
}

/// The log-ratio of each token, clamped to ±20: `[N]`, with gradient.
fn log_ratio(inputs: &PolicyInputs<'_>) -> Tensor {
    (inputs.logprobs_n - inputs.old_n).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
}

/// The importance ratio at the recipe's level: `[N]`, with gradient.
///
/// ```text
/// token     exp(logp_t - logp_old_t)
/// sequence  exp(mean over the sequence of (logp_t - logp_old_t))     GSPO, Zheng et al. 2025, eq. 7 (arXiv:2507.18071)
/// sequence-product  exp(sum over the sequence of (logp_t - logp_old_t))
/// ```
///
/// The gradient of a sequence's ratio reaches all its tokens. GSPO-token (eq. 13 there) gives each token its own share
/// instead, which is the same where all tokens of a sequence have one advantage.
pub(super) fn ratio(config: &AlgorithmConfig, inputs: &PolicyInputs<'_>) -> Tensor {
    let log_ratio_n = log_ratio(inputs);
    match config.ratio {
        RatioLevel::Token => log_ratio_n.exp(),
        RatioLevel::Sequence => inputs.sequences.mean_n(&log_ratio_n).exp(),
        RatioLevel::SequenceProduct => {
            inputs.sequences.sum_n(&log_ratio_n).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
        }
    }
}

/// A loss without bounds.
fn unbounded(loss_n: Tensor, ratio_n: Tensor) -> Surrogate {
    let none_n = ratio_n.zeros_like().detach();
    Surrogate { loss_n, clipped_low_n: none_n.copy(), clipped_high_n: none_n, ratio_n: ratio_n.detach() }
}

/// A loss that bounds acted on where these masks hold.
fn bounded(loss_n: Tensor, ratio_n: Tensor, low: &Tensor, high: &Tensor) -> Surrogate {
    Surrogate {
        clipped_low_n: as_number(low, &ratio_n),
        clipped_high_n: as_number(high, &ratio_n),
        loss_n,
        ratio_n: ratio_n.detach(),
    }
}
