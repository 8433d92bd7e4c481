//! The Llama family: RMS norm, rotary positions, grouped-query attention, SwiGLU.
//!
//! Touvron et al. 2023 (arXiv:2302.13971), with the grouped-query attention of Ainslie et al. 2023
//! (arXiv:2305.13245). Follows transformers' `LlamaForCausalLM` number for number.
//!
//! Shape suffixes: `b` sequences, `t` tokens, `l` cached positions, `h` query heads, `k` key-value heads, `d` head
//! width, `e` hidden width, `v` vocabulary.

use serde_json::Value;
use tch::{Device, IndexOp, Kind, Tensor};

use super::error::PolicyError;
use super::network::{Attention, AttentionLayer, Sizes};
use super::weights::Weights;

/// The sizes that decide the network, read from `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LlamaConfig {
    /// Width of the residual stream.
    pub(super) hidden_size: i64,
    /// Width of the feed-forward layer.
    pub(super) intermediate_size: i64,
    /// Number of layers.
    pub(super) layers: i64,
    /// Query heads per layer.
    pub(super) heads: i64,
    /// Key-value heads per layer; divides `heads`.
    pub(super) key_value_heads: i64,
    /// Width of one head.
    pub(super) head_dim: i64,
    /// Number of token ids.
    pub(super) vocab_size: i64,
    /// Added to the mean square before its root.
    pub(super) rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub(super) rope_theta: f64,
    /// Longest sequence the model was made for, in tokens.
    pub(super) max_positions: i64,
    /// Whether the output matrix is the embedding matrix.
    pub(super) tied_embeddings: bool,
}

impl LlamaConfig {
    /// Reads the sizes out of a parsed `config.json`.
    ///
    /// # Errors
    ///
    /// If a key is missing, has the wrong type, or asks for something this family does not do here (biases, scaled
    /// rotary positions).
    pub(super) fn from_json(json: &Value) -> Result<LlamaConfig, PolicyError> {
        let int = |key: &'static str| json[key].as_i64().filter(|n| *n > 0).ok_or_else(|| missing(json, key));
        let heads = int("num_attention_heads")?;
        let hidden_size = int("hidden_size")?;
        let config = LlamaConfig {
            hidden_size,
            intermediate_size: int("intermediate_size")?,
            layers: int("num_hidden_layers")?,
            heads,
            key_value_heads: json["num_key_value_heads"].as_i64().unwrap_or(heads),
            head_dim: json["head_dim"].as_i64().unwrap_or(hidden_size / heads),
            vocab_size: int("vocab_size")?,
            rms_norm_eps: json["rms_norm_eps"].as_f64().unwrap_or(1e-6),
            rope_theta: rope_theta(json),
            max_positions: json["max_position_embeddings"].as_i64().unwrap_or(2048),
            tied_embeddings: json["tie_word_embeddings"].as_bool().unwrap_or(false),
        };
        config.refuse_unsupported(json)?;
        Ok(config)
    }

    fn refuse_unsupported(&self, json: &Value) -> Result<(), PolicyError> {
        let unsupported = |key: &str, found: &Value| {
            Err(PolicyError::Unsupported { key: key.to_owned(), found: found.to_string() })
        };
        for key in ["attention_bias", "mlp_bias"] {
            if json[key].as_bool() == Some(true) {
                return unsupported(key, &json[key]);
            }
        }
        for key in ["rope_scaling", "rope_parameters"] {
            let kind = json[key]["rope_type"].as_str().or_else(|| json[key]["type"].as_str());
            if kind.is_some_and(|kind| kind != "default") {
                return unsupported(key, &json[key]);
            }
        }
        if json["hidden_act"].as_str().is_some_and(|act| act != "silu") {
            return unsupported("hidden_act", &json["hidden_act"]);
        }
        if self.key_value_heads < 1 || self.heads % self.key_value_heads != 0 {
            return unsupported("num_key_value_heads", &json["num_key_value_heads"]);
        }
        if self.head_dim < 2 || self.head_dim % 2 != 0 {
            return unsupported("head_dim", &json["head_dim"]);
        }
        Ok(())
    }

    pub(super) fn sizes(&self) -> Sizes {
        Sizes {
            layers: self.layers,
            key_value_heads: self.key_value_heads,
            head_dim: self.head_dim,
            hidden_size: self.hidden_size,
            vocab_size: self.vocab_size,
            max_positions: self.max_positions,
        }
    }

