//! The network with its weights: the one forward pass of all families.
//!
//! Shape suffixes: `b` sequences, `t` tokens, `n` chosen tokens, `h` query heads, `k` key-value heads, `d` head width,
//! `e` hidden width, `v` vocabulary.

use tch::{Device, Kind, Tensor};

use super::architecture::{Architecture, Layer, Sizes};
use super::attention::Attention;
use super::feed_forward::LoadedFeedForward;
use super::norm::LoadedNorm;
use super::rotary::{Angles, LoadedRotary};
use super::self_attention::LoadedSelfAttention;
use super::weights::Weights;

/// The network with its weights in the compute dtype. A view for one step: made from the f32 master weights, thrown
/// away when they change.
pub struct Network {
    sizes: Sizes,
    kind: Kind,
    embedding_ve: Tensor,
    embedding_scale: Option<f64>,
    positions_te: Option<Tensor>,
    rotary: Vec<LoadedRotary>,
    layers: Vec<LoadedLayer>,
    final_norm: LoadedNorm,
    head_ve: Tensor,
    head_bias_v: Option<Tensor>,
}

struct LoadedLayer {
    input_norm: LoadedNorm,
    attention: LoadedSelfAttention,
    feed_norm: Option<LoadedNorm>,
    feed: LoadedFeedForward,
    output_norms: Option<(LoadedNorm, LoadedNorm)>,
    parallel: bool,
}

impl Network {
    /// Casts the master weights to `kind`.
    ///
    /// With gradients enabled the cast is part of the graph, so that a backward pass through this network adds to the
    /// f32 gradients of the master weights. The output matrix stays f32: logits of magnitude 30 in bf16 would be
    /// rounded to steps of 0.25.
    pub fn new(architecture: &Architecture, weights: &Weights, kind: Kind) -> Network {
        let embedding_ve = weights.get(&architecture.embedding.tokens).shallow_clone();
        let device = embedding_ve.device();
        let named = |name: &String| weights.get(name).shallow_clone();
        let layers = architecture.layers.iter().enumerate();
        Network {
            sizes: architecture.sizes,
            kind,
            embedding_scale: architecture.embedding.scale,
            positions_te: architecture.embedding.positions.as_ref().map(named),
            rotary: architecture.rotary.iter().map(|rotary| rotary.load(device)).collect(),
            layers: layers.map(|(index, layer)| LoadedLayer::new(index, layer, weights, kind)).collect(),
            final_norm: architecture.final_norm.load(weights, kind),
            head_ve: architecture.head.matrix.as_ref().map_or_else(|| embedding_ve.shallow_clone(), named),
            head_bias_v: architecture.head.bias.as_ref().map(named),
            embedding_ve,
        }
    }

    /// Its sizes.
    pub fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// The compute dtype.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The device of the weights.
    pub fn device(&self) -> Device {
        self.embedding_ve.device()
    }

    /// Final hidden states `[B, T, E]`, normalised, in the compute dtype.
    ///
    /// `tokens_bt` and `positions_bt` are i64; positions count from 0 within each sequence.
    pub fn hidden(&self, tokens_bt: &Tensor, positions_bt: &Tensor, attention: &mut dyn Attention) -> Tensor {
        let angles = self.angles(positions_bt);
        let mut x_bte = self.embed(tokens_bt, positions_bt);
        for layer in &self.layers {
            x_bte = layer.apply(&x_bte, &angles, attention);
        }
        self.final_norm.apply(&x_bte)
    }

    /// Logits `[N, V]` in f32 of hidden states `[N, E]`.
    pub fn logits(&self, hidden_ne: &Tensor) -> Tensor {
        hidden_ne.to_kind(Kind::Float).linear(&self.head_ve, self.head_bias_v.as_ref())
    }

    fn angles(&self, positions_bt: &Tensor) -> Vec<Angles> {
        self.rotary.iter().map(|rotary| rotary.angles(positions_bt, self.kind)).collect()
    }

    fn embed(&self, tokens_bt: &Tensor, positions_bt: &Tensor) -> Tensor {
        let rows = |table: &Tensor, ids: &Tensor| Tensor::embedding(table, ids, -1, false, false);
        let mut x_bte = rows(&self.embedding_ve, tokens_bt);
        if let Some(scale) = self.embedding_scale {
            x_bte = x_bte * scale;
        }
        if let Some(positions_te) = &self.positions_te {
            x_bte = x_bte + rows(positions_te, positions_bt);
        }
        x_bte.to_kind(self.kind)
    }
}

impl LoadedLayer {
    fn new(index: usize, layer: &Layer, weights: &Weights, kind: Kind) -> LoadedLayer {
        let norms = layer.output_norms.as_ref();
        LoadedLayer {
            input_norm: layer.input_norm.load(weights, kind),
            attention: layer.attention.load(index, weights, kind),
            feed_norm: layer.feed_norm.as_ref().map(|norm| norm.load(weights, kind)),
            feed: layer.feed.load(weights, kind),
            output_norms: norms
                .map(|(attention, feed)| (attention.load(weights, kind), feed.load(weights, kind))),
            parallel: layer.parallel,
        }
    }

    /// Hidden states after the layer. Never adds in place, which would overwrite what the backward pass needs.
    fn apply(&self, x_bte: &Tensor, angles: &[Angles], attention: &mut dyn Attention) -> Tensor {
        let normed = self.input_norm.apply(x_bte);
        let mut attended = self.attention.apply(&normed, angles, attention);
        if let Some((norm, _)) = &self.output_norms {
            attended = norm.apply(&attended);
        }
        let after_attention = x_bte + attended;
        let feed_input = match &self.feed_norm {
            Some(norm) => norm.apply(if self.parallel { x_bte } else { &after_attention }),
            None => normed,
        };
        let mut fed = self.feed.apply(&feed_input);
        if let Some((_, norm)) = &self.output_norms {
            fed = norm.apply(&fed);
        }
        after_attention + fed
    }
}
