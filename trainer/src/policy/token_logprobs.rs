//! Log-probabilities of tokens and their gradient, without ever holding the logits of all of them.
//!
//! Logits are `[N, V]`: for a vocabulary of 50,000 they are larger than everything else in an update together. Here they
//! exist for a few rows at a time, forward and again backward: the second product costs less than moving them through
//! memory, and the peak no longer depends on the number of tokens.

use std::ops::Range;

use tch::{Device, Kind, Tensor};

use super::network::Network;
use super::training_kernels::{self, ByTarget, OfTarget};

/// Scaled logit of a token that a truncation dropped: its probability is exactly 0, and 0 times it is 0.
const DROPPED: f64 = -1e4;

/// Logits that exist at one time: 4 MB of f32, which stay in a processor's cache from one operation to the next.
const ELEMENTS: i64 = 1 << 20;

/// Logits of one sequence that exist at one time where forward and backward pass share them: 64 MB of f32.
const SWEPT: i64 = 1 << 24;

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
    let chunks = chunks(model, &hidden_ne.detach(), target_n).into_iter();
    TokenLogprobs::joined(
        chunks.map(|(hidden, target)| of_logits(model, &model.logits(&hidden), &target, temperature)),
    )
}

/// What [`forward()`] says of the targets of some rows of logits.
fn of_logits(model: &Network, logits: &Tensor, target: &Tensor, temperature: f64) -> TokenLogprobs {
    if has_kernels(model) {
        let OfTarget { logprob_n, entropy_n, log_sum_n } =
            training_kernels::log_probabilities(logits, &host(target), temperature);
        return TokenLogprobs { logprobs_n: logprob_n, entropy_n, log_sum_n };
    }
    let scaled = scaled(model, logits.shallow_clone(), target, temperature);
    let log_sum_n1 = scaled.logsumexp(-1, true);
    let chosen_n1 = scaled.gather(-1, &target.unsqueeze(-1), false);
    let probability = (&scaled - &log_sum_n1).exp_();
    let mean_n1 = (probability * scaled).sum_dim_intlist(-1, true, Kind::Float);
    TokenLogprobs {
        logprobs_n: (chosen_n1 - &log_sum_n1).squeeze_dim(-1),
        entropy_n: (&log_sum_n1 - mean_n1).squeeze_dim(-1),
        log_sum_n: log_sum_n1.squeeze_dim(-1),
    }
}

impl TokenLogprobs {
    fn joined(parts: impl Iterator<Item = TokenLogprobs>) -> TokenLogprobs {
        let parts: Vec<TokenLogprobs> = parts.collect();
        let joined =
            |of: fn(&TokenLogprobs) -> &Tensor| Tensor::cat(&parts.iter().map(of).collect::<Vec<_>>(), 0);
        TokenLogprobs {
            logprobs_n: joined(|part| &part.logprobs_n),
            entropy_n: joined(|part| &part.entropy_n),
            log_sum_n: joined(|part| &part.log_sum_n),
        }
    }

    fn narrow(&self, first: i64, rows: i64) -> TokenLogprobs {
        let cut = |column: &Tensor| column.narrow(0, first, rows);
        TokenLogprobs {
            logprobs_n: cut(&self.logprobs_n),
            entropy_n: cut(&self.entropy_n),
            log_sum_n: cut(&self.log_sum_n),
        }
    }
}

