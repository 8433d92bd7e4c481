//! GMPO: the geometric mean of a sequence's ratios, each bounded before the mean.
//!
//! Zhao et al. 2025 (arXiv:2507.20673), with the bounds given as distances of the log-ratio from 0:
//! the paper's `(e^-0.4, e^0.4)` is `clip_low = 0.4`, `clip_high = 0.4`.
//!
//! ```text
//! s_t = sgn(A) min(sgn(A) x_t, sgn(A) clip(x_t, -low, high))     x_t = logp_t - logp_old_t
//! L   = -mean(A) exp(mean over the sequence of s_t)              at each of its tokens
//! ```
//!
//! With `sequence-mean-token-mean` the loss of a step is the mean over sequences, as in the paper. verl's also counts
//! sequences without a trained token, as 0.

use super::{AlgorithmConfig, PolicyInputs, Surrogate, bounded, log_ratio};

pub(super) fn gmpo(config: &AlgorithmConfig, inputs: &PolicyInputs<'_>) -> Surrogate {
    let (low, high) = (config.clip_low, config.clip_high);
    let log_ratio_n = log_ratio(inputs);
    let sign_n = inputs.advantages_n.sign();
    let clipped_n = log_ratio_n.clamp(-low, high);
    let pessimistic_n = &sign_n * (&sign_n * &log_ratio_n).minimum(&(&sign_n * clipped_n));
    let mean_n = inputs.sequences.mean_n(&pessimistic_n).exp();
    let advantage_n = inputs.sequences.mean_n(&inputs.advantages_n.detach());
    let below = log_ratio_n.lt(-low).logical_and(&inputs.advantages_n.lt(0.0));
    let above = log_ratio_n.gt(high).logical_and(&inputs.advantages_n.gt(0.0));
    bounded(-advantage_n * mean_n, log_ratio_n.exp(), &below, &above)
}
