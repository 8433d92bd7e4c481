//! Prompts through the network: several as one sequence, each once.

use tch::Tensor;

use super::histories::Known;
use crate::policy::attention::{PrefillAttention, ReadPrompts};
use crate::policy::{KeysAndValues, Network, Prompts};

/// Tokens of one pass, padding included; a longer prompt goes alone. Beyond some hundred rows products are as fast as they
/// get, and the hidden states of a pass are memory.
pub const TOKENS: usize = 2048;

/// The rows of a product are padded to a multiple of this, which makes what one row gives independent of how many there
/// are: oneMKL rounds differently for other numbers of rows, but not between multiples of 16.
pub(super) const ROWS: usize = 16;

/// What the network made of one prompt.
pub(super) struct Prefilled {
    /// Keys and values, stretch by stretch.
    pub(super) stretches: Vec<KeysAndValues>,
    /// Keys and values of the prompt, where an encoder has read it; `stretches` are then of what is written behind it.
    pub(super) read: Option<KeysAndValues>,
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
        let alone = |stretch: &KeysAndValues| stretch.of_each(Tensor::copy);
        Prefilled {
            stretches: self.stretches.iter().map(alone).collect(),
            read: self.read.as_ref().map(alone),
            logits_1v: self.logits_1v.copy(),
            is_shared: false,
        }
    }
}

/// Computes what is not known of prompts, in their order, pass by pass as they are asked for.
pub(super) fn prefill<'a>(
    model: &'a Network,
    prompts: Vec<Known<'a>>,
) -> impl Iterator<Item = Prefilled> + use<'a> {
    let mut passes: Vec<Vec<Known<'a>>> = Vec::new();
    let mut tokens = 0;
    for prompt in prompts {
        let new = prompt.tokens.len() - prompt.length;
        match passes.last_mut() {
            Some(pass) if tokens + new <= TOKENS => {
                tokens += new;
                pass.push(prompt);
            }
            _ => {
                tokens = new;
                passes.push(vec![prompt]);
            }
        }
    }
    passes.into_iter().flat_map(|pass| match model.start() {
        Some(start) => read_together(model, start, &pass),
        None => together(model, pass),
    })
}

/// One pass over prompts one behind the other, none of which sees another.
fn together(model: &Network, prompts: Vec<Known<'_>>) -> Vec<Prefilled> {
    let device = model.device();
    let new = |prompt: &Known<'_>| prompt.tokens.len() - prompt.length;
    let padding = vec![0; padding(prompts.iter().map(new).sum())];
    let padding = Known { tokens: &padding, written: 0, before: Vec::new(), length: 0 };
    let sequences = || prompts.iter().chain((!padding.tokens.is_empty()).then_some(&padding));
    let tokens: Vec<i64> = sequences().flat_map(|known| &known.tokens[known.length..]).copied().collect();
    let positions: Vec<i64> =
        sequences().flat_map(|known| known.length as i64..known.tokens.len() as i64).collect();
    let mut spans = Vec::new();
    let mut begin = 0;
    for known in sequences() {
        spans.push((begin, new(known) as i64));
        begin += new(known) as i64;
    }
    let before = sequences().map(|known| &known.before[..]).collect();
    let last: Vec<i64> = spans.iter().take(prompts.len()).map(|(begin, length)| begin + length - 1).collect();
    let row = |values: &[i64]| Tensor::from_slice(values).to_device(device).unsqueeze(0);
    let mut attention = PrefillAttention { spans, before, stored: KeysAndValues::default(), read: None };
    let hidden = model.hidden(&row(&tokens), &row(&positions), &mut attention).squeeze_dim(0);
    let logits_pv = last_logits(model, &hidden, &last);
    let PrefillAttention { spans, stored, .. } = attention;
    prompts
        .into_iter()
        .zip(spans)
        .enumerate()
        .map(|(index, (known, (begin, length)))| {
            let new = stored.of_each(|x_ktd| x_ktd.narrow(1, begin, length));
            Prefilled {
                stretches: known.before.into_iter().chain([new]).collect(),
                read: None,
                logits_1v: logits_pv.narrow(0, index as i64, 1),
                is_shared: true,
            }
        })
        .collect()
}

/// The same for a network with an encoder: it reads the prompts, and what was written behind each, with the token `start` in
/// front, goes through the other layers.
fn read_together(model: &Network, start: i64, prompts: &[Known<'_>]) -> Vec<Prefilled> {
    let mut read = Prompts::default();
    let (mut tokens, mut positions, mut spans) = (Vec::new(), Vec::new(), Vec::new());
    for Known { tokens: prompt, written, .. } in prompts {
        let (prompt, written) = prompt.split_at(prompt.len() - written);
        read.add(prompt);
        let length = 1 + written.len() as i64;
        spans.push((tokens.len() as i64, length));
        tokens.push(start);
        tokens.extend(written);
        positions.extend(0..length);
    }
    let of_prompts = prompts.iter().map(|known| known.tokens.len() - known.written).sum();
    let (missing, missing_read) = (padding(tokens.len()), padding(of_prompts));
    // Tokens of nobody, which look at tokens of nobody.
    if missing + missing_read > 0 {
        read.add(&vec![0; if missing_read == 0 { ROWS } else { missing_read }]);
        let count = if missing == 0 { ROWS } else { missing };
        spans.push((tokens.len() as i64, count as i64));
        positions.extend(0..count as i64);
        tokens.extend(vec![0; count]);
    }
    let row = |values: &[i64]| Tensor::from_slice(values).to_device(model.device()).unsqueeze(0);
    let last: Vec<i64> = spans.iter().take(prompts.len()).map(|(begin, length)| begin + length - 1).collect();
    let before = spans.iter().map(|_| &[][..]).collect();
    let read = ReadPrompts { read: model.read(&read), stored: KeysAndValues::default() };
    let mut attention =
        PrefillAttention { spans, before, stored: KeysAndValues::default(), read: Some(read) };
    let hidden = model.hidden(&row(&tokens), &row(&positions), &mut attention).squeeze_dim(0);
    let logits_pv = last_logits(model, &hidden, &last);
    let PrefillAttention { spans, stored, read, .. } = attention;
    let ReadPrompts { read, stored: stored_read } = read.expect("it was given");
    let cut = |stored: &KeysAndValues, (begin, length): (i64, i64)| {
        stored.of_each(|x_ktd| x_ktd.narrow(1, begin, length))
    };
    // Without the spans of tokens of nobody.
    let spans = (0..prompts.len() as i64).zip(spans.into_iter().zip(read.spans()));
    let prefilled = spans.map(|(index, (span, read))| Prefilled {
        stretches: vec![cut(&stored, span)],
        read: Some(cut(&stored_read, read)),
        logits_1v: logits_pv.narrow(0, index, 1),
        is_shared: true,
    });
    prefilled.collect()
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
