//! T5 and CodeT5: an encoder reads the prompt, a decoder writes the completion; positions are biases of the scores (Raffel
//! et al. 2020, arXiv:1910.10683; Wang et al. 2021, arXiv:2109.00859).

use super::super::config_json::ConfigJson;
use super::super::encoder_decoder::{Block, EncoderDecoderPlan, Projections, RelativePositions, Stack};
use super::super::error::PolicyError;
use super::super::feed_forward::{Activation, FeedForward};
use super::super::norm::Norm;
use super::super::projection::Projection;
use super::llama::rms_norm;

/// The widths that all parts share.
struct Widths {
    hidden_size: i64,
    /// Heads times the width of one.
    inner: i64,
    intermediate: i64,
    epsilon: f64,
    gated: bool,
    activation: Activation,
}

pub(in super::super) fn read(json: ConfigJson<'_>) -> Result<EncoderDecoderPlan, PolicyError> {
    let (heads, head_dim) = (json.count_or("num_heads", 8)?, json.count_or("d_kv", 64)?);
    let (gated, activation) = feed_forward(json)?;
    let widths = Widths {
        hidden_size: json.count_or("d_model", 512)?,
        inner: heads * head_dim,
        intermediate: json.count_or("d_ff", 2048)?,
        epsilon: json.number_or("layer_norm_epsilon", 1e-6)?,
        gated,
        activation,
    };
    let layers = json.count_or("num_layers", 6)?;
    let decoder_layers = json.count_or("num_decoder_layers", layers)?;
    let tied = json.flag_or("tie_word_embeddings", true)?;
    let positions = |bidirectional, name: &str| -> Result<RelativePositions, PolicyError> {
        Ok(RelativePositions {
            table: format!("{name}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"),
            buckets: json.count_or("relative_attention_num_buckets", 32)?,
            furthest: json.count_or("relative_attention_max_distance", 128)?,
            bidirectional,
        })
    };
    let start = json.0.get("decoder_start_token_id").and_then(serde_json::Value::as_i64);
    let padding = json.0.get("pad_token_id").and_then(serde_json::Value::as_i64);
    Ok(EncoderDecoderPlan {
        heads,
        head_dim,
        hidden_size: widths.hidden_size,
        vocab_size: json.count_or("vocab_size", 32_128)?,
        embedding: "shared.weight".to_owned(),
        encoder: stack("encoder", layers, &widths, positions(true, "encoder")?),
        decoder: stack("decoder", decoder_layers, &widths, positions(false, "decoder")?),
        head: (!tied).then(|| "lm_head.weight".to_owned()),
        scales_output: json.flag_or("scale_decoder_outputs", tied)?,
        start: start.or(padding).unwrap_or(0),
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

fn stack(name: &str, layers: i64, widths: &Widths, positions: RelativePositions) -> Stack {
    let norm = |name: String| rms_norm(name, widths.hidden_size, widths.epsilon);
    let block = |index| {
        let layer = |part: usize| format!("{name}.block.{index}.layer.{part}");
        let crosses = name == "decoder";
        let feed = if crosses { 2 } else { 1 };
        Block {
            attention: attention(&layer(0), "SelfAttention", widths),
            attention_norm: norm(format!("{}.layer_norm", layer(0))),
            cross: crosses.then(|| cross(&layer(1), widths, &norm)),
            feed: feed_of(&format!("{}.DenseReluDense", layer(feed)), widths),
            feed_norm: norm(format!("{}.layer_norm", layer(feed))),
        }
    };
    Stack {
        blocks: (0..layers).map(block).collect(),
        positions,
        final_norm: norm(format!("{name}.final_layer_norm")),
    }
}

fn attention(layer: &str, module: &str, Widths { hidden_size, inner, .. }: &Widths) -> Projections {
    let prefix = format!("{layer}.{module}");
    Projections {
        query: Projection::single(&prefix, "q", *inner, *hidden_size, false),
        key_value: Projection::stacked(&prefix, &[("k", *inner), ("v", *inner)], *hidden_size, false),
        output: Projection::single(&prefix, "o", *hidden_size, *inner, false),
    }
}

fn cross(layer: &str, widths: &Widths, norm: &impl Fn(String) -> Norm) -> (Norm, Projections) {
    (norm(format!("{layer}.layer_norm")), attention(layer, "EncDecAttention", widths))
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
