//! Rollout and trainer compute the logprobs of the same tokens differently: other kernels, other precision, older weights.
//! What that does to the gradient is corrected here.
//!
//! With `w = exp(logp_old - logp_sampled)`, `logp_old` computed by the trainer with the weights that sampled and
//! `logp_sampled` recorded by the rollout engine, each token's loss is multiplied by:
//!
//! ```text
//! token-tis            clip(w_t, low, high)                          Yao et al. 2025, truncated importance sampling
//! sequence-tis         clip(prod_t w_t, low, high)
//! icepop               w_t where low <= w_t <= high, else 0          Ling team 2025 (arXiv:2510.18855)
//! sequence-mask        prod_t w_t where it is within, else 0         TRL's default, with high = 3
//! geometric-rejection  1 where low <= (prod_t w_t)^(1/T) <= high, else 0
//! ```
//!
//! The bounds are on the ratio itself. In verl (commit b178a3cd) the rejections compare `log(1 / w)` with
//! `[log low, log high]`, so that a recipe's `0.6_1.4` accepts ratios from 0.71 to 1.67. Log-ratios are clamped to ±20
//! before `exp`; OpenRLHF's IcePop multiplies `exp(95)` by 0, which is not a number.

use tch::Tensor;

use super::policy_loss::MAX_LOG_RATIO;
use super::sequence::{Sequences, as_number};
use super::{AlgorithmConfig, CorrectionKind};

/// What [`correction`] returns, per token, all without gradient.
pub struct Correction {
    /// Factor `[N]` of each token's policy loss.
    pub weight_n: Tensor,
    /// The ratio `[N]` that the bounds are compared with, before them; a sequence's at each of its tokens.
    pub ratio_n: Tensor,
    /// 1.0 where a bound changed the weight: truncated or rejected tokens.
    pub bounded_n: Tensor,
}

/// The weights that correct the gradient for the difference between rollout and trainer; `None` if the recipe has no
/// correction.
///
/// `old_n` and `sampled_n` are `[N]`, nats, f32 or f64.
pub fn correction(
    config: &AlgorithmConfig,
    old_n: &Tensor,
    sampled_n: &Tensor,
    sequences: Sequences<'_>,
) -> Option<Correction> {
    let x_n = (old_n.detach() - sampled_n.detach()).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO);
    let (low, high) = (config.correction_low, config.correction_high);
    let log_ratio_n = match config.correction {
        CorrectionKind::None => return None,
        CorrectionKind::TokenTis | CorrectionKind::Icepop => x_n,
        CorrectionKind::SequenceTis | CorrectionKind::SequenceMask => sequences.sum_n(&x_n),
        CorrectionKind::GeometricRejection => sequences.mean_n(&x_n),
    };
    let ratio_n = log_ratio_n.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp();
    let outside = ratio_n.lt(low).logical_or(&ratio_n.gt(high));
    let weight_n = match config.correction {
        CorrectionKind::None | CorrectionKind::TokenTis | CorrectionKind::SequenceTis => {
            ratio_n.clamp(low, high)
        }
        CorrectionKind::Icepop | CorrectionKind::SequenceMask => ratio_n.masked_fill(&outside, 0.0),
        CorrectionKind::GeometricRejection => ratio_n.ones_like().masked_fill(&outside, 0.0),
    };
    Some(Correction { bounded_n: as_number(&outside, &ratio_n), weight_n, ratio_n })
}
