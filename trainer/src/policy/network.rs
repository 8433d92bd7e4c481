//! The network that everything outside this folder talks to, whatever its family.

use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::error::PolicyError;
use super::llama::{Llama, LlamaConfig};
use super::weights::Weights;

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
}

/// What one layer asks of the attention over its queries, keys and values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionLayer {
    /// Number of the layer, from 0.
    pub index: usize,
    /// Factor of the scores before the softmax.
    pub scale: f64,
    /// How many tokens a token sees, itself included; all before it if there is none.
    pub window: Option<i64>,
}

/// How the tokens of one call see each other and what came before. One call per layer.
///
/// Shape suffixes: `b` sequences, `t` tokens, `h` query heads, `k` key-value heads, `d` head width.
pub trait Attention {
    /// Attends with rotated queries `[B, H, T, D]` to rotated keys and values `[B, K, T, D]` of the same tokens, and
    /// to whatever the implementation holds. Returns `[B, H, T, D]`.
    fn attend(
        &mut self,
        layer: AttentionLayer,
        query_bhtd: &Tensor,
        key_bktd: Tensor,
        value_bktd: Tensor,
    ) -> Tensor;
}

/// What `config.json` says about a network: its family, its sizes, its tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    llama: LlamaConfig,
}

/// Families by their `model_type`.
const FAMILIES: [&str; 1] = ["llama"];

impl Architecture {
    /// Reads a parsed `config.json`.
    ///
    /// # Errors
    ///
    /// If the family is not known, a key is missing or has the wrong type, or asks for something that is not done here.
    pub fn from_json(json: &Value) -> Result<Architecture, PolicyError> {
        let family = json["model_type"].as_str().unwrap_or_default();
        if !FAMILIES.contains(&family) {
            return Err(PolicyError::Family { found: family.to_owned() });
        }
        Ok(Architecture { llama: LlamaConfig::from_json(json)? })
    }

    /// Its sizes.
    pub fn sizes(&self) -> Sizes {
        self.llama.sizes()
    }

    /// Every tensor, by its transformers name, with its shape.
    pub fn shapes(&self) -> Vec<(String, Vec<i64>)> {
        self.llama.shapes()
    }
}

/// The network with its weights in the compute dtype. A view for one step: made from the f32 master weights, thrown
/// away when they change.
pub struct Network {
    sizes: Sizes,
    llama: Llama,
}

impl Network {
    /// Casts the master weights to `kind`.
    ///
    /// With gradients enabled the cast is part of the graph, so that a backward pass through this network adds to the
    /// f32 gradients of the master weights. The output matrix stays f32: logits of magnitude 30 in bf16 would be
    /// rounded to steps of 0.25.
    pub fn new(architecture: &Architecture, weights: &Weights, kind: Kind) -> Network {
        Network { sizes: architecture.sizes(), llama: Llama::new(&architecture.llama, weights, kind) }
    }

    /// Its sizes.
    pub fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// The compute dtype.
    pub fn kind(&self) -> Kind {
        self.llama.kind()
    }

    /// The device of the weights.
    pub fn device(&self) -> Device {
        self.llama.device()
    }

    /// Final hidden states `[B, T, E]`, normalised, in the compute dtype.
    ///
    /// `tokens_bt` and `positions_bt` are i64; positions count from 0 within each sequence.
    pub fn hidden(&self, tokens_bt: &Tensor, positions_bt: &Tensor, attention: &mut dyn Attention) -> Tensor {
        self.llama.hidden(tokens_bt, positions_bt, attention)
    }

    /// Logits `[N, V]` in f32 of hidden states `[N, E]`.
    pub fn logits(&self, hidden_ne: &Tensor) -> Tensor {
        self.llama.logits(hidden_ne)
    }
}
