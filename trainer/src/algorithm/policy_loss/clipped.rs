//! PPO's clipped surrogate, with separate bounds.
//!
//! Schulman et al. 2017, eq. 7 (arXiv:1707.06347), with these differences from the paper: the upper bound is apart from
//! the lower ("clip-higher", DAPO, Yu et al. 2025, section 3.1; arXiv:2503.14476); the ratio may be a sequence's (GSPO);
//! two more bounds may limit what a bad attempt with a large ratio does, which PPO leaves open: `dual_clip` (Ye et al.
//! 2020; arXiv:1912.09729) bounds the loss, `ratio_cap` (INTELLECT-2; arXiv:2505.07291) the ratio.
//! verl has the dual clip always on, with 3; here both are off by default.

use super::{AlgorithmConfig, PolicyInputs, Surrogate, bounded, ratio};

/// ```text
/// M = -min(min(rho, ratio_cap) A, clip(rho, 1 - clip_low, 1 + clip_high) A)
/// L = min(M, -dual_clip A) where A < 0, else M
/// ```
///
/// At ratio 1 the gradient is REINFORCE's: `-A * d logp`. A bound that is absent does nothing.
pub(super) fn clip(config: &AlgorithmConfig, inputs: &PolicyInputs<'_>) -> Surrogate {
    let (least, most) = (1.0 - config.clip_low, 1.0 + config.clip_high);
    let (ratio_n, advantages_n) = (ratio(config, inputs), inputs.advantages_n);
    let capped_n = config.ratio_cap.map(|cap| ratio_n.clamp_max(cap));
    let free_n = capped_n.as_ref().unwrap_or(&ratio_n) * advantages_n;
    let clipped_n = ratio_n.clamp(least, most) * advantages_n;
    let (bad, good) = (advantages_n.lt(0.0), advantages_n.gt(0.0));
    let single_n = -free_n.minimum(&clipped_n);
    let loss_n = match config.dual_clip {
        Some(dual) => single_n.minimum(&(advantages_n * -dual)).where_self(&bad, &single_n),
        None => single_n,
    };
    let (low, high) = (ratio_n.lt(least).logical_and(&bad), ratio_n.gt(most).logical_and(&good));
    bounded(loss_n, ratio_n, &low, &high)
}
