//! Several completions of one prompt as a single sequence: the prompt is computed once.

use tch::{Device, Kind, Tensor};

use super::attention::{MaskedAttention, additive_mask};
use super::llama::Llama;

/// One prompt followed by completions that do not see each other.
///
/// ```text
/// tokens     p0 p1 p2 | a0 a1 a2 | b0 b1
/// positions   0  1  2 |  3  4  5 |  3  4
/// ```
///
/// A completion token sees the prompt and its own completion up to itself, which is what it would see alone, so
/// logprobs and gradients are those of separate sequences (up to float rounding).
pub struct Pack {
    tokens_t: Vec<i64>,
    positions_t: Vec<i64>,
    /// 0 for the prompt, `1 + i` for completion `i`.
    segment_t: Vec<i64>,
    /// For each completion token, the index of the token that predicts it.
    predictor_n: Vec<i64>,
    /// Each completion token.
    target_n: Vec<i64>,
}

impl Pack {
    /// Packs `completions` (each at least one token) behind `prompt` (at least one token).
    pub fn new<'a>(prompt: &[i64], completions: impl IntoIterator<Item = &'a [i64]>) -> Pack {
        let start = prompt.len() as i64;
        let mut pack = Pack {
            tokens_t: prompt.to_vec(),
            positions_t: (0..start).collect(),
            segment_t: vec![0; prompt.len()],
            predictor_n: Vec::new(),
            target_n: Vec::new(),
        };
        for (segment, completion) in completions.into_iter().enumerate() {
            let first = pack.tokens_t.len() as i64;
            for (offset, token) in completion.iter().enumerate() {
                let offset = offset as i64;
                pack.predictor_n.push(if offset == 0 { start - 1 } else { first + offset - 1 });
                pack.target_n.push(*token);
                pack.tokens_t.push(*token);
                pack.positions_t.push(start + offset);
                pack.segment_t.push(1 + segment as i64);
            }
        }
        pack
    }

    /// Number of tokens computed.
    pub fn len(&self) -> usize {
        self.tokens_t.len()
    }

    /// Whether there is nothing to compute.
    pub fn is_empty(&self) -> bool {
        self.tokens_t.is_empty()
    }

    /// Logits `[N, V]`, f32, that predict the `N` completion tokens, in the order of completions.
    pub fn logits(&self, model: &Llama) -> Tensor {
        let device = model.device();
        let row = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        let (tokens, positions) = (row(&self.tokens_t), row(&self.positions_t));
        let mut attention = MaskedAttention { mask_11tt: self.mask(model.kind(), device) };
        let hidden = model.hidden(&tokens.unsqueeze(0), &positions.unsqueeze(0), &mut attention);
        model.logits(&hidden.squeeze_dim(0).index_select(0, &row(&self.predictor_n)))
    }

    /// The completion tokens `[N]`, i64.
    pub fn targets(&self, device: Device) -> Tensor {
        Tensor::from_slice(&self.target_n).to_device(device)
    }

    fn mask(&self, kind: Kind, device: Device) -> Tensor {
        let segment_t = Tensor::from_slice(&self.segment_t).to_device(device);
        let index_t = Tensor::arange(self.len() as i64, (Kind::Int64, device));
        let (key, query) = (segment_t.unsqueeze(0), segment_t.unsqueeze(1));
        let causal = index_t.unsqueeze(0).le_tensor(&index_t.unsqueeze(1));
        let visible = key.eq_tensor(&query).logical_or(&key.eq(0)).logical_and(&causal);
        additive_mask(&visible, kind).unsqueeze(0).unsqueeze(0)
    }
}

/// Log-probabilities `[N]` (nats, f32) of `target_n` under `softmax(logits / temperature)`, and the entropy `[N]` of
/// that distribution, which carries no gradient.
pub fn logprobs_and_entropy(logits_nv: &Tensor, target_n: &Tensor, temperature: f64) -> (Tensor, Tensor) {
    let scaled = if temperature == 1.0 { logits_nv.shallow_clone() } else { logits_nv / temperature };
    let log_softmax = scaled.log_softmax(-1, Kind::Float);
    let logprobs = log_softmax.gather(-1, &target_n.unsqueeze(-1), false).squeeze_dim(-1);
    let entropy = tch::no_grad(|| {
        let detached = log_softmax.detach();
        -(detached.exp() * detached).sum_dim_intlist(-1, false, Kind::Float)
    });
    (logprobs, entropy)
}
