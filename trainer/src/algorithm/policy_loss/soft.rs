//! SAPO: a smooth gate instead of a clip.
//!
//! Gao et al. 2025 (arXiv:2511.20347), as published:
//!
//! ```text
//! L = -A (4 / tau) sigmoid(tau (rho - 1))     tau = soft_clip_positive where A > 0, else soft_clip_negative
//! ```
//!
//! At ratio 1 the gradient is REINFORCE's: the slope of the gate there is 1. It falls on both sides and is never 0, so no
//! token counts as clipped.

use tch::Tensor;

use super::{AlgorithmConfig, PolicyInputs, Surrogate, ratio, unbounded};

pub(super) fn sapo(config: &AlgorithmConfig, inputs: &PolicyInputs<'_>) -> Surrogate {
    let ratio_n = ratio(config, inputs);
    let positive = inputs.advantages_n.gt(0.0);
    let either =
        |yes: f64, no: f64| -> Tensor { (inputs.advantages_n.zeros_like() + no).masked_fill(&positive, yes) };
    let tau_n = either(config.soft_clip_positive, config.soft_clip_negative);
    let gate_n = (&tau_n * (&ratio_n - 1.0)).sigmoid() * 4.0 / tau_n;
    unbounded(-inputs.advantages_n * gate_n, ratio_n)
}
