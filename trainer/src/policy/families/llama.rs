//! Llama: RMS norm, rotary positions, grouped-query attention, SwiGLU (Touvron et al. 2023, arXiv:2302.13971).
//!
//! Also DeepSeek-Coder, CodeLlama and SmolLM2. Other families describe themselves as what they change in it.

use super::super::architecture::{Architecture, Embedding, Head, Layer, Sizes};
use super::super::config_json::ConfigJson;
use super::super::error::PolicyError;
use super::super::feed_forward::{Activation, FeedForward};
use super::super::norm::{Norm, NormFormula};
use super::super::projection::Projection;
use super::super::rotary::Rotary;
use super::super::self_attention::SelfAttention;
use super::{even_heads, untied};

pub(super) fn read(json: ConfigJson<'_>) -> Result<Architecture, PolicyError> {
    let mut llama = base(json, &Defaults::default())?;
    let (attention, feed) = (json.flag_or("attention_bias", false)?, json.flag_or("mlp_bias", false)?);
    for layer in &mut llama.layers {
        layer.attention.qkv.set_bias(attention);
        layer.attention.output.set_bias(attention);
        layer.feed.up.set_bias(feed);
        layer.feed.down.set_bias(feed);
    }
    Ok(llama)
}

/// What transformers assumes where a key is absent, and names that differ between the families that share these layers.
pub(super) struct Defaults {
    /// As many as query heads if there is none.
    pub(super) key_value_heads: Option<i64>,
    /// The hidden width over the heads if there is none.
    pub(super) head_dim: Option<i64>,
    pub(super) max_positions: i64,
    pub(super) tied: bool,
    pub(super) epsilon_key: &'static str,
    pub(super) epsilon: f64,
    pub(super) activation_key: &'static str,
    pub(super) activation: &'static str,
}

impl Default for Defaults {
    fn default() -> Defaults {
        Defaults {
            key_value_heads: None,
            head_dim: None,
            max_positions: 2048,
            tied: false,
            epsilon_key: "rms_norm_eps",
            epsilon: 1e-6,
            activation_key: "hidden_act",
            activation: "silu",
        }
    }
}

/// A Llama without biases.
pub(super) fn base(json: ConfigJson<'_>, defaults: &Defaults) -> Result<Architecture, PolicyError> {
    let head_dim = head_dim(json, defaults)?;
    with_rotary(json, defaults, vec![Rotary::from_json(json, head_dim, 10_000.0)?])
}

/// Width of one head.
pub(super) fn head_dim(json: ConfigJson<'_>, defaults: &Defaults) -> Result<i64, PolicyError> {
    match json.count_if_any("head_dim")?.or(defaults.head_dim) {
        Some(head_dim) => Ok(head_dim),
        None => even_heads(json, "hidden_size", "num_attention_heads"),
    }
}

/// A Llama without biases whose layers turn by the first of `rotary`.
pub(super) fn with_rotary(
    json: ConfigJson<'_>,
    defaults: &Defaults,
    rotary: Vec<Rotary>,
) -> Result<Architecture, PolicyError> {
    let (heads, hidden_size) = (json.count("num_attention_heads")?, json.count("hidden_size")?);
    let sizes = Sizes {
        layers: json.count("num_hidden_layers")?,
        key_value_heads: json.count_or("num_key_value_heads", defaults.key_value_heads.unwrap_or(heads))?,
        head_dim: head_dim(json, defaults)?,
        hidden_size,
        vocab_size: json.count("vocab_size")?,
        max_positions: json.count_or("max_position_embeddings", defaults.max_positions)?,
        has_encoder: false,
    };
    let epsilon = json.number_or(defaults.epsilon_key, defaults.epsilon)?;
    let intermediate_size = json.count("intermediate_size")?;
    let activation = Activation::from_json(json, defaults.activation_key, defaults.activation)?;
    let layer = |index| layer(&sizes, heads, intermediate_size, activation, epsilon, index);
    Ok(Architecture {
        sizes,
        embedding: Embedding { tokens: "model.embed_tokens.weight".to_owned(), positions: None, scale: None },
        rotary,
        layers: (0..sizes.layers).map(layer).collect(),
        final_norm: rms_norm("model.norm".to_owned(), hidden_size, epsilon),
        head: Head { matrix: untied(json, defaults.tied, "lm_head.weight")?, bias: None },
        encoder: None,
    })
}

fn layer(
    sizes: &Sizes,
    heads: i64,
    intermediate_size: i64,
    activation: Activation,
    epsilon: f64,
    index: i64,
) -> Layer {
    let Sizes { hidden_size: e, head_dim: d, key_value_heads, .. } = *sizes;
    let prefix = format!("model.layers.{index}");
    let (attention, feed) = (format!("{prefix}.self_attn"), format!("{prefix}.mlp"));
    let (q, kv, f) = (heads * d, key_value_heads * d, intermediate_size);
    Layer {
        input_norm: rms_norm(format!("{prefix}.input_layernorm"), e, epsilon),
        attention: SelfAttention {
            heads,
            key_value_heads,
            head_dim: d,
            qkv: Projection::stacked(&attention, &[("q_proj", q), ("k_proj", kv), ("v_proj", kv)], e, false),
            query_and_key_norm: None,
            rotary: Some(0),
            scale: 1.0 / (d as f64).sqrt(),
            window: None,
            relative: None,
            output: Projection::single(&attention, "o_proj", e, q, false),
        },
        feed_norm: Some(rms_norm(format!("{prefix}.post_attention_layernorm"), e, epsilon)),
        feed: FeedForward {
            up: Projection::stacked(&feed, &[("gate_proj", f), ("up_proj", f)], e, false),
            gated: true,
            activation,
            down: Projection::single(&feed, "down_proj", e, f, false),
        },
        output_norms: None,
        parallel: false,
        cross: None,
    }
}

/// A root-mean-square norm.
pub(super) fn rms_norm(name: String, width: i64, epsilon: f64) -> Norm {
    Norm { name, width, epsilon, formula: NormFormula::RootMeanSquare, factor: None }
}
