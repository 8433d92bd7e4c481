//! The layer's feed-forward part.

use tch::{Kind, Tensor};

use super::architecture::Shapes;
use super::config_json::ConfigJson;
use super::dropout::TokenDropout;
use super::error::PolicyError;
use super::projection::{LoadedProjection, Projection};
use super::row_kernels;
use super::training_kernels;
use super::weights::Weights;

/// `down(activation(up(x)))`, or with a gate `down(activation(gate(x)) * up(x))` (Shazeer 2020, arXiv:2002.05202).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FeedForward {
    /// Up, or gate and up stacked.
    pub(super) up: Projection,
    /// Whether the first half of `up` is a gate.
    pub(super) gated: bool,
    /// The nonlinearity.
    pub(super) activation: Activation,
    /// Back to the width of the residual stream.
    pub(super) down: Projection,
}

/// A nonlinearity, by element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Activation {
    /// `x sigmoid(x)`.
    Silu,
    /// `x Phi(x)` with the normal distribution function.
    Gelu,
    /// The same with `Phi` approximated by a hyperbolic tangent.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

impl Activation {
    /// Reads transformers' name of an activation.
    pub(super) fn from_json(
        json: ConfigJson<'_>,
        key: &str,
        default: &str,
    ) -> Result<Activation, PolicyError> {
        match json.text_or(key, default)? {
            "silu" | "swish" => Ok(Activation::Silu),
            "gelu" => Ok(Activation::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
            "relu" => Ok(Activation::Relu),
            _ => Err(json.unsupported(key)),
        }
    }

    fn apply(self, x: &Tensor) -> Tensor {
        match self {
            Activation::Silu => x.silu(),
            Activation::Gelu => x.gelu("none"),
            Activation::GeluTanh => x.gelu("tanh"),
            Activation::Relu => x.relu(),
        }
    }
}

impl FeedForward {
    pub(super) fn shapes(&self, shapes: &mut Shapes) {
        self.up.shapes(shapes);
        self.down.shapes(shapes);
    }

    pub(super) fn load(&self, weights: &Weights, kind: Kind) -> LoadedFeedForward {
        LoadedFeedForward {
            up: self.up.load(weights, kind),
            gated: self.gated,
            activation: self.activation,
            down: self.down.load(weights, kind),
        }
    }
}

/// A feed-forward part with its weights.
pub(super) struct LoadedFeedForward {
    up: LoadedProjection,
    gated: bool,
    activation: Activation,
    down: LoadedProjection,
}

impl LoadedFeedForward {
    /// As [`LoadedFeedForward::apply`], for rows of a decode step.
    pub(super) fn apply_by_row(&self, x_b1e: &Tensor) -> Tensor {
        if self.gated && self.activation == Activation::Silu {
            let inner = row_kernels::silu_gate(&self.up.apply(x_b1e, None, 0));
            return self.down.apply(&inner, None, 0);
        }
        self.apply(x_b1e, None, 0)
    }

    /// Whether [`LoadedFeedForward::forward`] and [`LoadedFeedForward::backward`] are all there is to it.
    pub(super) fn is_plain(&self) -> bool {
        self.gated && self.activation == Activation::Silu && self.up.is_plain() && self.down.is_plain()
    }

    /// The part of rows `[T, E]` on the processor, and what [`LoadedFeedForward::backward`] reads, `[T, 2 F]`. Not part of a
    /// gradient graph.
    pub(super) fn forward(&self, x_te: &Tensor) -> (Tensor, Tensor) {
        let both_tf = self.up.product(x_te);
        let inner_tf = training_kernels::gate(&both_tf);
        (self.down.product(&inner_tf), both_tf)
    }

    /// Adds to the gradients of the weights; returns that by the input, given that by the output.
    pub(super) fn backward(&self, x_te: &Tensor, mut both_tf: Tensor, by_out_te: &Tensor) -> Tensor {
        let mut inner_tf = self.down.input_gradient(by_out_te);
        training_kernels::gate_backward(&mut both_tf, &mut inner_tf);
        self.down.add_gradients(&inner_tf, by_out_te);
        self.up.add_gradients(x_te, &both_tf);
        self.up.input_gradient(&both_tf)
    }

    /// `place` and the one after it are this part's.
    pub(super) fn apply(&self, x_bte: &Tensor, dropout: Option<&TokenDropout>, place: u64) -> Tensor {
        let up = self.up.apply(x_bte, dropout, place);
        let inner = if self.gated {
            let halves = up.chunk(2, -1);
            self.activation.apply(&halves[0]) * &halves[1]
        } else {
            self.activation.apply(&up)
        };
        self.down.apply(&inner, dropout, place + 1)
    }
}
