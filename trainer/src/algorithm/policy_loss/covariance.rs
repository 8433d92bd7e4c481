//! KL-Cov: no clip, and a KL term on the few tokens that would make the entropy collapse.
//!
//! Cui et al. 2025, eq. 12 (arXiv:2505.22617):
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
    let mut loss_n = -inputs.advantages_n * &ratio_n;
    if let Some(marked_n) = inputs.covariant_n {
        let penalty_n = log_ratio_n.abs() * config.covariance_coefficient;
        loss_n += penalty_n.masked_fill(&marked_n.logical_not(), 0.0);
    }
    unbounded(loss_n, ratio_n)
}
