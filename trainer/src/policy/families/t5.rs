//! T5 and CodeT5: an encoder reads the prompt, a decoder writes the completion; positions are biases of the scores (Raffel
//! et al. 2020, arXiv:1910.10683; Wang et al. 2021, arXiv:2109.00859).

use super::super::architecture::{Architecture, Embedding, Encoder, Head, Layer, Sizes};
use super::super::config_json::ConfigJson;
use super::super::cross_attention::CrossAttention;
use super::super::error::PolicyError;
use super::super::feed_forward::{Activation, FeedForward};
use super::super::norm::Norm;
use super::super::projection::Projection;
use super::super::relative::RelativePositions;
use super::super::self_attention::SelfAttention;
use super::llama::rms_norm;

/// What all layers share.
struct Widths {
    hidden_size: i64,
    heads: i64,
    head_dim: i64,
    intermediate: i64,
    epsilon: f64,
    gated: bool,
    activation: Activation,
}

pub(super) fn read(json: ConfigJson<'_>) -> Result<Architecture, PolicyError> {
    let (gated, activation) = feed_forward(json)?;
    let widths = Widths {
        hidden_size: json.count_or("d_model", 512)?,
        heads: json.count_or("num_heads", 8)?,
        head_dim: json.count_or("d_kv", 64)?,
        intermediate: json.count_or("d_ff", 2048)?,
        epsilon: json.number_or("layer_norm_epsilon", 1e-6)?,
        gated,
        activation,
    };
    let encoder_layers = json.count_or("num_layers", 6)?;
    let layers = json.count_or("num_decoder_layers", encoder_layers)?;
    let tied = json.flag_or("tie_word_embeddings", true)?;
    let (reading, writing) = (positions(json, "encoder", true)?, positions(json, "decoder", false)?);
    let norm =
        |stack: &str| rms_norm(format!("{stack}.final_layer_norm"), widths.hidden_size, widths.epsilon);
    // The states that logits are of are multiplied by this, which the norm before them does.
    let scales = json.flag_or("scale_decoder_outputs", tied)?;
    let factor = scales.then(|| (widths.hidden_size as f64).powf(-0.5));
    let id = |key: &str| json.0.get(key).and_then(serde_json::Value::as_i64);
    Ok(Architecture {
        sizes: Sizes {
            layers,
            key_value_heads: widths.heads,
            head_dim: widths.head_dim,
            hidden_size: widths.hidden_size,
            vocab_size: json.count_or("vocab_size", 32_128)?,
            // Distances have no end.
            max_positions: i64::MAX,
            has_encoder: true,
        },
        embedding: Embedding { tokens: "shared.weight".to_owned(), positions: None, scale: None },
        rotary: Vec::new(),
        layers: (0..layers).map(|index| layer("decoder", index, &widths, &writing)).collect(),
        final_norm: Norm { factor, ..norm("decoder") },
        head: Head { matrix: (!tied).then(|| "lm_head.weight".to_owned()), bias: None },
        encoder: Some(Encoder {
            layers: (0..encoder_layers).map(|index| layer("encoder", index, &widths, &reading)).collect(),
            final_norm: norm("encoder"),
            start: id("decoder_start_token_id").or_else(|| id("pad_token_id")).unwrap_or(0),
        }),
    })
}

/// The table of the first layer of a stack, which all its layers read.
fn positions(
    json: ConfigJson<'_>,
    stack: &str,
    bidirectional: bool,
) -> Result<RelativePositions, PolicyError> {
    Ok(RelativePositions {
        table: format!("{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"),
        buckets: json.count_or("relative_attention_num_buckets", 32)?,
        furthest: json.count_or("relative_attention_max_distance", 128)?,
        bidirectional,
    })
}

/// `feed_forward_proj`: an activation, or `gated-` and an activation. `gated-gelu` means the approximation.
fn feed_forward(json: ConfigJson<'_>) -> Result<(bool, Activation), PolicyError> {
    match json.text_or("feed_forward_proj", "relu")? {
        "relu" => Ok((false, Activation::Relu)),
        "gelu" => Ok((false, Activation::Gelu)),
        "gated-gelu" => Ok((true, Activation::GeluTanh)),
        "gated-silu" => Ok((true, Activation::Silu)),
        _ => Err(json.unsupported("feed_forward_proj")),
    }
}

fn layer(stack: &str, index: i64, widths: &Widths, positions: &RelativePositions) -> Layer {
    let Widths { hidden_size, heads, head_dim, epsilon, .. } = *widths;
    let part = |number: usize| format!("{stack}.block.{index}.layer.{number}");
    let norm = |number: usize| rms_norm(format!("{}.layer_norm", part(number)), hidden_size, epsilon);
    let inner = heads * head_dim;
    let attention = format!("{}.SelfAttention", part(0));
    let crosses = stack == "decoder";
    let feed = if crosses { 2 } else { 1 };
    Layer {
        input_norm: norm(0),
        attention: SelfAttention {
            heads,
            key_value_heads: heads,
            head_dim,
            qkv: Projection::stacked(
                &attention,
                &[("q", inner), ("k", inner), ("v", inner)],
                hidden_size,
                false,
            ),
            query_and_key_norm: None,
            rotary: None,
            scale: 1.0,
            window: None,
            relative: Some(positions.clone()),
            output: Projection::single(&attention, "o", hidden_size, inner, false),
        },
        feed_norm: Some(norm(feed)),
        feed: feed_of(&format!("{}.DenseReluDense", part(feed)), widths),
        output_norms: None,
        parallel: false,
        cross: crosses.then(|| cross(&format!("{}.EncDecAttention", part(1)), norm(1), widths)),
    }
}

fn cross(prefix: &str, norm: Norm, widths: &Widths) -> CrossAttention {
    let Widths { hidden_size, heads, head_dim, .. } = *widths;
    let inner = heads * head_dim;
    CrossAttention {
        norm,
        heads,
        head_dim,
        query: Projection::single(prefix, "q", inner, hidden_size, false),
        key_value: Projection::stacked(prefix, &[("k", inner), ("v", inner)], hidden_size, false),
        scale: 1.0,
        output: Projection::single(prefix, "o", hidden_size, inner, false),
    }
}

fn feed_of(prefix: &str, widths: &Widths) -> FeedForward {
    let Widths { hidden_size, intermediate, gated, activation, .. } = *widths;
    let up =
        if gated { vec![("wi_0", intermediate), ("wi_1", intermediate)] } else { vec![("wi", intermediate)] };
    FeedForward {
        up: Projection::stacked(prefix, &up, hidden_size, false),
        gated,
        activation,
        down: Projection::single(prefix, "wo", hidden_size, intermediate, false),
    }
}
