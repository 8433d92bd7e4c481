//! The text part of Gemma 3: layers with a window between layers without, norms around both parts of a layer, a gate with
//! GELU (Gemma Team 2025, arXiv:2503.19786).

use super::super::architecture::Architecture;
use super::super::config_json::ConfigJson;
use super::super::error::PolicyError;
use super::super::norm::{Norm, NormFormula};
use super::super::rotary::{Rotary, RotaryTable};
use super::llama::{self, Defaults};
use super::qwen2::layer_types;

/// Places of the two rotary positions.
const FULL: usize = 0;
const SLIDING: usize = 1;

pub(super) fn read(json: ConfigJson<'_>) -> Result<Architecture, PolicyError> {
    json.refuse_any(&["attn_logit_softcapping", "final_logit_softcapping"])?;
    json.refuse_true(&["use_bidirectional_attention"])?;
    let defaults = Defaults {
        key_value_heads: Some(4),
        head_dim: Some(256),
        max_positions: 131_072,
        tied: true,
        activation_key: "hidden_activation",
        activation: "gelu_pytorch_tanh",
        ..Defaults::default()
    };
    let rotary = rotary(json, llama::head_dim(json, &defaults)?)?;
    let mut gemma = llama::with_rotary(json, &defaults, rotary)?;
    gemma.embedding.scale = Some((gemma.sizes.hidden_size as f64).sqrt());
    gemma.final_norm.formula = NormFormula::RootMeanSquarePlusOne;

    let scale = 1.0 / json.number_or("query_pre_attn_scalar", 256.0)?.sqrt();
    let bias = json.flag_or("attention_bias", false)?;
    let window = json.count_or("sliding_window", 4096)?;
    let sliding = sliding(json, gemma.layers.len())?;
    let (hidden_size, head_dim, epsilon) =
        (gemma.sizes.hidden_size, gemma.sizes.head_dim, gemma.final_norm.epsilon);
    for (index, (layer, sliding)) in gemma.layers.iter_mut().zip(sliding).enumerate() {
        let norm = |name: &str, width| Norm {
            name: format!("model.layers.{index}.{name}"),
            width,
            epsilon,
            formula: NormFormula::RootMeanSquarePlusOne,
            factor: None,
        };
        layer.input_norm = norm("input_layernorm", hidden_size);
        layer.feed_norm = Some(norm("pre_feedforward_layernorm", hidden_size));
        layer.output_norms = Some((
            norm("post_attention_layernorm", hidden_size),
            norm("post_feedforward_layernorm", hidden_size),
        ));
        let attention = &mut layer.attention;
        attention.query_and_key_norm =
            Some((norm("self_attn.q_norm", head_dim), norm("self_attn.k_norm", head_dim)));
        attention.scale = scale;
        attention.rotary = Some(if sliding { SLIDING } else { FULL });
        attention.window = sliding.then_some(window);
        attention.qkv.set_bias(bias);
        attention.output.set_bias(bias);
    }
    Ok(gemma)
}

/// Rotary positions of layers without and with a window. Up to transformers 4 the second ones had a base of their own and
/// no scaling.
fn rotary(json: ConfigJson<'_>, width: i64) -> Result<Vec<Rotary>, PolicyError> {
    let full_base = json.number_or("rope_theta", 1_000_000.0)?;
    let sliding_base = json.number_or("rope_local_base_freq", 10_000.0)?;
    let table = RotaryTable::of(json);
    let nested = json.table("rope_parameters").is_some();
    let full = if nested { table.inner("full_attention") } else { RotaryTable::of(json) };
    let full = full.rotary(json, width, full_base)?;
    let sliding = table.inner("sliding_attention").rotary(json, width, sliding_base)?;
    Ok(vec![full, sliding])
}

/// Whether each layer has a window: as `layer_types` says, else all but every sixth.
fn sliding(json: ConfigJson<'_>, layers: usize) -> Result<Vec<bool>, PolicyError> {
    if let Some(types) = layer_types(json, layers)? {
        return Ok(types);
    }
    let pattern = json.count_if_any("_sliding_window_pattern")?;
    let pattern = json.count_or("sliding_window_pattern", pattern.unwrap_or(6))?;
    Ok((1i64..).map(|number| number % pattern != 0).take(layers).collect())
}
