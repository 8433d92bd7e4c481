//! GPT-J: one norm for attention and feed-forward part, neighbouring dimensions turn together (Wang and Komatsuzaki 2021).

use super::super::architecture::{Architecture, Embedding, Head, Layer, Sizes};
use super::super::config_json::ConfigJson;
use super::super::error::PolicyError;
use super::super::feed_forward::{Activation, FeedForward};
use super::super::projection::{Neighbours, Projection};
use super::super::rotary::{Rotary, RotaryScaling};
use super::super::self_attention::SelfAttention;
use super::{even_heads, layer_norm, untied};

pub(super) fn read(json: ConfigJson<'_>) -> Result<Architecture, PolicyError> {
    base(json, |prefix, e| {
        Projection::stacked(prefix, &[("q_proj", e), ("k_proj", e), ("v_proj", e)], e, false)
    })
}

/// The layers of GPT-J and CodeGen, which store queries, keys and values differently: `qkv` gets the name of the
/// attention module and the hidden width.
pub(super) fn base(
    json: ConfigJson<'_>,
    qkv: impl Fn(&str, i64) -> Projection,
) -> Result<Architecture, PolicyError> {
    let (heads, head_dim) = (json.count("n_head")?, even_heads(json, "n_embd", "n_head")?);
    let sizes = Sizes {
        layers: json.count("n_layer")?,
        key_value_heads: heads,
        head_dim,
        hidden_size: json.count("n_embd")?,
        vocab_size: json.count("vocab_size")?,
        max_positions: json.count_or("n_positions", 2048)?,
        has_encoder: false,
    };
    let epsilon = json.number_or("layer_norm_epsilon", 1e-5)?;
    let activation = Activation::from_json(json, "activation_function", "gelu_new")?;
    let rotary = rotary(json)?;
    let e = sizes.hidden_size;
    let f = json.count_or("n_inner", 4 * e)?;
    let layer = |index| {
        let prefix = format!("transformer.h.{index}");
        let (attention, feed) = (format!("{prefix}.attn"), format!("{prefix}.mlp"));
        let mut qkv = qkv(&attention, e);
        qkv.neighbours = Some(Neighbours { heads: 2 * heads, head_dim, width: rotary.width });
        Layer {
            input_norm: layer_norm(format!("{prefix}.ln_1"), e, epsilon),
            attention: SelfAttention {
                heads,
                key_value_heads: heads,
                head_dim,
                qkv,
                query_and_key_norm: None,
                rotary: Some(0),
                scale: 1.0 / (head_dim as f64).sqrt(),
                window: None,
                relative: None,
                output: Projection::single(&attention, "out_proj", e, e, false),
            },
            feed_norm: None,
            feed: FeedForward {
                up: Projection::single(&feed, "fc_in", f, e, true),
                gated: false,
                activation,
                down: Projection::single(&feed, "fc_out", e, f, true),
            },
            output_norms: None,
            parallel: true,
            cross: None,
        }
    };
    Ok(Architecture {
        sizes,
        embedding: Embedding { tokens: "transformer.wte.weight".to_owned(), positions: None, scale: None },
        layers: (0..sizes.layers).map(layer).collect(),
        rotary: vec![rotary],
        final_norm: layer_norm("transformer.ln_f".to_owned(), e, epsilon),
        head: Head { matrix: untied(json, false, "lm_head.weight")?, bias: Some("lm_head.bias".to_owned()) },
        encoder: None,
    })
}

/// `rotary_dim` dimensions of a head turn. transformers takes an absent key for 64 and `null` for a table as wide as the
/// whole hidden width, which fits no head.
fn rotary(json: ConfigJson<'_>) -> Result<Rotary, PolicyError> {
    if json.0.get("rotary_dim").is_some_and(serde_json::Value::is_null) {
        return Err(json.unsupported("rotary_dim"));
    }
    let width = json.count_or("rotary_dim", 64)?;
    Rotary { width, base: 10_000.0, scaling: RotaryScaling::None }.checked()
}
