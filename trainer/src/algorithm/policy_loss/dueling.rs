//! Losses of how far a token is below the likeliest one, `g = logp(a) - max logp`, 0 or less: the advantage of a dueling Q-function.

use super::{AlgorithmConfig, PolicyInputs, PolicyLoss, Surrogate, unbounded};

/// B-Coder's temporal difference with the value held (Yu et al. 2024, arXiv:2310.03173): `L = (alpha g - A)^2`, with `A` what the target
/// is above the value.
pub(super) fn dueling(config: &AlgorithmConfig, inputs: &PolicyInputs<'_>) -> Surrogate {
    let gap_n = inputs.logprobs_n * config.dueling_alpha;
    unbounded((gap_n - inputs.advantages_n).square(), inputs.old_n.ones_like())
}

/// `L = -A alpha g`: with a positive advantage a token wants to be the likeliest, and costs nothing when it is.
pub(super) fn gap(config: &AlgorithmConfig, inputs: &PolicyInputs<'_>) -> Surrogate {
    let gap_n = inputs.logprobs_n * config.dueling_alpha;
    unbounded(-(gap_n * inputs.advantages_n), inputs.old_n.ones_like())
}

impl PolicyLoss {
    /// Whether it is a function of how far tokens are below the likeliest ones, in the place of their logprobs.
    pub fn reads_gaps(self) -> bool {
        matches!(self, Self::Dueling | Self::Gap)
    }
}
