//! What a network is made of, before it has weights.
//!
//! A family reads `config.json` into an [`Architecture`]; [`Network`](super::Network) computes any of them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::config_json::ConfigJson;
use super::cross_attention::CrossAttention;
use super::error::PolicyError;
use super::families;
use super::feed_forward::FeedForward;
use super::norm::Norm;
use super::projection::Projection;
use super::rotary::Rotary;
use super::self_attention::SelfAttention;
use super::weights::read_json;

/// The sizes that others need: caches, checks of lengths, tables of logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Number of layers.
    pub layers: i64,
    /// Key-value heads per layer.
    pub key_value_heads: i64,
    /// Width of one head.
    pub head_dim: i64,
    /// Width of the residual stream.
    pub hidden_size: i64,
    /// Number of token ids.
    pub vocab_size: i64,
    /// Longest sequence the model was made for, in tokens.
    pub max_positions: i64,
    /// Whether an encoder reads the prompt. A completion then begins behind a token of its own, and looks at what was read.
    pub has_encoder: bool,
}

/// A network: embedding, layers, norm, output matrix, and in front of them an encoder where the family has one. Made by
/// [`Architecture::from_json`].
///
/// Rates of dropout that a configuration names are those of pretraining: neither rollouts nor updates drop anything,
/// since the ratio of two probabilities under different masks says nothing about the policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    pub(super) sizes: Sizes,
    pub(super) embedding: Embedding,
    /// The rotary positions that layers refer to by place.
    pub(super) rotary: Vec<Rotary>,
    pub(super) layers: Vec<Layer>,
    pub(super) final_norm: Norm,
    pub(super) head: Head,
    /// What reads prompts, where the layers do not do so themselves.
    pub(super) encoder: Option<Encoder>,
}

/// Layers in which every token of a prompt sees every other; they share the table of token rows with those that write.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Encoder {
    pub(super) layers: Vec<Layer>,
    pub(super) final_norm: Norm,
    /// The token that every completion begins behind.
    pub(super) start: i64,
}

/// Token ids to hidden states.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Embedding {
    /// Name of the table `[V, E]`.
    pub(super) tokens: String,
    /// Name of a table of learned positions `[P, E]` that is added.
    pub(super) positions: Option<String>,
    /// Factor of the token's row.
    pub(super) scale: Option<f64>,
}

/// Hidden states to logits.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Head {
    /// Name of the matrix `[V, E]`; none if it is the embedding's.
    pub(super) matrix: Option<String>,
    /// Name of a bias `[V]`.
    pub(super) bias: Option<String>,
}

/// One layer.
///
/// ```text
/// sequential   x <- x + attention_norm'(attention(input_norm(x)));  x <- x + feed_norm'(feed(feed_norm(x)))
/// parallel     x <- x + attention(input_norm(x)) + feed(feed_norm(x))
/// crossing     as sequential, with x <- x + cross(norm(x), what the encoder read) between the two
/// ```
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layer {
    pub(super) input_norm: Norm,
    pub(super) attention: SelfAttention,
    /// Norm before the feed-forward part; without one it reads what the attention reads.
    pub(super) feed_norm: Option<Norm>,
    pub(super) feed: FeedForward,
    /// Norms of what attention and feed-forward part give, before they are added.
    pub(super) output_norms: Option<(Norm, Norm)>,
    /// Whether both parts read the same hidden states.
    pub(super) parallel: bool,
    /// Attention to what an encoder has read.
    pub(super) cross: Option<CrossAttention>,
}

impl Architecture {
    /// Reads a parsed `config.json`, in the form of transformers 5 or 4.
    ///
    /// # Errors
    ///
    /// If the family is not known, a key is missing or has the wrong type, or asks for something that is not done here.
    pub fn from_json(json: &Value) -> Result<Architecture, PolicyError> {
        families::read(ConfigJson(json))
    }

