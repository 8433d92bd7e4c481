//! KL-Cov: no clip, and a KL term on the few tokens that would make the entropy collapse.
//!
//! Cui et al. 2025 (arXiv:2505.22617):
//!
//! ```text
//! L = -A rho                            of most tokens
//! L = -A rho + coefficient |logp - logp_old|    of the marked ones
//! ```
//!
//! The marks are those of [`top_covariance`](crate::algorithm::top_covariance), made once per optimizer step; verl makes
//! them anew for each micro-batch, so that its gradient depends on the cut. The sibling Clip-Cov draws its tokens at
//! random and is left out.

use super::{AlgorithmConfig, PolicyInputs, Surrogate, log_ratio, unbounded};

pub(super) fn kl_cov(config: &AlgorithmConfig, inputs: &PolicyInputs<'_>) -> Surrogate {
    let log_ratio_n = log_ratio(inputs);
    let ratio_n = log_ratio_n.exp();
    let free_n = -inputs.advantages_n * &ratio_n;
    let loss_n = match inputs.covariant_n {
        Some(marked_n) => {
            let penalty_n = log_ratio_n.abs() * config.covariance_coefficient;
            free_n + penalty_n.masked_fill(&marked_n.logical_not(), 0.0)
        }
        None => free_n,
    };
    unbounded(loss_n, ratio_n)
}
