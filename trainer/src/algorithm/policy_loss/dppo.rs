//! DPPO: a token is left out when its probability, not its ratio, has moved too far.
//!
//! The default loss of prime-rl 0.8 (`trainer/rl/loss.py`), after DPPO with a binary total-variation bound
//! (Qi et al. 2026; arXiv:2602.04879). With `p = exp(logp)`:
//!
//! ```text
//! dppo  drop a token if A > 0 and p - p_old > high, or A <= 0 and p - p_old < -low
//! ipo   drop a token if p - p_old > high or p - p_old < -low
//! L     = -A rho keep + drift (logp - logp_old)^2
//! ```
//!
//! A ratio says little about a rare token: from 0.001 to 0.003 is a ratio of 3 and a change of nothing. The drift term is
//! on every token; `drift = 1e-3` is prime-rl's `kl_tau`, twice the coefficient of a k2 divergence from the old policy.

use super::{AlgorithmConfig, MAX_LOG_RATIO, PolicyInputs, PolicyLoss, Surrogate, bounded, log_ratio};

pub(super) fn dppo(config: &AlgorithmConfig, inputs: &PolicyInputs<'_>) -> Surrogate {
    let log_ratio_n = log_ratio(inputs);
    let ratio_n = log_ratio_n.exp();
    let moved_n = inputs.logprobs_n.detach().clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
        - inputs.old_n.detach().clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp();
    let mut above = moved_n.gt(config.probability_high);
    let mut below = moved_n.lt(-config.probability_low);
    if config.policy_loss == PolicyLoss::Dppo {
        above = above.logical_and(&inputs.advantages_n.gt(0.0));
        below = below.logical_and(&inputs.advantages_n.le(0.0));
    }
    let free_n = -inputs.advantages_n * &ratio_n;
    let kept_n = free_n.masked_fill(&above.logical_or(&below), 0.0);
    bounded(kept_n + log_ratio_n.square() * config.drift_coefficient, ratio_n, &below, &above)
}
