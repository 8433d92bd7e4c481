//! The network with its weights: the one forward pass of all families.
//!
//! Shape suffixes: `b` sequences, `t` tokens, `n` chosen tokens, `h` query heads, `k` key-value heads, `d` head width,
//! `e` hidden width, `v` vocabulary.

mod direct;

pub(super) use direct::{DirectBehind, DirectTokens};
use tch::{Device, Kind, Tensor};

use super::architecture::{Architecture, Layer, Sizes};
use super::attention::Attention;
use super::cross_attention::LoadedCrossAttention;
use super::dropout::{Dropout, TokenDropout};
use super::encoder::LoadedEncoder;
use super::feed_forward::LoadedFeedForward;
use super::gradient::gradient_of;
use super::layers::Layers;
use super::norm::LoadedNorm;
use super::rotary::{Angles, LoadedRotary};
use super::rounded_operands::with_rounded_operands;
use super::row_kernels;
use super::self_attention::LoadedSelfAttention;
use super::weights::Weights;
use crate::rollout::Shaping;

/// The network with its weights in the compute dtype. A view for one step: made from the f32 master weights, thrown
/// away when they change.
pub struct Network {
    sizes: Sizes,
    kind: Kind,
    embedding_ve: Tensor,
    embedding_scale: Option<f64>,
    positions_te: Option<Tensor>,
    rotary: Vec<LoadedRotary>,
    layers: Layers,
    final_norm: LoadedNorm,
    head_ve: Tensor,
    head_bias_v: Option<Tensor>,
    pub(super) encoder: Option<LoadedEncoder>,
    dropout: Option<Dropout>,
    recomputes: bool,
    truncation: Option<Shaping>,
}

/// The tokens of one forward pass.
pub(super) struct Tokens {
    /// Ids, i64.
    pub(super) tokens_bt: Tensor,
    /// Positions, i64, from 0 within each sequence.
    pub(super) positions_bt: Tensor,
    /// What dropout derives from, i64; none where nothing is left out.
    pub(super) keys_bt: Option<Tensor>,
}

/// What all layers of one forward pass share.
pub(super) struct Shared {
    angles: Vec<Angles>,
    dropout: Option<TokenDropout>,
}

pub(super) struct LoadedLayer {
    /// Number of the layer, from 0.
    index: usize,
    input_norm: LoadedNorm,
    attention: LoadedSelfAttention,
    feed_norm: Option<LoadedNorm>,
    feed: LoadedFeedForward,
    output_norms: Option<(LoadedNorm, LoadedNorm)>,
    parallel: bool,
    cross: Option<LoadedCrossAttention>,
}

impl Network {
    /// Casts the master weights to `kind`.
    ///
    /// With gradients enabled the cast is part of the graph, so that a backward pass through this network adds to the
    /// f32 gradients of the master weights. The output matrix stays f32, since logits do ([`Network::logits`]).
    pub fn new(architecture: &Architecture, weights: &Weights, kind: Kind) -> Network {
        let layers = architecture.layers.iter().enumerate();
        let layers = layers.map(|(index, layer)| LoadedLayer::new(index, layer, weights, kind)).collect();
        Network::with_layers(architecture, weights, kind, Layers::Loaded(layers))
    }

    /// As [`Network::new`], with these layers.
    pub(super) fn with_layers(
        architecture: &Architecture,
        weights: &Weights,
        kind: Kind,
        layers: Layers,
    ) -> Network {
        let embedding_ve = weights.get(&architecture.embedding.tokens).shallow_clone();
        let device = embedding_ve.device();
        let named = |name: &String| weights.get(name).shallow_clone();
        Network {
            sizes: architecture.sizes,
            kind,
            embedding_scale: architecture.embedding.scale,
            positions_te: architecture.embedding.positions.as_ref().map(named),
            rotary: architecture.rotary.iter().map(|rotary| rotary.load(device)).collect(),
            layers,
            final_norm: architecture.final_norm.load(weights, kind),
            head_ve: architecture.head.matrix.as_ref().map_or_else(|| embedding_ve.shallow_clone(), named),
            head_bias_v: architecture.head.bias.as_ref().map(named),
            encoder: architecture.encoder.as_ref().map(|encoder| LoadedEncoder::new(encoder, weights, kind)),
            embedding_ve,
            dropout: None,
            recomputes: false,
            truncation: None,
        }
    }

    /// The same network, which leaves out a part of what adapters read.
    pub(super) fn with_dropout(self, dropout: Dropout) -> Network {
        Network { dropout: Some(dropout), ..self }
    }

    /// The same network; whether its backward pass computes layers again instead of keeping what they computed.
    pub(super) fn recomputing(self, recomputes: bool) -> Network {
        Network { recomputes, ..self }
    }

    /// The same network, whose [`token_logprobs`](super::token_logprobs) are of what sampling leaves of its distributions.
    pub fn truncating(self, truncation: Option<Shaping>) -> Network {
        Network { truncation, ..self }
    }

    /// What is left of its distributions, if that is not all.
    pub(super) fn truncation(&self) -> Option<Shaping> {
        self.truncation
    }

