//! The pass over a pack without a gradient graph: forward and backward written out, for layers of the common form.
//!
//! ```text
//! x <- x + attention(norm(x));  x <- x + feed(norm(x))          norm by the root of the mean square, a gate by SiLU, no adapters
//! ```
//!
//! Other families, adapters and other devices take libtorch's graph, with the same result up to rounding. What lies between products
//! is in [`super::super::training_kernels`], products add to the f32 gradients of the weights in place, and a layer keeps only what the
//! backward pass cannot compute again by reading it: its input, queries, keys and values, what was attended to, and what the gate reads.

use tch::Tensor;

use super::super::gradient::gradient_of;
use super::super::rotary::Angles;
use super::super::row_kernels;
use super::super::self_attention::AttentionBehind;
use super::super::training_kernels::{self, Normed, Stretch};
use super::{LoadedLayer, Network, Tokens};

/// Tokens of one pack, and which of the final hidden states are wanted.
pub(in crate::policy) struct DirectTokens {
    /// As the network takes them.
    pub(in crate::policy) tokens: Tokens,
    /// The ids again, on the host.
    pub(in crate::policy) ids: Vec<i64>,
    /// How they see each other.
    pub(in crate::policy) stretches: Vec<Stretch>,
    /// Tokens whose final hidden states are wanted, and the same as a tensor.
    pub(in crate::policy) wanted: Vec<i64>,
    /// See `wanted`.
    pub(in crate::policy) wanted_n: Tensor,
}

/// What the backward pass goes back from.
pub(in crate::policy) struct DirectBehind {
    tokens: DirectTokens,
    angles: Vec<Angles>,
    layers: Vec<Behind>,
    /// The rows `[N, E]` that the final norm read, and its scales.
    last_ne: Tensor,
    scale_n: Tensor,
}

/// What is kept of a layer.
enum Behind {
    /// Its input `[T, E]`: the layer is computed again.
    Input(Tensor),
    /// What its backward pass reads.
    Whole(Box<LayerBehind>),
}

struct LayerBehind {
    x_te: Tensor,
    scale_t: Tensor,
    attention: AttentionBehind,
    after_attention_te: Tensor,
    after_scale_t: Tensor,
    both_tf: Tensor,
}

/// Hidden states in two summands, so that their sum and the norm behind it are one loop.
struct Sum {
    x_te: Tensor,
    added_te: Option<Tensor>,
}

impl Network {
    /// Whether the pass over a pack can be computed without a graph.
    pub(in crate::policy) fn is_plain(&self) -> bool {
        row_kernels::exist_for(self.kind, self.device())
            && self.positions_te.is_none()
            && self.embedding_scale.is_none()
            && self.dropout.is_none()
            && self.final_norm.is_plain()
            && self.layers.are_plain()
    }

    /// The final hidden states that are wanted, `[N, E]` in the compute dtype; and, if `keeps`, what
    /// [`Network::direct_backward`] goes back from.
    pub(in crate::policy) fn direct_forward(
        &self,
        tokens: DirectTokens,
        keeps: bool,
    ) -> (Tensor, Option<DirectBehind>) {
        let _no_gradient = tch::no_grad_guard();
        let angles = self.shared(&tokens.tokens).angles;
        let mut sum = Sum { x_te: self.embed(&tokens.tokens).squeeze_dim(0).contiguous(), added_te: None };
        let mut layers = Vec::new();
        for index in 0..self.layers.count() {
            let forward = |layer: &LoadedLayer| layer.direct_forward(sum, &angles, &tokens.stretches);
            let (next, behind) = self.layers.with(index, forward);
            sum = next;
            if keeps {
                layers.push(if self.recomputes {
                    Behind::Input(behind.x_te)
                } else {
                    Behind::Whole(Box::new(behind))
                });
            }
        }
        let last_ne = sum.total().index_select(0, &tokens.wanted_n);
        let Normed { out_te: hidden_ne, scale_t: scale_n } = self.final_norm.normalise(&last_ne);
        let behind = keeps.then(|| DirectBehind { tokens, angles, layers, last_ne, scale_n });
        (hidden_ne, behind)
    }