    /// What the `config.json` of a model folder says.
    ///
    /// # Errors
    ///
    /// As [`Architecture::from_json`], or if the file is missing or damaged.
    pub fn in_folder(folder: &Path) -> Result<Architecture, PolicyError> {
        Architecture::from_json(&read_json(&folder.join("config.json"))?)
    }

    /// Its sizes.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Every tensor, by its transformers name, with its shape. Tied weights appear once.
    pub fn shapes(&self) -> Vec<(String, Vec<i64>)> {
        let Sizes { vocab_size, hidden_size, max_positions, .. } = self.sizes;
        let mut shapes = Shapes::default();
        shapes.add(&self.embedding.tokens, &[vocab_size, hidden_size]);
        if let Some(positions) = &self.embedding.positions {
            shapes.add(positions, &[max_positions, hidden_size]);
        }
        for layer in &self.layers {
            layer.shapes(&mut shapes);
        }
        if let Some(encoder) = &self.encoder {
            for layer in &encoder.layers {
                layer.shapes(&mut shapes);
            }
            encoder.final_norm.shapes(&mut shapes);
        }
        self.final_norm.shapes(&mut shapes);
        if let Some(matrix) = &self.head.matrix {
            shapes.add(matrix, &[vocab_size, hidden_size]);
        }
        if let Some(bias) = &self.head.bias {
            shapes.add(bias, &[vocab_size]);
        }
        shapes.into_list()
    }

    /// Names of the weights that each layer has for itself; not of an encoder's.
    pub(crate) fn names_by_layer(&self) -> Vec<Vec<String>> {
        let names = |layer: &Layer| {
            let mut shapes = Shapes::default();
            layer.shapes(&mut shapes);
            shapes.into_list().into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        let all: Vec<Vec<String>> = self.layers.iter().map(names).collect();
        let mut times = BTreeMap::new();
        all.iter().flatten().for_each(|name| *times.entry(name.clone()).or_insert(0) += 1);
        all.into_iter().map(|names| names.into_iter().filter(|name| times[name] == 1).collect()).collect()
    }

    /// Names of the tables of token rows and of learned positions. Where the output matrix is tied, it is the first of them.
    pub(super) fn embeddings(&self) -> Vec<String> {
        std::iter::once(&self.embedding.tokens).chain(&self.embedding.positions).cloned().collect()
    }

    /// Every matrix product of the layers, the encoder's included.
    pub(super) fn projections(&self) -> impl Iterator<Item = &Projection> {
        let encoder = self.encoder.iter().flat_map(|encoder| &encoder.layers);
        self.layers.iter().chain(encoder).flat_map(|layer| {
            let own = [&layer.attention.qkv, &layer.attention.output, &layer.feed.up, &layer.feed.down];
            own.into_iter().chain(layer.cross.iter().flat_map(CrossAttention::projections))
        })
    }
}

impl Layer {
    fn shapes(&self, shapes: &mut Shapes) {
        self.input_norm.shapes(shapes);
        self.attention.shapes(shapes);
        if let Some(cross) = &self.cross {
            cross.shapes(shapes);
        }
        if let Some(norm) = &self.feed_norm {
            norm.shapes(shapes);
        }
        self.feed.shapes(shapes);
        if let Some((attention, feed)) = &self.output_norms {
            attention.shapes(shapes);
            feed.shapes(shapes);
        }
    }
}

/// Names and shapes, as they are collected.
#[derive(Default)]
pub(super) struct Shapes(Vec<(String, Vec<i64>)>);

impl Shapes {
    pub(super) fn add(&mut self, name: &str, shape: &[i64]) {
        self.0.push((name.to_owned(), shape.to_vec()));
    }

    /// A tensor that several layers share: listed once.
    pub(super) fn add_shared(&mut self, name: &str, shape: &[i64]) {
        if !self.0.iter().any(|(known, _)| known == name) {
            self.add(name, shape);
        }
    }

    pub(super) fn into_list(self) -> Vec<(String, Vec<i64>)> {
        self.0
    }
}
