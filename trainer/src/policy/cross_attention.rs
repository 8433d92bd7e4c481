//! A decoder layer's attention to what an encoder has read.

use tch::{Kind, Tensor};

use super::architecture::Shapes;
use super::attention::{Attention, AttentionLayer};
use super::dropout::TokenDropout;
use super::encoder::Read;
use super::norm::{LoadedNorm, Norm};
use super::projection::{LoadedProjection, Projection};
use super::row_kernels;
use super::weights::Weights;

/// Apart from every place of a layer's own projections ([`TokenDropout::apply`]).
const PLACES: u64 = 1 << 40;

/// `x + output(attention(query(norm(x)), keys and values of what was read))`; every token sees the whole prompt.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CrossAttention {
    pub(super) norm: Norm,
    /// Heads of queries, keys and values.
    pub(super) heads: i64,
    /// Width of one.
    pub(super) head_dim: i64,
    pub(super) query: Projection,
    /// Keys and values stacked, of what the encoder gives.
    pub(super) key_value: Projection,
    /// Factor of the scores before the softmax.
    pub(super) scale: f64,
    /// Back to the residual stream.
    pub(super) output: Projection,
}

impl CrossAttention {
    pub(super) fn shapes(&self, shapes: &mut Shapes) {
        self.norm.shapes(shapes);
        for projection in self.projections() {
            projection.shapes(shapes);
        }
    }

    pub(super) fn projections(&self) -> [&Projection; 3] {
        [&self.query, &self.key_value, &self.output]
    }

    pub(super) fn load(&self, index: usize, weights: &Weights, kind: Kind) -> LoadedCrossAttention {
        LoadedCrossAttention {
            norm: self.norm.load(weights, kind),
            heads: self.heads,
            head_dim: self.head_dim,
            query: self.query.load(weights, kind),
            key_value: self.key_value.load(weights, kind),
            layer: AttentionLayer { index, scale: self.scale, window: None, relative: None },
            output: self.output.load(weights, kind),
        }
    }
}

/// A cross-attention with its weights.
pub(super) struct LoadedCrossAttention {
    norm: LoadedNorm,
    heads: i64,
    head_dim: i64,
    query: LoadedProjection,
    key_value: LoadedProjection,
    layer: AttentionLayer<'static>,
    output: LoadedProjection,
}

impl LoadedCrossAttention {
    /// Hidden states after it.
    pub(super) fn apply(
        &self,
        x_bte: &Tensor,
        attention: &mut dyn Attention,
        dropout: Option<&TokenDropout>,
    ) -> Tensor {
        let by_row = attention.is_by_row();
        let normed = if by_row { self.norm.apply_by_row(x_bte) } else { self.norm.apply(x_bte) };
        let query = self.heads_of(&self.query.apply(&normed, dropout, self.place(0)), self.heads);
        let attended_bhtd = attention.attend_to_read(self.layer, &query, &|read| self.keys_and_values(read));
        let (b, t, _) = x_bte.size3().expect("hidden states have three dimensions by contract");
        let attended = attended_bhtd.transpose(1, 2).reshape([b, t, self.heads * self.head_dim]);
        let output = self.output.apply(&attended, dropout, self.place(1));
        if by_row { row_kernels::add(x_bte, &output) } else { x_bte + output }
    }

    /// Keys and values `[1, H, S, D]` of what was read.
    fn keys_and_values(&self, read: &Read) -> (Tensor, Tensor) {
        let stacked = self.key_value.apply(&read.states_1se, read.dropout.as_ref(), self.place(2));
        let both = self.heads_of(&stacked, 2 * self.heads);
        (both.narrow(1, 0, self.heads), both.narrow(1, self.heads, self.heads))
    }

    /// `[B, T, H D]` to `[B, H, T, D]`.
    fn heads_of(&self, x: &Tensor, heads: i64) -> Tensor {
        let (b, t, _) = x.size3().expect("hidden states have three dimensions by contract");
        x.view([b, t, heads, self.head_dim]).transpose(1, 2)
    }

    fn place(&self, part: u64) -> u64 {
        PLACES + 3 * self.layer.index as u64 + part
    }
}
