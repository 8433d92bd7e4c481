//! Online DPO: of two attempts at one task, the better one should gain on the reference more than the worse one.
//!
//! Guo et al. 2024 (arXiv:2402.04792), after DPO, Rafailov et al. 2023, eq. 7 (arXiv:2305.18290). With the log
//! ratios of whole sequences, `h = sum over the sequence of (logp_t - logp_reference_t)`:
//!
//! ```text
//! z = beta (h_better - h_worse)
//! L = -log sigmoid(z)
//! ```
//!
//! The two attempts of a pair need not be in one micro-batch. The gradient of `L` is that of REINFORCE with sums over
//! sequences and the advantages `+w` for the better and `-w` for the worse attempt, `w = beta sigmoid(-z)`: see
//! [`preference_weight`], which takes logprobs without gradient and is called once per optimizer step.

use tch::Tensor;

/// The loss of each pair, `[P]`, from the log ratios `[P]` of its attempts, which carry the gradient.
pub fn preference_loss(better_p: &Tensor, worse_p: &Tensor, beta: f64) -> Tensor {
    -((better_p - worse_p) * beta).log_sigmoid()
}

/// The size of the advantages of a pair: `beta sigmoid(-beta (better - worse))`, from 0 to `beta`.
pub fn preference_weight(better: f64, worse: f64, beta: f64) -> f64 {
    beta / (1.0 + (beta * (better - worse)).exp())
}