    /// Every tensor of the family, by its transformers name, with its shape.
    pub(super) fn shapes(&self) -> Vec<(String, Vec<i64>)> {
        let (e, f, d) = (self.hidden_size, self.intermediate_size, self.head_dim);
        let (q, k) = (self.heads * d, self.key_value_heads * d);
        let mut shapes = vec![("model.embed_tokens.weight".to_owned(), vec![self.vocab_size, e])];
        for layer in 0..self.layers {
            let mut add = |name: &str, shape: Vec<i64>| {
                shapes.push((format!("model.layers.{layer}.{name}.weight"), shape))
            };
            add("input_layernorm", vec![e]);
            add("self_attn.q_proj", vec![q, e]);
            add("self_attn.k_proj", vec![k, e]);
            add("self_attn.v_proj", vec![k, e]);
            add("self_attn.o_proj", vec![e, q]);
            add("post_attention_layernorm", vec![e]);
            add("mlp.gate_proj", vec![f, e]);
            add("mlp.up_proj", vec![f, e]);
            add("mlp.down_proj", vec![e, f]);
        }
        shapes.push(("model.norm.weight".to_owned(), vec![e]));
        if !self.tied_embeddings {
            shapes.push(("lm_head.weight".to_owned(), vec![self.vocab_size, e]));
        }
        shapes
    }
}

fn missing(json: &Value, key: &'static str) -> PolicyError {
    PolicyError::ConfigKey { key, wanted: "a positive integer", found: json[key].to_string() }
}

/// transformers 5 nests the base under `rope_parameters`; older folders have it at the top.
fn rope_theta(json: &Value) -> f64 {
    json["rope_parameters"]["rope_theta"].as_f64().or_else(|| json["rope_theta"].as_f64()).unwrap_or(10_000.0)
}

struct Layer {
    input_norm_e: Tensor,
    /// Query, key and value projections stacked by rows: one product instead of three.
    qkv: Tensor,
    output: Tensor,
    post_norm_e: Tensor,
    /// Gate and up projections stacked by rows.
    gate_up: Tensor,
    down: Tensor,
}

/// The network with its weights in the compute dtype. A view for one step: made from the f32 master weights, thrown
/// away when they change.
pub(super) struct Llama {
    /// The sizes.
    pub(super) config: LlamaConfig,
    kind: Kind,
    embedding_ve: Tensor,
    head_ve: Tensor,
    layers: Vec<Layer>,
    final_norm_e: Tensor,
    cos_td: Tensor,
    sin_td: Tensor,
}

