//! Log-probabilities of tokens and their gradient, without ever holding the logits of all of them.
//!
//! Logits are `[N, V]`: for a vocabulary of 50,000 they are larger than everything else in an update together. Here they
//! exist for a few rows at a time, forward and again backward: the second product costs less than moving them through
//! memory, and the peak no longer depends on the number of tokens.

use tch::{Kind, Tensor};

use super::network::Network;

/// Scaled logit of a token that a truncation dropped: its probability is exactly 0, and 0 times it is 0.
const DROPPED: f64 = -1e4;

/// Logits that exist at one time: 4 MB of f32, which stay in a processor's cache from one operation to the next.
const ELEMENTS: i64 = 1 << 20;

/// What [`forward`] returns, per token, f32, without gradient.
pub struct TokenLogprobs {
    /// Log-probability `[N]` of each target, in nats.
    pub logprobs_n: Tensor,
    /// Entropy `[N]` of the distribution that each target was drawn from, in nats.
    pub entropy_n: Tensor,
    /// Logarithm of the softmax's denominator `[N]`.
    pub log_sum_n: Tensor,
}

/// The gradient of a loss by each part of [`TokenLogprobs`], `[N]`, f32; none where the loss does not depend on it.
pub struct Gradients {
    /// By the log-probabilities.
    pub logprobs_n: Tensor,
    /// By the entropies.
    pub entropy_n: Option<Tensor>,
    /// By the logarithms of the denominators.
    pub log_sum_n: Option<Tensor>,
}

/// Log-probabilities of `target_n` (i64) under `softmax(logits(hidden_ne) / temperature)`.
///
/// ```text
/// logprob = z_target - log sum_v exp(z_v)        z = logits / temperature
/// entropy = log sum_v exp(z_v) - sum_v p_v z_v
/// ```
///
/// Where the network truncates, the sums are over what is left, which counts as given: no gradient comes of it.
///
/// `hidden_ne` are the final hidden states `[N, E]` that predict the targets. Nothing here is part of a gradient graph:
/// [`backward`] continues from a gradient of the two results.
pub fn forward(model: &Network, hidden_ne: &Tensor, target_n: &Tensor, temperature: f64) -> TokenLogprobs {
    let _no_gradient = tch::no_grad_guard();
    let (mut logprobs, mut entropy, mut log_sum) = (Vec::new(), Vec::new(), Vec::new());
    for (hidden, target) in chunks(model, &hidden_ne.detach(), target_n) {
        let scaled = scaled(model, model.logits(&hidden), &target, temperature);
        let log_sum_n1 = scaled.logsumexp(-1, true);
        let chosen_n1 = scaled.gather(-1, &target.unsqueeze(-1), false);
        let probability = (&scaled - &log_sum_n1).exp_();
        let mean_n1 = (probability * scaled).sum_dim_intlist(-1, true, Kind::Float);
        logprobs.push((chosen_n1 - &log_sum_n1).squeeze_dim(-1));
        entropy.push((&log_sum_n1 - mean_n1).squeeze_dim(-1));
        log_sum.push(log_sum_n1.squeeze_dim(-1));
    }
    let joined = |parts: Vec<Tensor>| Tensor::cat(&parts, 0);
    TokenLogprobs { logprobs_n: joined(logprobs), entropy_n: joined(entropy), log_sum_n: joined(log_sum) }
}

/// How much each token moves the logits, `[N]`, f32: the squared length of `d logprob / d logits` at temperature 1,
///
/// ```text
/// energy = 1 - 2 p_target + sum_v p_v^2
/// ```
///
/// with the arguments of [`forward()`].
pub fn energy(model: &Network, hidden_ne: &Tensor, target_n: &Tensor, temperature: f64) -> Tensor {
    let _no_gradient = tch::no_grad_guard();
    let of_chunk = |(hidden, target): (Tensor, Tensor)| {
        let mut probability = tempered(model.logits(&hidden), temperature).softmax(-1, Kind::Float);
        let chosen_n = probability.gather(-1, &target.unsqueeze(-1), false).squeeze_dim(-1);
        probability.square_().sum_dim_intlist(-1, false, Kind::Float) - chosen_n * 2.0 + 1.0
    };
    let parts: Vec<Tensor> = chunks(model, &hidden_ne.detach(), target_n).into_iter().map(of_chunk).collect();
    Tensor::cat(&parts, 0)
}

