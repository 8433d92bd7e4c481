//! VESPO: the weight of a sequence is a smooth function of its whole importance ratio, with a maximum.
//!
//! Shen et al. 2026, eq. 20 (arXiv:2602.10693), as TRL has it:
//!
//! ```text
//! W   = prod over the sequence of exp(logp_t - logp_old_t), times the product of the rollout correction's ratios if known
//! phi = exp(lambda + k log W - lambda W)        (k, lambda) by the sign of A, at W = 1 phi is 1
//! L   = -sg(phi) A logp
//! ```
//!
//! Because the whole ratio is in the weight, the rollout-to-trainer correction does not multiply this loss again.

use tch::Tensor;

use super::{AlgorithmConfig, MAX_LOG_RATIO, PolicyInputs, Surrogate, log_ratio, unbounded};

/// Smallest ratio of a sequence that is told from smaller ones.
const LEAST_RATIO: f64 = 1e-8;

pub(super) fn vespo(config: &AlgorithmConfig, inputs: &PolicyInputs<'_>) -> Surrogate {
    let moved_n = log_ratio(inputs).detach();
    let log_ratio_n = match inputs.sampled_n {
        Some(sampled_n) => moved_n + (inputs.old_n - sampled_n).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO),
        None => moved_n,
    };
    let log_weight_n = inputs.sequences.sum_n(&log_ratio_n).clamp(LEAST_RATIO.ln(), MAX_LOG_RATIO);
    let weight_n = log_weight_n.exp();
    let phi =
        |power: f64, decay: f64| -> Tensor { (&log_weight_n * power - &weight_n * decay + decay).exp() };
    let good_n = phi(config.vespo_power_positive, config.vespo_decay_positive);
    let bad_n = phi(config.vespo_power_negative, config.vespo_decay_negative);
    let phi_n = good_n.where_self(&inputs.advantages_n.ge(0.0), &bad_n);
    unbounded(-phi_n * inputs.advantages_n * inputs.logprobs_n, weight_n)
}
