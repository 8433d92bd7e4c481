//! PPO's clipped surrogate, with separate bounds.
//!
//! Schulman et al. 2017, eq. 7 (arXiv:1707.06347), with these differences from the paper: the upper bound is apart from
//! the lower ("clip-higher", DAPO, Yu et al. 2025, section 3.1; arXiv:2503.14476); the ratio may be a sequence's (GSPO);
//! two more bounds may limit what a bad attempt with a large ratio does, which PPO leaves open: `dual_clip` (Ye et al.
//! 2020; arXiv:1912.09729) bounds the loss, `ratio_cap` (INTELLECT-2; arXiv:2505.07291) the ratio.
//! verl has the dual clip always on, with 3; here both are off by default.

use tch::Tensor;

use super::{AlgorithmConfig, MAX_LOG_RATIO, PolicyInputs, Surrogate, bounded, ratio};

/// The bounds; each is dimensionless.
#[derive(Clone, Copy, Debug)]
struct Clip {
    /// How far the ratio may fall below 1.
    low: f64,
    /// How far it may rise above 1.
    high: f64,
    /// Largest loss of a bad attempt, as a multiple of its advantage's size; above 1.
    dual: Option<f64>,
    /// Largest ratio that counts where the clip does not apply.
    cap: Option<f64>,
}

impl Clip {
    /// These two bounds and no other.
    fn between(low: f64, high: f64) -> Self {
        Self { low, high, dual: None, cap: None }
    }
}

/// The clipped surrogate loss of each token, with the ratio token by token and two bounds.
///
/// ```text
/// rho = exp(logp - logp_old)
/// L   = -min(rho * A, clip(rho, 1 - low, 1 + high) * A)
/// ```
///
/// At ratio 1 the gradient is REINFORCE's: `-A * d logp`.
///
/// All inputs are `[N]`, one entry per trained token, f32 or f64: `logprobs_n` carries the gradient, `old_n` are the
/// logprobs to compare with (nats), `advantages_n` is each token's sequence's advantage. The log-ratio is clamped to ±20
/// before `exp`, so that no input gives an infinity.
///
/// # Panics
///
/// If the shapes disagree. They come from one packing function, so this is a bug, not bad input.
pub fn clipped_surrogate(
    logprobs_n: &Tensor,
    old_n: &Tensor,
    advantages_n: &Tensor,
    clip_low: f64,
    clip_high: f64,
) -> Surrogate {
    assert_eq!(logprobs_n.size(), old_n.size(), "logprobs and old logprobs");
    assert_eq!(logprobs_n.size(), advantages_n.size(), "logprobs and advantages");
    let ratio_n = (logprobs_n - old_n).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp();
    of_ratio(ratio_n, advantages_n, Clip::between(clip_low, clip_high))
}

pub(super) fn clip(config: &AlgorithmConfig, inputs: &PolicyInputs<'_>) -> Surrogate {
    let clip =
        Clip { low: config.clip_low, high: config.clip_high, dual: config.dual_clip, cap: config.ratio_cap };
    of_ratio(ratio(config, inputs), inputs.advantages_n, clip)
}

/// ```text
/// M = -min(min(rho, cap) A, clip(rho, 1 - low, 1 + high) A)
/// L = min(M, -dual A) where A < 0, else M
/// ```
fn of_ratio(ratio_n: Tensor, advantages_n: &Tensor, clip: Clip) -> Surrogate {
    let capped_n = clip.cap.map(|cap| ratio_n.clamp_max(cap));
    let free_n = capped_n.as_ref().unwrap_or(&ratio_n) * advantages_n;
    let clipped_n = ratio_n.clamp(1.0 - clip.low, 1.0 + clip.high) * advantages_n;
    let mut loss_n = -free_n.minimum(&clipped_n);
    if let Some(dual) = clip.dual {
        let most_n = advantages_n * -dual;
        loss_n = loss_n.minimum(&most_n).where_self(&advantages_n.lt(0.0), &loss_n);
    }
    let low = ratio_n.lt(1.0 - clip.low).logical_and(&advantages_n.lt(0.0));
    let high = ratio_n.gt(1.0 + clip.high).logical_and(&advantages_n.gt(0.0));
    bounded(loss_n, ratio_n, &low, &high)
}