    /// Adds the gradients of the weights below the final hidden states, given the gradient `[N, E]` of those that were wanted;
    /// `after_layer` hears of each layer whose weights have got all of theirs.
    pub(in crate::policy) fn direct_backward(
        &self,
        behind: DirectBehind,
        gradient_ne: &Tensor,
        after_layer: &mut dyn FnMut(usize),
    ) {
        let _no_gradient = tch::no_grad_guard();
        let DirectBehind { tokens, angles, mut layers, last_ne, scale_n } = behind;
        let gradient_ne = gradient_ne.to_kind(self.kind).contiguous();
        let mut by_last_ne = last_ne.zeros_like();
        self.final_norm.backward(&last_ne, &scale_n, &gradient_ne, &mut by_last_ne);
        // Completions of one prompt share the token that predicts their first one: their gradients add up.
        let size = [tokens.ids.len() as i64, last_ne.size()[1]];
        let mut gradient_te = Tensor::zeros(size, (self.kind, last_ne.device()));
        training_kernels::add_rows(&mut gradient_te, &tokens.wanted, &by_last_ne);
        for index in (0..self.layers.count()).rev() {
            let behind = layers.pop().expect("every layer has left something");
            self.layers.with(index, |layer| {
                let behind = match behind {
                    Behind::Whole(behind) => *behind,
                    Behind::Input(x_te) => {
                        layer.direct_forward(Sum { x_te, added_te: None }, &angles, &tokens.stretches).1
                    }
                };
                layer.direct_backward(behind, &angles, &tokens.stretches, &mut gradient_te);
            });
            after_layer(index);
        }
        if self.embedding_ve.requires_grad() {
            training_kernels::add_rows(&mut gradient_of(&self.embedding_ve), &tokens.ids, &gradient_te);
        }
    }
}

impl Sum {
    fn total(self) -> Tensor {
        match self.added_te {
            Some(added_te) => training_kernels::add(&self.x_te, added_te),
            None => self.x_te,
        }
    }
}

impl LoadedLayer {
    pub(in crate::policy) fn is_plain(&self) -> bool {
        let norms = self.input_norm.is_plain() && self.feed_norm.as_ref().is_some_and(|norm| norm.is_plain());
        let parts = self.attention.is_plain() && self.feed.is_plain();
        norms && parts && self.output_norms.is_none() && !self.parallel
    }

    fn direct_forward(&self, sum: Sum, angles: &[Angles], stretches: &[Stretch]) -> (Sum, LayerBehind) {
        let (x_te, normed) = match sum.added_te {
            Some(added_te) => self.input_norm.add_and_normalise(&sum.x_te, added_te),
            None => {
                let normed = self.input_norm.normalise(&sum.x_te);
                (sum.x_te, normed)
            }
        };
        let Normed { out_te, scale_t } = normed;
        let (attended_te, attention) = self.attention.forward(&out_te, angles, stretches);
        drop(out_te);
        let feed_norm = self.feed_norm.as_ref().expect("a plain layer has both norms");
        let (after_attention_te, normed) = feed_norm.add_and_normalise(&x_te, attended_te);
        let (fed_te, both_tf) = self.feed.forward(&normed.out_te);
        let after_scale_t = normed.scale_t;
        let next = Sum { x_te: after_attention_te.shallow_clone(), added_te: Some(fed_te) };
        (next, LayerBehind { x_te, scale_t, attention, after_attention_te, after_scale_t, both_tf })
    }

    /// `gradient_te` is that by the layer's output before, and by its input after.
    fn direct_backward(
        &self,
        behind: LayerBehind,
        angles: &[Angles],
        stretches: &[Stretch],
        gradient_te: &mut Tensor,
    ) {
        let LayerBehind { x_te, scale_t, attention, after_attention_te, after_scale_t, both_tf } = behind;
        let feed_norm = self.feed_norm.as_ref().expect("a plain layer has both norms");
        let normed_te = feed_norm.normalise_again(&after_attention_te, &after_scale_t);
        let by_normed_te = self.feed.backward(&normed_te, both_tf, gradient_te);
        feed_norm.backward(&after_attention_te, &after_scale_t, &by_normed_te, gradient_te);
        let normed_te = self.input_norm.normalise_again(&x_te, &scale_t);
        let by_normed_te = self.attention.backward(&normed_te, &attention, angles, stretches, gradient_te);
        self.input_norm.backward(&x_te, &scale_t, &by_normed_te, gradient_te);
    }
}