impl Gradients {
    fn narrow(&self, first: i64, rows: i64) -> Gradients {
        let cut = |column: &Tensor| column.narrow(0, first, rows);
        Gradients {
            logprobs_n: cut(&self.logprobs_n),
            entropy_n: self.entropy_n.as_ref().map(cut),
            log_sum_n: self.log_sum_n.as_ref().map(cut),
        }
    }
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

/// The likeliest token `[N]`, i64, behind each of the hidden states; of equal ones, which is libtorch's to say.
pub fn likeliest(model: &Network, hidden_ne: &Tensor) -> Tensor {
    let _no_gradient = tch::no_grad_guard();
    let none_n = Tensor::zeros([hidden_ne.size()[0]], (Kind::Int64, hidden_ne.device()));
    let of_chunk = |(hidden, _): (Tensor, Tensor)| model.logits(&hidden).argmax(-1, false);
    let parts: Vec<Tensor> = chunks(model, &hidden_ne.detach(), &none_n).into_iter().map(of_chunk).collect();
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
    let _no_gradient = tch::no_grad_guard();
    let mut gradients = Vec::new();
    let mut first = 0;
    for (hidden, target) in chunks(model, &hidden_ne.detach(), target_n) {
        let rows = hidden.size()[0];
        let (forward, by) = (forward.narrow(first, rows), by.narrow(first, rows));
        let logits = model.logits(&hidden);
        gradients.push(continued(model, &hidden, logits, &target, temperature, (&forward, &by)));
        first += rows;
    }
    Tensor::cat(&gradients, 0)
}

/// [`forward()`] and [`backward()`] in one: the logits of some whole sequences at a time exist until their gradient is known.
///
/// `lengths` are the numbers of rows of the sequences, in order. `loss` gives the gradient of the loss by what is said of the rows of
/// a range, which are some whole sequences. Returns what [`forward()`] returns, and `dL / d hidden_ne`.
pub fn sweep(
    model: &Network,
    hidden_ne: &Tensor,
    target_n: &Tensor,
    temperature: f64,
    lengths: &[i64],
    loss: impl Fn(Range<i64>, &TokenLogprobs) -> Gradients,
) -> (TokenLogprobs, Tensor) {
    let (mut said, mut gradients) = (Vec::new(), Vec::new());
    for Range { start, end } in whole_sequences(model.sizes().vocab_size, lengths) {
        let cut = |x: &Tensor| x.detach().narrow(0, start, end - start);
        let (hidden, target) = (cut(hidden_ne), cut(target_n));
        let (logits, of_rows) = tch::no_grad(|| {
            let logits = model.logits(&hidden);
            let of_rows = of_logits(model, &logits, &target, temperature);
            (logits, of_rows)
        });
        let by = loss(start..end, &of_rows);
        gradients
            .push(tch::no_grad(|| continued(model, &hidden, logits, &target, temperature, (&of_rows, &by))));
        said.push(of_rows);
    }
    (TokenLogprobs::joined(said.into_iter()), Tensor::cat(&gradients, 0))
}

/// Whether [`sweep`] keeps to the memory that logits may take.
pub fn sweeps(model: &Network, lengths: &[i64]) -> bool {
    let longest = lengths.iter().copied().max().unwrap_or(0);
    longest * model.sizes().vocab_size <= SWEPT
}

/// Logits of a sequence of `length` tokens that exist at one time in [`sweep`]; 0 where it is too long for that.
pub fn swept_elements(vocabulary: i64, length: usize) -> usize {
    let elements = length as i64 * vocabulary;
    if elements <= SWEPT { elements as usize } else { 0 }
}

/// Ranges of rows of neighbouring sequences, as many as [`chunk_rows`] allows, at least one.
fn whole_sequences(vocabulary: i64, lengths: &[i64]) -> Vec<Range<i64>> {
    let mut ranges: Vec<Range<i64>> = Vec::new();
    let mut first = 0;
    for length in lengths {
        match ranges.last_mut() {
            Some(last) if first + length - last.start <= chunk_rows(vocabulary) => last.end += length,
            _ => ranges.push(first..first + length),
        }
        first += length;
    }
    ranges
}

/// `dL / d hidden` of some rows, whose logits this overwrites; the output layer's share is added to the gradients of its weights.
fn continued(
    model: &Network,
    hidden: &Tensor,
    mut logits: Tensor,
    target: &Tensor,
    temperature: f64,
    (forward, by): (&TokenLogprobs, &Gradients),
) -> Tensor {
    if has_kernels(model) {
        let contiguous = |column: &Option<Tensor>| column.as_ref().map(Tensor::contiguous);
        let (entropy_n, log_sum_n) = (contiguous(&by.entropy_n), contiguous(&by.log_sum_n));
        let by_target = ByTarget {
            logprob_n: &by.logprobs_n.contiguous(),
            entropy_n: entropy_n.as_ref(),
            log_sum_n: log_sum_n.as_ref(),
        };
        let of = (&forward.entropy_n, &forward.log_sum_n);
        training_kernels::differentiate(&mut logits, &host(target), temperature, of, &by_target);
        return model.logits_backward(hidden, &logits);
    }
    let column = |values: &Tensor| values.unsqueeze(-1);
    let log_probability = scaled(model, logits, target, temperature) - column(&forward.log_sum_n);
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
    model.logits_backward(hidden, &tempered(gradient, temperature))
}

/// Whether logits are looked at by the kernels of training: on the processor, where nothing is truncated.
fn has_kernels(model: &Network) -> bool {
    model.device() == Device::Cpu && model.truncation().is_none()
}

fn host(target: &Tensor) -> Vec<i64> {
    Vec::try_from(target).expect("targets are a vector of i64 by contract")
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