/// Continues a gradient of logprobs, entropy and denominator to the hidden states, and adds the output layer's share to the
/// gradients of its weights.
///
/// ```text
/// d logprob / d z_v = [v = target] - p_v         d entropy / d z_v = -p_v (log p_v + entropy)
/// d log sum / d z_v = p_v
/// ```
///
/// `forward` is what [`forward()`] returned for the same arguments. Returns `dL / d hidden_ne`.
pub fn backward(
    model: &Network,
    hidden_ne: &Tensor,
    target_n: &Tensor,
    temperature: f64,
    forward: &TokenLogprobs,
    by: &Gradients,
) -> Tensor {
    let mut gradients = Vec::new();
    let mut first = 0;
    for (hidden, target) in chunks(model, &hidden_ne.detach(), target_n) {
        let rows = hidden.size()[0];
        let column = |values: &Tensor| values.narrow(0, first, rows).unsqueeze(-1);
        let hidden = hidden.set_requires_grad(true);
        let logits = model.logits(&hidden);
        let gradient = tch::no_grad(|| {
            let scaled = scaled(model, logits.detach(), &target, temperature);
            let log_probability = scaled - column(&forward.log_sum_n);
            let probability = log_probability.exp();
            let logprob_gradient = column(&by.logprobs_n);
            let of_probability = match &by.log_sum_n {
                Some(log_sum_n) => column(log_sum_n) - &logprob_gradient,
                None => -&logprob_gradient,
            };
            let mut gradient = &probability * of_probability;
            if let Some(entropy_n) = &by.entropy_n {
                let inner = log_probability + column(&forward.entropy_n);
                gradient -= inner * probability * column(entropy_n);
            }
            let _ = gradient.scatter_add_(-1, &target.unsqueeze(-1), &logprob_gradient);
            tempered(gradient, temperature)
        });
        model.head_products(|| logits.flatten(0, -1).dot(&gradient.flatten(0, -1)).backward());
        gradients.push(hidden.grad());
        first += rows;
    }
    Tensor::cat(&gradients, 0)
}

/// Rows of logits that exist at one time.
fn chunk_rows(vocabulary: i64) -> i64 {
    (ELEMENTS / vocabulary).max(16)
}

/// Numbers of a tensor of logits that exists at one time, at most.
pub fn chunk_elements(vocabulary: i64) -> i64 {
    chunk_rows(vocabulary) * vocabulary
}

/// Rows of `hidden_ne` and `target_n`, a few at a time; one empty piece if there are none.
fn chunks(model: &Network, hidden_ne: &Tensor, target_n: &Tensor) -> Vec<(Tensor, Tensor)> {
    let rows = chunk_rows(model.sizes().vocab_size);
    hidden_ne.split(rows, 0).into_iter().zip(target_n.split(rows, 0)).collect()
}

/// Logits `[N, V]` at the temperature. Where the network truncates, what sampling would drop is dropped, but never the target: it
/// was drawn, when the weights were others.
fn scaled(model: &Network, logits: Tensor, target_n: &Tensor, temperature: f64) -> Tensor {
    let scaled = tempered(logits, temperature);
    let Some(truncation) = model.truncation() else { return scaled };
    let target_n1 = target_n.unsqueeze(-1);
    let left = truncation.apply(&scaled, &[]);
    left.scatter(-1, &target_n1, &scaled.gather(-1, &target_n1, false)).clamp_min(DROPPED)
}

fn tempered(logits: Tensor, temperature: f64) -> Tensor {
    if temperature == 1.0 { logits } else { logits / temperature }
}
