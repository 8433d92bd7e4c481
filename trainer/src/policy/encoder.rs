//! What reads prompts in a network of two stacks: every token of a prompt sees every other token of it.

use tch::{Kind, Tensor};

use super::architecture::Encoder;
use super::attention::{Attention, AttentionLayer, attend_under};
use super::dropout::{TokenDropout, token_key};
use super::network::{LoadedLayer, Network, Tokens, continue_gradient, gradient_of_input};
use super::norm::LoadedNorm;
use super::weights::Weights;

/// Number of the first layer: dropout tells them apart from those that write.
const FIRST_LAYER: usize = 1 << 20;

/// Prompts one behind the other.
#[derive(Debug, Default)]
pub struct Prompts {
    tokens: Vec<i64>,
    /// What dropout derives from: a function of the prompt up to the token.
    keys: Vec<i64>,
    lengths: Vec<i64>,
}

impl Prompts {
    /// Adds a prompt of at least one token.
    pub fn add(&mut self, prompt: &[i64]) {
        let mut key = 0;
        for token in prompt {
            key = token_key(key, *token);
            self.keys.push(key);
        }
        self.tokens.extend(prompt);
        self.lengths.push(prompt.len() as i64);
    }
}

/// What an encoder made of prompts, one behind the other.
pub struct Read {
    /// Its final hidden states `[1, S, E]`, normalised.
    pub(super) states_1se: Tensor,
    /// Tokens of each prompt; they cover the states, in order, without gaps.
    pub(super) lengths: Vec<i64>,
    /// What the products over the states leave out.
    pub(super) dropout: Option<TokenDropout>,
}

impl Read {
    /// First token and number of tokens of each prompt.
    pub fn spans(&self) -> Vec<(i64, i64)> {
        let mut begin = 0;
        let span = |length: &i64| {
            begin += length;
            (begin - length, *length)
        };
        self.lengths.iter().map(span).collect()
    }
}

/// An encoder with its weights.
pub(super) struct LoadedEncoder {
    layers: Vec<LoadedLayer>,
    final_norm: LoadedNorm,
    pub(super) start: i64,
}

impl LoadedEncoder {
    pub(super) fn new(encoder: &Encoder, weights: &Weights, kind: Kind) -> LoadedEncoder {
        let layers = (FIRST_LAYER..).zip(&encoder.layers);
        LoadedEncoder {
            layers: layers.map(|(index, layer)| LoadedLayer::new(index, layer, weights, kind)).collect(),
            final_norm: encoder.final_norm.load(weights, kind),
            start: encoder.start,
        }
    }
}

impl Network {
    /// The token that every completion begins behind; none where there is no encoder.
    pub fn start(&self) -> Option<i64> {
        self.encoder.as_ref().map(|encoder| encoder.start)
    }

    /// Reads prompts; part of the gradient graph unless gradients are off.
    ///
    /// # Panics
    ///
    /// If the network has no encoder.
    pub fn read(&self, prompts: &Prompts) -> Read {
        let tokens = self.tokens_of(prompts);
        let (encoder, shared, mut attention) =
            (self.encoder(), self.shared(&tokens), AmongPrompts::of(prompts));
        let embedded = self.embed(&tokens);
        let x_bte = encoder.layers.iter().fold(embedded, |x, layer| layer.apply(&x, &shared, &mut attention));
        self.read_of(encoder.final_norm.apply(&x_bte), &tokens, prompts)
    }

    /// As [`Network::read`], without a graph: also returns what [`Network::backward_from_read`] starts from, the input of every
    /// layer and of the final norm. The states are a leaf that collects its gradient.
    pub(super) fn read_and_inputs(&self, prompts: &Prompts) -> (Read, Vec<Tensor>) {
        let (states, inputs, tokens) = tch::no_grad(|| {
            let tokens = self.tokens_of(prompts);
            let (encoder, shared) = (self.encoder(), self.shared(&tokens));
            let mut attention = AmongPrompts::of(prompts);
            let mut inputs = vec![self.embed(&tokens)];
            for layer in &encoder.layers {
                let input = inputs.last().expect("the embedding is an input");
                inputs.push(layer.apply(input, &shared, &mut attention));
            }
            let last = inputs.last().expect("the embedding is an input");
            (encoder.final_norm.apply(last), inputs, tokens)
        });
        (self.read_of(states.set_requires_grad(true), &tokens, prompts), inputs)
    }