    /// Whether the backward pass computes layers again.
    pub(super) fn recomputes(&self) -> bool {
        self.recomputes
    }

    /// Whether a pass and its way back go through the layers one after the other, and need none of them in between.
    pub(super) fn goes_by_layer(&self) -> bool {
        self.recomputes || self.is_plain()
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
        let tokens = Tokens {
            tokens_bt: tokens_bt.shallow_clone(),
            positions_bt: positions_bt.shallow_clone(),
            keys_bt: None,
        };
        self.hidden_of(&tokens, attention)
    }

    /// As [`Network::hidden`], with dropout if the network has it.
    pub(super) fn hidden_of(&self, tokens: &Tokens, attention: &mut dyn Attention) -> Tensor {
        let shared = self.shared(tokens);
        let embedded = self.embed(tokens);
        let apply =
            |x_bte: Tensor, index| self.layers.with(index, |layer| layer.apply(&x_bte, &shared, attention));
        let x_bte = (0..self.layers.count()).fold(embedded, apply);
        self.final_norm.apply(&x_bte)
    }

    /// As [`Network::hidden_of`], without a graph: also returns what [`Network::backward_from`] starts from, the input of
    /// every layer and of the final norm.
    pub(super) fn hidden_and_inputs(
        &self,
        tokens: &Tokens,
        attention: &mut dyn Attention,
    ) -> (Tensor, Vec<Tensor>) {
        let _no_gradient = tch::no_grad_guard();
        let shared = self.shared(tokens);
        let mut inputs = vec![self.embed(tokens)];
        for index in 0..self.layers.count() {
            let input = inputs.last().expect("the embedding is an input");
            inputs.push(self.layers.with(index, |layer| layer.apply(input, &shared, attention)));
        }
        (self.final_norm.apply(inputs.last().expect("the embedding is an input")), inputs)
    }

    /// Adds the gradients of the weights below the final hidden states, given the gradient of those, `[B, T, E]`.
    ///
    /// Every layer is computed a second time, alone, from its input, and only then holds what its own backward pass needs
    /// (Chen et al. 2016, arXiv:1604.06174): memory grows with one layer, and time by one forward pass. `after_layer` hears of each
    /// layer that is done.
    pub(super) fn backward_from(
        &self,
        inputs: Vec<Tensor>,
        gradient_bte: &Tensor,
        tokens: &Tokens,
        attention: &mut dyn Attention,
        after_layer: &mut dyn FnMut(usize),
    ) {
        let shared = self.shared(tokens);
        let mut inputs = inputs.into_iter().rev();
        let last = inputs.next().expect("the final norm has an input");
        let mut gradient = gradient_of_input(&last, gradient_bte, |x| self.final_norm.apply(x));
        for (index, input) in (0..self.layers.count()).rev().zip(inputs) {
            gradient = self.layers.with(index, |layer| {
                gradient_of_input(&input, &gradient, |x| layer.apply(x, &shared, attention))
            });
            after_layer(index);
        }
        let embedded = self.embed(tokens);
        if embedded.requires_grad() {
            continue_gradient(&embedded, &gradient);
        }
    }

    /// Logits `[N, V]` in f32 of hidden states `[N, E]`.
    ///
    /// Sums and results are f32 in every compute dtype: logits of magnitude 30 in bf16 would be rounded to steps of 0.25.
    /// Where the compute dtype is bf16, the operands are rounded to it if that is permitted ([`permit_rounded_operands`](super::permit_rounded_operands)).
    pub fn logits(&self, hidden_ne: &Tensor) -> Tensor {
        let hidden_ne = hidden_ne.to_kind(Kind::Float);
        self.head_products(|| hidden_ne.linear(&self.head_ve, self.head_bias_v.as_ref()))
    }

    /// Continues a gradient `[N, V]` (f32) of the logits of `hidden_ne` to the hidden states, `[N, E]` f32, and adds the output layer's
    /// share to the gradients of its weights.
    pub(super) fn logits_backward(&self, hidden_ne: &Tensor, by_logits_nv: &Tensor) -> Tensor {
        let _no_gradient = tch::no_grad_guard();
        if self.head_ve.requires_grad() {
            let (mut gradient_ve, hidden_ne) = (gradient_of(&self.head_ve), hidden_ne.to_kind(Kind::Float));
            let _ = self.head_products(|| gradient_ve.addmm_(&by_logits_nv.tr(), &hidden_ne));
        }
        if let Some(bias_v) = self.head_bias_v.as_ref().filter(|bias_v| bias_v.requires_grad()) {
            let dimension: &[i64] = &[0];
            let _ = gradient_of(bias_v).g_add_(&by_logits_nv.sum_dim_intlist(dimension, false, Kind::Float));
        }
        self.head_products(|| by_logits_nv.mm(&self.head_ve))
    }

    /// Runs `products` of the output matrix, or a backward pass through them, with operands of the compute dtype.
    pub(super) fn head_products<T>(&self, products: impl FnOnce() -> T) -> T {
        if self.kind == Kind::BFloat16 { with_rounded_operands(products) } else { products() }
    }

