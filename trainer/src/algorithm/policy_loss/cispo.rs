//! CISPO: every token keeps its gradient, and only the weight of that gradient is bounded.
//!
//! MiniMax-M1, Chen et al. 2025, eq. 4 and 5 (arXiv:2506.13585). Two conventions are published under this name, and both
//! are here:
//!
//! ```text
//! cispo         L = -sg(clip(rho, 1 - low, 1 + high)) A logp     the paper, verl
//! cispo-capped  L = -sg(min(rho, cap)) A logp                    ScaleRL (arXiv:2510.13786), TRL's `epsilon_high`
//! ```
//!
//! `cap` is a ratio, not a distance from 1: 5 there is 4 here in `clip_high`. The paper sets the lower bound so low that
//! it never acts. The ratio may be a sequence's; the logprob is always the token's.

use super::{AlgorithmConfig, PolicyInputs, PolicyLoss, Surrogate, bounded, ratio};

pub(super) fn cispo(config: &AlgorithmConfig, inputs: &PolicyInputs<'_>) -> Surrogate {
    let ratio_n = ratio(config, inputs).detach();
    let (low, high) = match (config.policy_loss, config.ratio_cap) {
        (PolicyLoss::CispoCapped, Some(cap)) => (0.0, cap),
        (PolicyLoss::CispoCapped, None) => (0.0, f64::INFINITY),
        _ => (1.0 - config.clip_low, 1.0 + config.clip_high),
    };
    let loss_n = -ratio_n.clamp(low, high) * inputs.advantages_n * inputs.logprobs_n;
    let (below, above) = (ratio_n.lt(low), ratio_n.gt(high));
    bounded(loss_n, ratio_n, &below, &above)
}