    /// Adds the gradients of the encoder's weights, given that of what it read, layer by layer as
    /// [`Network::backward_from`] does.
    pub(super) fn backward_from_read(&self, inputs: Vec<Tensor>, gradient_1se: &Tensor, prompts: &Prompts) {
        let tokens = self.tokens_of(prompts);
        let (encoder, shared, mut attention) =
            (self.encoder(), self.shared(&tokens), AmongPrompts::of(prompts));
        let mut inputs = inputs.into_iter().rev();
        let last = inputs.next().expect("the final norm has an input");
        let mut gradient = gradient_of_input(&last, gradient_1se, |x| encoder.final_norm.apply(x));
        for (layer, input) in encoder.layers.iter().rev().zip(inputs) {
            gradient = gradient_of_input(&input, &gradient, |x| layer.apply(x, &shared, &mut attention));
        }
        let embedded = self.embed(&tokens);
        if embedded.requires_grad() {
            continue_gradient(&embedded, &gradient);
        }
    }

    fn encoder(&self) -> &LoadedEncoder {
        self.encoder.as_ref().expect("only a network with an encoder reads apart, by contract")
    }

    fn tokens_of(&self, prompts: &Prompts) -> Tokens {
        let row = |values: &[i64]| Tensor::from_slice(values).to_device(self.device()).unsqueeze(0);
        let positions: Vec<i64> = prompts.lengths.iter().flat_map(|length| 0..*length).collect();
        Tokens {
            tokens_bt: row(&prompts.tokens),
            positions_bt: row(&positions),
            keys_bt: Some(row(&prompts.keys)),
        }
    }

    fn read_of(&self, states_1se: Tensor, tokens: &Tokens, prompts: &Prompts) -> Read {
        Read { states_1se, lengths: prompts.lengths.clone(), dropout: self.dropout_of(tokens) }
    }
}

/// Attention within each of several prompts.
struct AmongPrompts<'a> {
    lengths: &'a [i64],
}

impl AmongPrompts<'_> {
    fn of(prompts: &Prompts) -> AmongPrompts<'_> {
        AmongPrompts { lengths: &prompts.lengths }
    }
}

impl Attention for AmongPrompts<'_> {
    fn attend(
        &mut self,
        layer: AttentionLayer<'_>,
        query_bhtd: &Tensor,
        key_bktd: Tensor,
        value_bktd: Tensor,
    ) -> Tensor {
        let split = |x: &Tensor| x.split_with_sizes(self.lengths, 2);
        let parts = split(query_bhtd).into_iter().zip(split(&key_bktd)).zip(split(&value_bktd));
        let attended = parts.map(|((query, key), value)| {
            let length = query.size()[2];
            let bias = layer.relative.map(|relative| {
                relative.of(&relative.buckets_of_last(length, length), query.kind()).unsqueeze(0)
            });
            attend_to_all(&query, &key, &value, bias.as_ref(), layer.scale)
        });
        Tensor::cat(&attended.collect::<Vec<_>>(), 2)
    }
}

/// Attention to every key, whose scores `bias` is added to.
pub(super) fn attend_to_all(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    bias: Option<&Tensor>,
    scale: f64,
) -> Tensor {
    match bias {
        Some(bias) => attend_under(query, key, value, bias, scale),
        None => Tensor::scaled_dot_product_attention::<&Tensor>(
            query,
            key,
            value,
            None,
            0.0,
            false,
            Some(scale),
            false,
        ),
    }
}
