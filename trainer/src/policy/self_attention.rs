//! The layer's attention part: projections, norms and rotation around an [`Attention`].

use tch::{Kind, Tensor};

use super::architecture::Shapes;
use super::attention::{Attention, AttentionLayer};
use super::dropout::TokenDropout;
use super::norm::{LoadedNorm, Norm};
use super::projection::{LoadedProjection, Projection};
use super::relative::{RelativeBias, RelativePositions};
use super::rotary::Angles;
use super::training_kernels::{self, Attended, Direction, Heads, Stretch};
use super::weights::Weights;

/// Grouped-query attention (Ainslie et al. 2023, arXiv:2305.13245); with as many key-value heads as query heads it is
/// the usual one, with a single one multi-query attention.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SelfAttention {
    /// Query heads.
    pub(super) heads: i64,
    /// Key-value heads; divides `heads`.
    pub(super) key_value_heads: i64,
    /// Width of one head.
    pub(super) head_dim: i64,
    /// Queries, keys and values stacked: one product instead of three.
    pub(super) qkv: Projection,
    /// Norms of every query and every key before they turn.
    pub(super) query_and_key_norm: Option<(Norm, Norm)>,
    /// Which of the network's rotary positions apply, if any.
    pub(super) rotary: Option<usize>,
    /// Factor of the scores before the softmax.
    pub(super) scale: f64,
    /// How many tokens a token sees, itself included.
    pub(super) window: Option<i64>,
    /// What distances add to the scores.
    pub(super) relative: Option<RelativePositions>,
    /// Back to the residual stream.
    pub(super) output: Projection,
}

impl SelfAttention {
    pub(super) fn shapes(&self, shapes: &mut Shapes) {
        self.qkv.shapes(shapes);
        if let Some((query, key)) = &self.query_and_key_norm {
            query.shapes(shapes);
            key.shapes(shapes);
        }
        if let Some(relative) = &self.relative {
            relative.shapes(self.heads, shapes);
        }
        self.output.shapes(shapes);
    }

    pub(super) fn load(&self, index: usize, weights: &Weights, kind: Kind) -> LoadedSelfAttention {
        let norms = self.query_and_key_norm.as_ref();
        LoadedSelfAttention {
            heads: self.heads,
            key_value_heads: self.key_value_heads,
            head_dim: self.head_dim,
            qkv: self.qkv.load(weights, kind),
            query_and_key_norm: norms
                .map(|(query, key)| (query.load(weights, kind), key.load(weights, kind))),
            rotary: self.rotary,
            index,
            scale: self.scale,
            window: self.window,
            relative: self.relative.as_ref().map(|relative| relative.load(weights)),
            output: self.output.load(weights, kind),
        }
    }
}

/// What the backward pass of an attention part reads.
pub(super) struct AttentionBehind {
    qkv: Tensor,
    attended: Attended,
}

/// An attention part with its weights.
pub(super) struct LoadedSelfAttention {
    heads: i64,
    key_value_heads: i64,
    head_dim: i64,
    qkv: LoadedProjection,
    query_and_key_norm: Option<(LoadedNorm, LoadedNorm)>,
    rotary: Option<usize>,
    /// Number of the layer, from 0.
    index: usize,
    scale: f64,
    window: Option<i64>,
    relative: Option<RelativeBias>,
    output: LoadedProjection,
}

impl LoadedSelfAttention {
    /// `place` and the one after it are this part's.
    pub(super) fn apply(
        &self,
        x_bte: &Tensor,
        angles: &[Angles],
        attention: &mut dyn Attention,
        dropout: Option<&TokenDropout>,
        place: u64,
    ) -> Tensor {
        let (h, k, d) = (self.heads, self.key_value_heads, self.head_dim);
        let (b, t, _) = x_bte.size3().expect("hidden states have three dimensions by contract");
        let qkv = self.qkv.apply(x_bte, dropout, place).view([b, t, h + 2 * k, d]).transpose(1, 2);
        let value = qkv.narrow(1, h + k, k);
        let (query, key) = self.query_and_key(&qkv, angles, attention.is_by_row());
        let attended_bhtd = attention.attend(self.layer(), &query, key, value);
        self.output.apply(&attended_bhtd.transpose(1, 2).reshape([b, t, h * d]), dropout, place + 1)
    }

