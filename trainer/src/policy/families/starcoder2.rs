//! StarCoder2: a Llama with layer norms, biases, no gate and a window (Lozhkov et al. 2024, arXiv:2402.19173).

use super::super::architecture::Architecture;
use super::super::config_json::ConfigJson;
use super::super::error::PolicyError;
use super::super::feed_forward::FeedForward;
use super::super::norm::NormFormula;
use super::super::projection::Projection;
use super::llama::{self, Defaults};

pub(super) fn read(json: ConfigJson<'_>) -> Result<Architecture, PolicyError> {
    let defaults = Defaults {
        key_value_heads: Some(2),
        max_positions: 4096,
        tied: true,
        epsilon_key: "norm_epsilon",
        epsilon: 1e-5,
        activation: "gelu_pytorch_tanh",
        ..Defaults::default()
    };
    let mut starcoder = llama::base(json, &defaults)?;
    let bias = json.flag_or("use_bias", true)?;
    let window = json.count_if_any("sliding_window")?;
    let (e, f) = (starcoder.sizes.hidden_size, json.count("intermediate_size")?);
    starcoder.final_norm.formula = NormFormula::Layer;
    for (index, layer) in starcoder.layers.iter_mut().enumerate() {
        for norm in std::iter::once(&mut layer.input_norm).chain(&mut layer.feed_norm) {
            norm.formula = NormFormula::Layer;
        }
        layer.attention.qkv.set_bias(bias);
        layer.attention.output.set_bias(bias);
        layer.attention.window = window;
        let prefix = format!("model.layers.{index}.mlp");
        layer.feed = FeedForward {
            up: Projection::single(&prefix, "c_fc", f, e, bias),
            gated: false,
            activation: layer.feed.activation,
            down: Projection::single(&prefix, "c_proj", e, f, bias),
        };
    }
    Ok(starcoder)
}
