//! How far the policy has moved from a reference, token by token, and what that costs.
//!
//! Estimators after Schulman 2020, "Approximating KL divergence" (joschu.net/blog/kl-approx.html), of
//! `KL(policy || reference)` from tokens that the policy sampled. With `x = logp_reference - logp`:
//!
//! ```text
//! k1   -x              unbiased; as a loss its gradient has mean zero and teaches nothing
//! abs  |x|
//! k2   x^2 / 2         its gradient is that of the true KL, on tokens of the policy
//! k3   exp(x) - x - 1  unbiased and never negative; its gradient is that of KL(reference || policy)
//! ```
//!
//! Differences from other trainers: `x` is clamped to ±20 before `exp` and k3 is cut off at 10, as in verl (OpenRLHF
//! clamps every estimator to ±10, TRL none). verl's `k3+`, "the value of k3 with the gradient of k2", raises
//! `NotImplementedError` at commit b178a3cd; here any value goes with any gradient.

use tch::Tensor;

use super::policy_loss::MAX_LOG_RATIO;
use super::{AlgorithmConfig, KlControl, KlEstimator, ReferenceKind};

/// Largest k3 that is counted, in nats.
const MOST_K3: f64 = 10.0;

/// Largest relative error that moves an adaptive coefficient (Ziegler et al. 2019, section 2.2; arXiv:1909.08593).
const MOST_ERROR: f64 = 0.2;

/// The divergence of each token from the reference, `[N]`, in nats, with the estimator's own gradient.
///
/// `logprobs_n` carries the gradient, `reference_n` does not. f32 or f64.
pub fn kl(estimator: KlEstimator, logprobs_n: &Tensor, reference_n: &Tensor) -> Tensor {
    let x_n = reference_n - logprobs_n;
    match estimator {
        KlEstimator::K1 => -x_n,
        KlEstimator::Abs => x_n.abs(),
        KlEstimator::K2 => x_n.square() * 0.5,
        KlEstimator::K3 => {
            let x_n = x_n.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO);
            (x_n.exp() - x_n - 1.0).clamp(-MOST_K3, MOST_K3)
        }
    }
}

/// The value of one estimator with the gradient of another: `sg(kl_value) + kl_gradient - sg(kl_gradient)`, `[N]`.
pub fn kl_with_gradient_of(
    value: KlEstimator,
    gradient: KlEstimator,
    logprobs_n: &Tensor,
    reference_n: &Tensor,
) -> Tensor {
    let own_n = kl(value, logprobs_n, reference_n);
    if value == gradient {
        return own_n;
    }
    let other_n = kl(gradient, logprobs_n, reference_n);
    own_n.detach() + &other_n - other_n.detach()
}

/// What the recipe's KL adds to the loss of each token, before its coefficient: `[N]`, in nats.
///
/// With `kl_importance`, each token's divergence is weighted by its importance ratio `ratio_n`, through which the gradient
/// flows: the estimator is then unbiased for tokens of an older policy (DeepSeek-V3.2, arXiv:2512.02556; TRL's
/// `use_bias_correction_kl`).
pub(super) fn kl_loss(
    config: &AlgorithmConfig,
    logprobs_n: &Tensor,
    reference_n: &Tensor,
    ratio_n: Option<&Tensor>,
) -> Tensor {
    let gradient = config.kl_gradient.unwrap_or(config.kl);
    let kl_n = kl_with_gradient_of(config.kl, gradient, logprobs_n, reference_n);
    match ratio_n {
        Some(ratio_n) if config.kl_importance => kl_n * ratio_n,
        _ => kl_n,
    }
}

impl AlgorithmConfig {
    /// The coefficient after a rollout of `sequences` attempts whose mean KL was `kl` nats a token.
    ///
    /// ```text
    /// fixed     coefficient
    /// adaptive  coefficient (1 + clip(kl / target - 1, -0.2, 0.2) sequences / horizon)
    /// ```
    ///
    /// Ziegler et al. 2019, section 2.2 (arXiv:1909.08593). The coefficient is state of the run: a checkpoint holds it.
    pub fn next_kl_coefficient(&self, coefficient: f64, kl: f64, sequences: usize) -> f64 {
        match self.kl_control {
            KlControl::Fixed => coefficient,
            KlControl::Adaptive => {
                let error = (kl / self.kl_target - 1.0).clamp(-MOST_ERROR, MOST_ERROR);
                coefficient * (1.0 + error * sequences as f64 / self.kl_horizon)
            }
        }
    }

    /// What happens to the reference after `step` optimizer steps, counted from 1.
    pub fn reference_update(&self, step: u64) -> ReferenceUpdate {
        let due = step.is_multiple_of(self.reference_every.get());
        match self.reference {
            ReferenceKind::Sync if due => ReferenceUpdate::Copy,
            ReferenceKind::Ema if due => ReferenceUpdate::Blend { decay: self.reference_decay },
            _ => ReferenceUpdate::Keep,
        }
    }
}

/// What happens to the weights of the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ReferenceUpdate {
    /// They stay.
    Keep,
    /// They become the policy's.
    Copy,
    /// `reference = decay * reference + (1 - decay) * policy`.
    Blend {
        /// Share of the old reference that stays.
        decay: f64,
    },
}