    pub(super) fn shared(&self, tokens: &Tokens) -> Shared {
        let angles = self.rotary.iter().map(|rotary| rotary.angles(&tokens.positions_bt, self.kind));
        Shared { angles: angles.collect(), dropout: self.dropout_of(tokens) }
    }

    /// What products over these tokens leave out, if the network leaves out anything.
    pub(super) fn dropout_of(&self, tokens: &Tokens) -> Option<TokenDropout> {
        self.dropout.zip(tokens.keys_bt.as_ref()).map(|(dropout, keys_bt)| dropout.of(keys_bt))
    }

    pub(super) fn embed(&self, Tokens { tokens_bt, positions_bt, .. }: &Tokens) -> Tensor {
        let rows = |table: &Tensor, ids: &Tensor| Tensor::embedding(table, ids, -1, false, false);
        let row_bte = rows(&self.embedding_ve, tokens_bt);
        let scaled_bte =
            self.embedding_scale.map_or_else(|| row_bte.shallow_clone(), |scale| &row_bte * scale);
        let x_bte = match &self.positions_te {
            Some(positions_te) => scaled_bte + rows(positions_te, positions_bt),
            None => scaled_bte,
        };
        x_bte.to_kind(self.kind)
    }
}

impl LoadedLayer {
    pub(super) fn new(index: usize, layer: &Layer, weights: &Weights, kind: Kind) -> LoadedLayer {
        let norms = layer.output_norms.as_ref();
        LoadedLayer {
            index,
            input_norm: layer.input_norm.load(weights, kind),
            attention: layer.attention.load(index, weights, kind),
            feed_norm: layer.feed_norm.as_ref().map(|norm| norm.load(weights, kind)),
            feed: layer.feed.load(weights, kind),
            output_norms: norms
                .map(|(attention, feed)| (attention.load(weights, kind), feed.load(weights, kind))),
            parallel: layer.parallel,
            cross: layer.cross.as_ref().map(|cross| cross.load(index, weights, kind)),
        }
    }

    /// Hidden states after the layer. Never adds in place, which would overwrite what the backward pass needs.
    pub(super) fn apply(&self, x_bte: &Tensor, shared: &Shared, attention: &mut dyn Attention) -> Tensor {
        let Shared { angles, dropout } = shared;
        // Two projections each of the attention and of the feed-forward part.
        let place = 4 * self.index as u64;
        if attention.is_by_row() {
            return self.apply_by_row(x_bte, shared, attention);
        }
        let normed = self.input_norm.apply(x_bte);
        let mut attended = self.attention.apply(&normed, angles, attention, dropout.as_ref(), place);
        if let Some((norm, _)) = &self.output_norms {
            attended = norm.apply(&attended);
        }
        let mut after_attention = x_bte + attended;
        if let Some(cross) = &self.cross {
            after_attention = cross.apply(&after_attention, attention, dropout.as_ref());
        }
        let feed_input = match &self.feed_norm {
            Some(norm) => norm.apply(if self.parallel { x_bte } else { &after_attention }),
            None => normed,
        };
        let mut fed = self.feed.apply(&feed_input, dropout.as_ref(), place + 2);
        if let Some((_, norm)) = &self.output_norms {
            fed = norm.apply(&fed);
        }
        after_attention + fed
    }

    /// As [`LoadedLayer::apply`], for one token per row, without a graph, on the processor.
    fn apply_by_row(&self, x_b1e: &Tensor, shared: &Shared, attention: &mut dyn Attention) -> Tensor {
        let normed = self.input_norm.apply_by_row(x_b1e);
        let mut attended = self.attention.apply(&normed, &shared.angles, attention, None, 0);
        if let Some((norm, _)) = &self.output_norms {
            attended = norm.apply_by_row(&attended);
        }
        let mut after_attention = row_kernels::add(x_b1e, &attended);
        if let Some(cross) = &self.cross {
            after_attention = cross.apply(&after_attention, attention, None);
        }
        let feed_input = match &self.feed_norm {
            Some(norm) => norm.apply_by_row(if self.parallel { x_b1e } else { &after_attention }),
            None => normed,
        };
        let mut fed = self.feed.apply_by_row(&feed_input);
        if let Some((_, norm)) = &self.output_norms {
            fed = norm.apply_by_row(&fed);
        }
        row_kernels::add(&after_attention, &fed)
    }
}

/// The gradient of `input`, given that of `output(input)`; gradients of weights are added on the way.
pub(super) fn gradient_of_input(
    input: &Tensor,
    gradient: &Tensor,
    output: impl FnOnce(&Tensor) -> Tensor,
) -> Tensor {
    let input = input.detach().set_requires_grad(true);
    continue_gradient(&output(&input), gradient);
    input.grad()
}

/// Continues `gradient`, that of `output`, to what `output` was computed from: the inner product has this gradient.
pub(super) fn continue_gradient(output: &Tensor, gradient: &Tensor) {
    (output * gradient).sum(Kind::Float).backward();
}
