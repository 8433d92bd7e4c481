//! GPT-NeoX and Pythia: attention and feed-forward part read the same hidden states, and a part of every head turns
//! (Black et al. 2022, arXiv:2204.06745).

use super::super::architecture::{Architecture, Embedding, Head, Layer, Sizes};
use super::super::config_json::ConfigJson;
use super::super::error::PolicyError;
use super::super::feed_forward::{Activation, FeedForward};
use super::super::projection::{Projection, RowOrder};
use super::super::rotary::{Rotary, RotaryTable};
use super::super::self_attention::SelfAttention;
use super::{even_heads, layer_norm, untied};

pub(super) fn read(json: ConfigJson<'_>) -> Result<Architecture, PolicyError> {
    let (heads, head_dim) =
        (json.count("num_attention_heads")?, even_heads(json, "hidden_size", "num_attention_heads")?);
    let sizes = Sizes {
        layers: json.count("num_hidden_layers")?,
        key_value_heads: heads,
        head_dim,
        hidden_size: json.count("hidden_size")?,
        vocab_size: json.count("vocab_size")?,
        max_positions: json.count_or("max_position_embeddings", 2048)?,
        has_encoder: false,
    };
    let epsilon = json.number_or("layer_norm_eps", 1e-5)?;
    let activation = Activation::from_json(json, "hidden_act", "gelu")?;
    let (e, f) = (sizes.hidden_size, json.count("intermediate_size")?);
    let bias = json.flag_or("attention_bias", true)?;
    let parallel = json.flag_or("use_parallel_residual", true)?;
    let layer = |index| {
        let prefix = format!("gpt_neox.layers.{index}");
        let (attention, feed) = (format!("{prefix}.attention"), format!("{prefix}.mlp"));
        let mut qkv = Projection::single(&attention, "query_key_value", 3 * e, e, bias);
        qkv.order = RowOrder::HeadByHead { heads };
        Layer {
            input_norm: layer_norm(format!("{prefix}.input_layernorm"), e, epsilon),
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
                output: Projection::single(&attention, "dense", e, e, bias),
            },
            feed_norm: Some(layer_norm(format!("{prefix}.post_attention_layernorm"), e, epsilon)),
            feed: FeedForward {
                up: Projection::single(&feed, "dense_h_to_4h", f, e, true),
                gated: false,
                activation,
                down: Projection::single(&feed, "dense_4h_to_h", e, f, true),
            },
            output_norms: None,
            parallel,
            cross: None,
        }
    };
    Ok(Architecture {
        sizes,
        embedding: Embedding { tokens: "gpt_neox.embed_in.weight".to_owned(), positions: None, scale: None },
        rotary: vec![rotary(json, head_dim)?],
        layers: (0..sizes.layers).map(layer).collect(),
        final_norm: layer_norm("gpt_neox.final_layer_norm".to_owned(), e, epsilon),
        head: Head { matrix: untied(json, false, "embed_out.weight")?, bias: None },
        encoder: None,
    })
}

fn rotary(json: ConfigJson<'_>, head_dim: i64) -> Result<Rotary, PolicyError> {
    let table = RotaryTable::of(json);
    let share = table.share(json.number_or("rotary_pct", 0.25)?)?;
    let base = json.number_or("rotary_emb_base", 10_000.0)?;
    table.rotary(json, (head_dim as f64 * share) as i64, base)
}