impl Llama {
    /// Casts the master weights to `kind`.
    ///
    /// With gradients enabled the cast is part of the graph, so that a backward pass through this network adds to the
    /// f32 gradients of the master weights. The output matrix stays f32: logits of magnitude 30 in bf16 would be
    /// rounded to steps of 0.25.
    pub(super) fn new(config: &LlamaConfig, weights: &Weights, kind: Kind) -> Llama {
        let cast = |name: &str| weights.get(name).to_kind(kind);
        let stack = |prefix: &str, names: &[&str]| {
            let parts: Vec<_> =
                names.iter().map(|name| weights.get(&format!("{prefix}.{name}.weight"))).collect();
            Tensor::cat(&parts, 0).to_kind(kind)
        };
        let layers = (0..config.layers)
            .map(|layer| {
                let prefix = format!("model.layers.{layer}");
                Layer {
                    input_norm_e: cast(&format!("{prefix}.input_layernorm.weight")),
                    qkv: stack(&prefix, &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
                    output: cast(&format!("{prefix}.self_attn.o_proj.weight")),
                    post_norm_e: cast(&format!("{prefix}.post_attention_layernorm.weight")),
                    gate_up: stack(&prefix, &["mlp.gate_proj", "mlp.up_proj"]),
                    down: cast(&format!("{prefix}.mlp.down_proj.weight")),
                }
            })
            .collect();
        let embedding = weights.get("model.embed_tokens.weight");
        let head = if config.tied_embeddings { embedding } else { weights.get("lm_head.weight") };
        let (cos_td, sin_td) = rotary_tables(config, embedding.device(), kind);
        Llama {
            kind,
            embedding_ve: embedding.shallow_clone(),
            head_ve: head.shallow_clone(),
            layers,
            final_norm_e: cast("model.norm.weight"),
            cos_td,
            sin_td,
            config: config.clone(),
        }
    }

    /// The compute dtype.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The device of the weights.
    pub(super) fn device(&self) -> Device {
        self.embedding_ve.device()
    }

    /// Final hidden states `[B, T, E]`, normalised, in the compute dtype.
    ///
    /// `tokens_bt` and `positions_bt` are i64; positions count from 0 within each sequence.
    #[expect(
        clippy::assign_op_pattern,
        reason = "`+=` adds in place, which overwrites what the backward pass needs"
    )]
    pub(super) fn hidden(
        &self,
        tokens_bt: &Tensor,
        positions_bt: &Tensor,
        attention: &mut dyn Attention,
    ) -> Tensor {
        let (b, t) = tokens_bt.size2().expect("tokens have two dimensions by contract");
        // Head dimension inserted, so that one rotation serves all heads of a token.
        let flat = positions_bt.reshape([-1]);
        let cos_b1td = self.cos_td.index_select(0, &flat).view([b, t, -1]).unsqueeze(1);
        let sin_b1td = self.sin_td.index_select(0, &flat).view([b, t, -1]).unsqueeze(1);
        let mut x_bte = Tensor::embedding(&self.embedding_ve, tokens_bt, -1, false, false).to_kind(self.kind);
        for (index, layer) in self.layers.iter().enumerate() {
            let normed = self.norm(&x_bte, &layer.input_norm_e);
            x_bte = x_bte + self.attention_block(index, layer, &normed, &cos_b1td, &sin_b1td, attention);
            let normed = self.norm(&x_bte, &layer.post_norm_e);
            let halves = normed.linear::<&Tensor>(&layer.gate_up, None).chunk(2, -1);
            x_bte = x_bte + (halves[0].silu() * &halves[1]).linear::<&Tensor>(&layer.down, None);
        }
        self.norm(&x_bte, &self.final_norm_e)
    }

    /// Logits `[N, V]` in f32 of hidden states `[N, E]`.
    pub(super) fn logits(&self, hidden_ne: &Tensor) -> Tensor {
        hidden_ne.to_kind(Kind::Float).linear::<&Tensor>(&self.head_ve, None)
    }

    fn attention_block(
        &self,
        index: usize,
        layer: &Layer,
        x_bte: &Tensor,
        cos_b1td: &Tensor,
        sin_b1td: &Tensor,
        attention: &mut dyn Attention,
    ) -> Tensor {
        let LlamaConfig { heads, key_value_heads, head_dim, .. } = self.config;
        let (b, t, _) = x_bte.size3().expect("hidden states have three dimensions by contract");
        let qkv = x_bte
            .linear::<&Tensor>(&layer.qkv, None)
            .view([b, t, heads + 2 * key_value_heads, head_dim])
            .transpose(1, 2);
        let rotated = rotate(&qkv.narrow(1, 0, heads + key_value_heads), cos_b1td, sin_b1td);
        let query = rotated.narrow(1, 0, heads);
        let key = rotated.narrow(1, heads, key_value_heads);
        let value = qkv.narrow(1, heads + key_value_heads, key_value_heads);
        let scale = 1.0 / (head_dim as f64).sqrt();
        let attended_bhtd =
            attention.attend(AttentionLayer { index, scale, window: None }, &query, key, value);
        attended_bhtd.transpose(1, 2).reshape([b, t, heads * head_dim]).linear::<&Tensor>(&layer.output, None)
    }

    fn norm(&self, x: &Tensor, weight_e: &Tensor) -> Tensor {
        x.rms_norm([self.config.hidden_size], Some(weight_e), self.config.rms_norm_eps)
    }
}

/// `cos` and `sin` of every position times every frequency, `[T, D]`, the half-split layout of transformers.
fn rotary_tables(config: &LlamaConfig, device: Device, kind: Kind) -> (Tensor, Tensor) {
    let half = config.head_dim / 2;
    let exponent = Tensor::arange(half, (Kind::Double, Device::Cpu)) * (2.0 / config.head_dim as f64);
    let frequency = (exponent * -config.rope_theta.ln()).exp().to_kind(Kind::Float);
    let position = Tensor::arange(config.max_positions, (Kind::Float, Device::Cpu));
    let angle_th = position.outer(&frequency);
    let angle_td = Tensor::cat(&[&angle_th, &angle_th], 1);
    let place = |table: Tensor| table.to_kind(kind).to_device(device);
    (place(angle_td.cos()), place(angle_td.sin()))
}

/// Rotates pairs `(i, i + D/2)` of the last dimension by their angle.
fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Tensor {
    let half = x.size()[3] / 2;
    let (low, high) = (x.i((.., .., .., ..half)), x.i((.., .., .., half..)));
    x * cos + Tensor::cat(&[-high, low], -1) * sin
}
