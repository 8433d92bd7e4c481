//! Qwen3: a Llama that normalises every query and key before they turn (Yang et al. 2025, arXiv:2505.09388).

use super::super::architecture::Architecture;
use super::super::config_json::ConfigJson;
use super::super::error::PolicyError;
use super::llama::{self, Defaults, rms_norm};
use super::qwen2;

pub(super) fn read(json: ConfigJson<'_>) -> Result<Architecture, PolicyError> {
    let defaults = Defaults {
        key_value_heads: Some(32),
        head_dim: Some(128),
        max_positions: 32_768,
        ..Defaults::default()
    };
    let mut qwen = llama::base(json, &defaults)?;
    let windows = qwen2::windows(json, qwen.layers.len(), 28)?;
    let bias = json.flag_or("attention_bias", false)?;
    let (width, epsilon) = (qwen.sizes.head_dim, qwen.final_norm.epsilon);
    for (index, (layer, window)) in qwen.layers.iter_mut().zip(windows).enumerate() {
        let norm = |name| rms_norm(format!("model.layers.{index}.self_attn.{name}"), width, epsilon);
        layer.attention.query_and_key_norm = Some((norm("q_norm"), norm("k_norm")));
        layer.attention.qkv.set_bias(bias);
        layer.attention.output.set_bias(bias);
        layer.attention.window = window;
    }
    Ok(qwen)
}