    /// Whether [`LoadedSelfAttention::forward`] and [`LoadedSelfAttention::backward`] are all there is to it.
    pub(super) fn is_plain(&self) -> bool {
        self.query_and_key_norm.is_none()
            && self.relative.is_none()
            && self.qkv.is_plain()
            && self.output.is_plain()
    }

    /// The part of rows `[T, E]` on the processor, which see each other within `stretches`, and what
    /// [`LoadedSelfAttention::backward`] reads. Not part of a gradient graph.
    pub(super) fn forward(
        &self,
        x_te: &Tensor,
        angles: &[Angles],
        stretches: &[Stretch],
    ) -> (Tensor, AttentionBehind) {
        let mut qkv = self.qkv.product(x_te);
        self.rotate(&mut qkv, angles, Direction::Forward);
        let attended = training_kernels::attend(&qkv, stretches, &self.shape());
        (self.output.product(&attended.out_tq), AttentionBehind { qkv, attended })
    }

    /// Adds to the gradients of the weights; returns that by the input, given that by the output.
    pub(super) fn backward(
        &self,
        x_te: &Tensor,
        behind: &AttentionBehind,
        angles: &[Angles],
        stretches: &[Stretch],
        by_out_te: &Tensor,
    ) -> Tensor {
        let AttentionBehind { qkv, attended } = behind;
        self.output.add_gradients(&attended.out_tq, by_out_te);
        let by_attended = self.output.input_gradient(by_out_te);
        let mut by_qkv =
            training_kernels::attend_backward(qkv, attended, &by_attended, stretches, &self.shape());
        self.rotate(&mut by_qkv, angles, Direction::Back);
        self.qkv.add_gradients(x_te, &by_qkv);
        self.qkv.input_gradient(&by_qkv)
    }

    fn shape(&self) -> Heads {
        Heads {
            heads: self.heads as usize,
            key_value_heads: self.key_value_heads as usize,
            head_dim: self.head_dim as usize,
            scale: self.scale as f32,
            window: self.window.map(|window| window as usize),
        }
    }

    /// Turns queries and keys where the family does so, in place.
    fn rotate(&self, qkv: &mut Tensor, angles: &[Angles], direction: Direction) {
        if let Some(rotary) = self.rotary {
            let heads = (self.heads + self.key_value_heads) as usize;
            angles[rotary].rotate_rows(qkv, (heads, self.head_dim as usize), direction);
        }
    }

    fn layer(&self) -> AttentionLayer<'_> {
        AttentionLayer {
            index: self.index,
            scale: self.scale,
            window: self.window,
            relative: self.relative.as_ref(),
        }
    }

    /// Queries `[B, H, T, D]` and keys `[B, K, T, D]`, normalised and turned where the family does so.
    fn query_and_key(&self, qkv: &Tensor, angles: &[Angles], by_row: bool) -> (Tensor, Tensor) {
        let (h, k) = (self.heads, self.key_value_heads);
        let mut both = qkv.narrow(1, 0, h + k);
        if let Some((query_norm, key_norm)) = &self.query_and_key_norm {
            let apply = if by_row { LoadedNorm::apply_by_row } else { LoadedNorm::apply };
            let parts = [apply(query_norm, &both.narrow(1, 0, h)), apply(key_norm, &both.narrow(1, h, k))];
            both = Tensor::cat(&parts, 1);
        }
        if let Some(rotary) = self.rotary {
            let rotate = if by_row { Angles::rotate_by_row } else { Angles::rotate };
            both = rotate(&angles[rotary], &both);
        }
        (both.narrow(1, 0, h), both.narrow(1, h, k))
    }
}
