//! The policy-gradient objective of one token, as a pure function on tensors.

use tch::{Kind, Tensor};

/// Largest log-ratio that is exponentiated: `exp(20)` is about 5e8, far outside any clip range, and finite.
const MAX_LOG_RATIO: f64 = 20.0;

/// What [`clipped_surrogate`] returns, per token.
pub struct Surrogate {
    /// The loss `[N]`, to be minimised, before any averaging.
    pub loss_n: Tensor,
    /// Importance ratio `[N]`, without gradient.
    pub ratio_n: Tensor,
    /// 1.0 where the lower bound cut the gradient off (ratio too small, advantage negative).
    pub clipped_low_n: Tensor,
    /// 1.0 where the upper bound cut the gradient off (ratio too large, advantage positive).
    pub clipped_high_n: Tensor,
}

/// The clipped surrogate loss of each token, with separate bounds.
///
/// ```text
/// rho = exp(logp - logp_sampled)
/// L   = -min(rho * A, clip(rho, 1 - low, 1 + high) * A)
/// ```
///
/// Schulman et al. 2017, eq. 7 (arXiv:1707.06347), with the asymmetric bounds ("clip-higher") of DAPO (Yu et al. 2025,
/// section 3.1; arXiv:2503.14476). At ratio 1 the gradient is REINFORCE's: `-A * d logp`.
///
/// All inputs are `[N]`, one entry per trained token, f32 or f64: `logprobs_n` carries the gradient, `sampled_n` are
/// the logprobs recorded at sampling (nats), `advantages_n` is each token's sequence's advantage. The log-ratio is
/// clamped to ±20 before `exp`, so that no input gives an infinity.
///
/// # Panics
///
/// If the shapes disagree. They come from one packing function, so this is a bug, not bad input.
pub fn clipped_surrogate(
    logprobs_n: &Tensor,
    sampled_n: &Tensor,
    advantages_n: &Tensor,
    clip_low: f64,
    clip_high: f64,
) -> Surrogate {
    assert_eq!(logprobs_n.size(), sampled_n.size(), "logprobs and sampled logprobs");
    assert_eq!(logprobs_n.size(), advantages_n.size(), "logprobs and advantages");
    let ratio = (logprobs_n - sampled_n).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp();
    let free = &ratio * advantages_n;
    let clipped = ratio.clamp(1.0 - clip_low, 1.0 + clip_high) * advantages_n;
    let ratio_n = ratio.detach();
    let as_number = |mask: Tensor| mask.to_kind(Kind::Float);
    Surrogate {
        loss_n: -free.minimum(&clipped),
        clipped_low_n: as_number(ratio_n.lt(1.0 - clip_low).logical_and(&advantages_n.lt(0.0))),
        clipped_high_n: as_number(ratio_n.gt(1.0 + clip_high).logical_and(&advantages_n.gt(0.0))),
        ratio_n,
    }
}
