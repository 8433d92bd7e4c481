//! CodeGen: a GPT-J that stores queries, values and keys in one matrix, in blocks (Nijkamp et al. 2022,
//! arXiv:2203.13474).

use super::super::architecture::Architecture;
use super::super::config_json::ConfigJson;
use super::super::error::PolicyError;
use super::super::projection::{Projection, RowOrder};
use super::gptj;

/// The processors that the original was trained on, which the order of rows still shows.
const BLOCKS: i64 = 4;

pub(super) fn read(json: ConfigJson<'_>) -> Result<Architecture, PolicyError> {
    if json.count("n_head")? % BLOCKS != 0 {
        return Err(json.unsupported("n_head"));
    }
    gptj::base(json, |prefix, e| {
        let mut qkv = Projection::single(prefix, "qkv_proj", 3 * e, e, false);
        qkv.order = RowOrder::CodeGen { blocks: BLOCKS };
        qkv
    })
}
