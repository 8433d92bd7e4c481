//! GPT-BigCode, the family of StarCoder and SantaCoder: a GPT-2 whose query heads share one key-value head (Li et al.
//! 2023, arXiv:2305.06161).

use super::super::architecture::Architecture;
use super::super::config_json::ConfigJson;
use super::super::error::PolicyError;
use super::super::projection::RowOrder;
use super::gpt2;

pub(super) fn read(json: ConfigJson<'_>) -> Result<Architecture, PolicyError> {
    let (heads, multi_query) = (json.count("n_head")?, json.flag_or("multi_query", true)?);
    let mut gpt = gpt2::base(json, "gelu_pytorch_tanh", if multi_query { 1 } else { heads })?;
    if !multi_query {
        for layer in &mut gpt.layers {
            layer.attention.qkv.order = RowOrder::HeadByHead { heads };
        }
    }
    Ok(gpt)
}
