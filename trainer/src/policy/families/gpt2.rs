//! GPT-2: learned positions, layer norms, matrices stored by columns (Radford et al. 2019).

use super::super::architecture::{Architecture, Embedding, Head, Layer, Sizes};
use super::super::config_json::ConfigJson;
use super::super::error::PolicyError;
use super::super::feed_forward::{Activation, FeedForward};
use super::super::projection::Projection;
use super::super::self_attention::SelfAttention;
use super::{even_heads, layer_norm, untied};

pub(super) fn read(json: ConfigJson<'_>) -> Result<Architecture, PolicyError> {
    let mut gpt = base(json, "gelu_new", json.count("n_head")?)?;
    let by_depth = json.flag_or("scale_attn_by_inverse_layer_idx", false)?;
    for (index, layer) in gpt.layers.iter_mut().enumerate() {
        if by_depth {
            layer.attention.scale /= (index + 1) as f64;
        }
        let Layer { attention, feed, .. } = layer;
        for projection in [&mut attention.qkv, &mut attention.output, &mut feed.up, &mut feed.down] {
            projection.transposed = true;
        }
    }
    Ok(gpt)
}

/// The layers of GPT-2 and GPT-BigCode, with matrices stored by rows.
pub(super) fn base(
    json: ConfigJson<'_>,
    activation: &str,
    key_value_heads: i64,
) -> Result<Architecture, PolicyError> {
    json.refuse_true(&["add_cross_attention"])?;
    let (heads, head_dim) = (json.count("n_head")?, even_heads(json, "n_embd", "n_head")?);
    let sizes = Sizes {
        layers: json.count("n_layer")?,
        key_value_heads,
        head_dim,
        hidden_size: json.count("n_embd")?,
        vocab_size: json.count("vocab_size")?,
        max_positions: json.count_or("n_positions", 1024)?,
        has_encoder: false,
    };
    let epsilon = json.number_or("layer_norm_epsilon", 1e-5)?;
    let activation = Activation::from_json(json, "activation_function", activation)?;
    let (e, kv) = (sizes.hidden_size, key_value_heads * head_dim);
    let f = json.count_or("n_inner", 4 * e)?;
    let scaled = json.flag_or("scale_attn_weights", true)?;
    let layer = |index| {
        let prefix = format!("transformer.h.{index}");
        let (attention, feed) = (format!("{prefix}.attn"), format!("{prefix}.mlp"));
        Layer {
            input_norm: layer_norm(format!("{prefix}.ln_1"), e, epsilon),
            attention: SelfAttention {
                heads,
                key_value_heads,
                head_dim,
                qkv: Projection::single(&attention, "c_attn", e + 2 * kv, e, true),
                query_and_key_norm: None,
                rotary: None,
                scale: if scaled { 1.0 / (head_dim as f64).sqrt() } else { 1.0 },
                window: None,
                relative: None,
                output: Projection::single(&attention, "c_proj", e, e, true),
            },
            feed_norm: Some(layer_norm(format!("{prefix}.ln_2"), e, epsilon)),
            feed: FeedForward {
                up: Projection::single(&feed, "c_fc", f, e, true),
                gated: false,
                activation,
                down: Projection::single(&feed, "c_proj", e, f, true),
            },
            output_norms: None,
            parallel: false,
            cross: None,
        }
    };
    Ok(Architecture {
        sizes,
        embedding: Embedding {
            tokens: "transformer.wte.weight".to_owned(),
            positions: Some("transformer.wpe.weight".to_owned()),
            scale: None,
        },
        rotary: Vec::new(),
        layers: (0..sizes.layers).map(layer).collect(),
        final_norm: layer_norm("transformer.ln_f".to_owned(), e, epsilon),
        head: Head { matrix: untied(json, true, "lm_head.weight")?, bias: None },
        encoder: None,
    })
}
