//! Losses without a ratio.

use tch::Tensor;

use super::{PolicyInputs, Surrogate, log_ratio, unbounded};

/// REINFORCE, Williams 1992: `L = -A logp`. The ratio is reported and has no part in the loss.
///
/// It follows the true gradient only for tokens of the policy that learns; with several updates per rollout, or another
/// engine's tokens, the rollout-to-trainer correction is what makes up for that. verl calls it `gpg`.
pub(super) fn reinforce(inputs: &PolicyInputs<'_>) -> Surrogate {
    unbounded(-inputs.advantages_n * inputs.logprobs_n, log_ratio(inputs).exp())
}

/// CodeRL's actor loss of each token: `L = -q_t delta logp_t`, `[N]`.
///
/// Le et al. 2022 (arXiv:2207.01780): `advantages_n` is the attempt's reward minus that of the greedy attempt,
/// `credit_n` the critic's probability of the outcome that was observed, at each token, from 0 to 1, without gradient. A
/// credit of 1 everywhere is REINFORCE with a greedy baseline. The paper averages over the tokens of a sequence.
pub fn weighted_nll(logprobs_n: &Tensor, advantages_n: &Tensor, credit_n: &Tensor) -> Tensor {
    -(credit_n.detach() * advantages_n) * logprobs_n
}
