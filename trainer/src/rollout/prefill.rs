//! Prompts through the network: several as one sequence, each once.

use tch::Tensor;

use crate::policy::Network;
use crate::policy::attention::PrefillAttention;

/// Tokens of one pass, padding included; a longer prompt goes alone. Beyond some hundred rows products are as fast as they
/// get, and the hidden states of a pass are memory.
const TOKENS: usize = 2048;

/// The rows of a product are padded to a multiple of this, which makes what one row gives independent of how many there
/// are: oneMKL rounds differently for other numbers of rows, but not between multiples of 16.
pub(super) const ROWS: usize = 16;

/// What the network made of one prompt.
pub(super) struct Prefilled {
    /// Keys and values `[K, P, D]`, layer by layer.
    pub(super) stored: Vec<(Tensor, Tensor)>,
    /// Logits `[1, V]` of the first token after the prompt.
    pub(super) logits_1v: Tensor,
    /// Whether these are views of what the whole pass computed.
    is_shared: bool,
}

impl Prefilled {
    /// The same without memory that it shares with the other prompts of its pass.
    pub(super) fn into_alone(self) -> Prefilled {
        if !self.is_shared {
            return self;
        }
        Prefilled {
            stored: self.stored.iter().map(|(key, value)| (key.copy(), value.copy())).collect(),
            logits_1v: self.logits_1v.copy(),
            is_shared: false,
        }
    }
}

/// Computes prompts, in their order, pass by pass as they are asked for.
pub(super) fn prefill<'a>(
    model: &'a Network,
    prompts: &[&'a [i64]],
) -> impl Iterator<Item = Prefilled> + use<'a> {
    let mut passes: Vec<Vec<&'a [i64]>> = Vec::new();
    let mut tokens = 0;
    for prompt in prompts {
        match passes.last_mut() {
            Some(pass) if tokens + prompt.len() <= TOKENS => {
                tokens += prompt.len();
                pass.push(prompt);
            }
            _ => {
                tokens = prompt.len();
                passes.push(vec![prompt]);
            }
        }
    }
    passes.into_iter().flat_map(|pass| together(model, &pass))
}

/// One pass over prompts one behind the other, none of which sees another.
fn together(model: &Network, prompts: &[&[i64]]) -> Vec<Prefilled> {
    let device = model.device();
    let padding = vec![0; padding(prompts.iter().map(|prompt| prompt.len()).sum())];
    let sequences = || prompts.iter().copied().chain((!padding.is_empty()).then_some(&padding[..]));
    let tokens: Vec<i64> = sequences().flatten().copied().collect();
    let positions: Vec<i64> = sequences().flat_map(|sequence| 0..sequence.len() as i64).collect();
    let mut spans = Vec::new();
    let mut begin = 0;
    for sequence in sequences() {
        spans.push((begin, sequence.len() as i64));
        begin += sequence.len() as i64;
    }
    let last: Vec<i64> = spans.iter().take(prompts.len()).map(|(begin, length)| begin + length - 1).collect();
    let row = |values: &[i64]| Tensor::from_slice(values).to_device(device).unsqueeze(0);
    let mut attention = PrefillAttention { spans, stored: Vec::new() };
    let hidden = model.hidden(&row(&tokens), &row(&positions), &mut attention).squeeze_dim(0);
    let logits_pv = last_logits(model, &hidden, &last);
    let PrefillAttention { spans, stored } = attention;
    spans
        .iter()
        .take(prompts.len())
        .enumerate()
        .map(|(index, (begin, length))| {
            let cut = |x: &Tensor| x.narrow(1, *begin, *length);
            Prefilled {
                stored: stored.iter().map(|(key, value)| (cut(key), cut(value))).collect(),
                logits_1v: logits_pv.narrow(0, index as i64, 1),
                is_shared: true,
            }
        })
        .collect()
}

/// Logits after each of the `last` tokens; padded as all products are.
fn last_logits(model: &Network, hidden: &Tensor, last: &[i64]) -> Tensor {
    let padded: Vec<i64> = last.iter().copied().chain(std::iter::repeat_n(0, padding(last.len()))).collect();
    let index = Tensor::from_slice(&padded).to_device(hidden.device());
    model.logits(&hidden.index_select(0, &index)).narrow(0, 0, last.len() as i64)
}

/// Rows that `rows` lack to a multiple of [`ROWS`].
pub(super) fn padding(rows: usize) -> usize {
    rows.next_multiple_of(ROWS) - rows
}
