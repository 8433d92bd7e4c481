//! A pass of a network over a whole batch that teaches it nothing.

use tch::Tensor;

use super::{Batch, plans};
use crate::policy::{Network, token_logprobs};

/// What [`pass`] returns: two columns of the batch, zero outside of the sequences that were asked about, without gradient, in nats.
pub struct Pass {
    /// Logprob of each token.
    pub logprobs_n: Tensor,
    /// Entropy of the distribution that each token was drawn from.
    pub entropy_n: Tensor,
}

/// Logprobs and entropies of the tokens of the sequences `members` of `batch` under `network`, at most `budget` tokens at a time.
pub fn pass(network: &Network, batch: &Batch, members: &[usize], budget: usize, temperature: f64) -> Pass {
    let _no_gradient = tch::no_grad_guard();
    let plans = plans(batch, members, budget);
    let (mut logprobs, mut entropies) = (Vec::new(), Vec::new());
    for plan in &plans {
        let hidden_ne = plan.pack.hidden(network);
        let target_n = plan.pack.targets(network.device());
        let forward = token_logprobs::forward(network, &hidden_ne, &target_n, temperature);
        logprobs.push((plan, forward.logprobs_n));
        entropies.push((plan, forward.entropy_n));
    }
    Pass { logprobs_n: batch.gathered(logprobs), entropy_n: batch.gathered(entropies) }
}
