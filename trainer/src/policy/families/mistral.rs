//! Mistral: a Llama whose tokens see a sliding window (Jiang et al. 2023, arXiv:2310.06825).

use super::super::architecture::Architecture;
use super::super::config_json::ConfigJson;
use super::super::error::PolicyError;
use super::llama::{self, Defaults};

pub(super) fn read(json: ConfigJson<'_>) -> Result<Architecture, PolicyError> {
    // Ministral's alternating layers are another family, which transformers refuses to read as this one.
    json.refuse_any(&["layer_types"])?;
    let defaults = Defaults { key_value_heads: Some(8), max_positions: 4096 * 32, ..Defaults::default() };
    let mut mistral = llama::base(json, &defaults)?;
    // `null` turns the window off, while an absent key means the first model's.
    let window = match json.0.get("sliding_window") {
        None => Some(4096),
        Some(_) => json.count_if_any("sliding_window")?,
    };
    for layer in &mut mistral.layers {
        layer.attention.window = window;
    }
    Ok(mistral)
}
