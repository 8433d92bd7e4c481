//! Qwen2 and Qwen2.5-Coder: a Llama with biases of queries, keys and values (Yang et al. 2024, arXiv:2407.10671).

use serde_json::Value;

use super::super::architecture::Architecture;
use super::super::config_json::ConfigJson;
use super::super::error::PolicyError;
use super::llama::{self, Defaults};

pub(super) fn read(json: ConfigJson<'_>) -> Result<Architecture, PolicyError> {
    let defaults = Defaults { key_value_heads: Some(32), max_positions: 32_768, ..Defaults::default() };
    let mut qwen = llama::base(json, &defaults)?;
    let windows = windows(json, qwen.layers.len(), 28)?;
    for (layer, window) in qwen.layers.iter_mut().zip(windows) {
        layer.attention.qkv.set_bias(true);
        layer.attention.window = window;
    }
    Ok(qwen)
}

/// The window of every layer: as `layer_types` says, else from layer `max_window_layers` on; none unless
/// `use_sliding_window`.
pub(super) fn windows(
    json: ConfigJson<'_>,
    layers: usize,
    default_max: i64,
) -> Result<Vec<Option<i64>>, PolicyError> {
    let window = match json.flag_or("use_sliding_window", false)? {
        true => Some(json.count_or("sliding_window", 4096)?),
        false => None,
    };
    let Some(types) = layer_types(json, layers)? else {
        let first = json.count_or("max_window_layers", default_max)?;
        return Ok((0i64..).map(|layer| window.filter(|_| layer >= first)).take(layers).collect());
    };
    let of_type = |sliding| match (sliding, window) {
        (true, None) => Err(json.unsupported("layer_types")),
        (true, Some(window)) => Ok(Some(window)),
        (false, _) => Ok(None),
    };
    types.into_iter().map(of_type).collect()
}

/// Whether each layer has a window, as `layer_types` says.
pub(super) fn layer_types(json: ConfigJson<'_>, layers: usize) -> Result<Option<Vec<bool>>, PolicyError> {
    let Some(types) = json.value("layer_types") else { return Ok(None) };
    let sliding = |kind: &Value| match kind.as_str() {
        Some("full_attention") => Some(false),
        Some("sliding_attention") => Some(true),
        _ => None,
    };
    let sliding: Option<Vec<bool>> = types.as_array().and_then(|types| types.iter().map(sliding).collect());
    match sliding.filter(|sliding| sliding.len() == layers) {
        Some(sliding) => Ok(Some(sliding)),
        None => Err(json.unsupported("layer_types")),
    }
}
