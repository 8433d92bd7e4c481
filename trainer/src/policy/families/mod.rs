//! Model families, one file each: what a `config.json` of the family says, as an [`Architecture`].
//!
//! Names of keys and tensors, defaults of absent keys and the meaning of both are transformers'. Adding a family means a
//! file here, a line in [`FAMILIES`], and a folder of transformers' numbers under `tests/golden/architectures`.

mod codegen;
mod gemma3;
mod gpt2;
mod gpt_bigcode;
mod gpt_neox;
mod gptj;
mod llama;
mod mistral;
mod qwen2;
mod qwen3;
mod starcoder2;
mod t5;

use super::architecture::{Architecture, Sizes};
use super::config_json::{CONFIG, ConfigJson};
use super::error::PolicyError;
use super::norm::{Norm, NormFormula};

type Reader = fn(ConfigJson<'_>) -> Result<Architecture, PolicyError>;

/// Every family by its `model_type`.
const FAMILIES: [(&str, Reader); 12] = [
    ("codegen", codegen::read),
    ("gemma3_text", gemma3::read),
    ("gpt2", gpt2::read),
    ("gpt_bigcode", gpt_bigcode::read),
    ("gpt_neox", gpt_neox::read),
    ("gptj", gptj::read),
    ("llama", llama::read),
    ("mistral", mistral::read),
    ("qwen2", qwen2::read),
    ("qwen3", qwen3::read),
    ("starcoder2", starcoder2::read),
    ("t5", t5::read),
];

/// Reads the configuration of any family.
pub(super) fn read(json: ConfigJson<'_>) -> Result<Architecture, PolicyError> {
    let found = json.text_or("model_type", "")?;
    let Some((_, reader)) = FAMILIES.iter().find(|(name, _)| *name == found) else {
        let names: Vec<String> = FAMILIES.iter().map(|(name, _)| format!("`{name}`")).collect();
        return Err(PolicyError::Family { found: found.to_owned(), wanted: names.join(", ") });
    };
    json.refuse_any(&["quantization_config"])?;
    let architecture = reader(json)?;
    let Sizes { key_value_heads, head_dim, .. } = architecture.sizes;
    for layer in &architecture.layers {
        if layer.attention.heads % key_value_heads != 0 {
            return Err(json.unsupported("num_key_value_heads"));
        }
    }
    match architecture.rotary.iter().find(|rotary| rotary.width > head_dim) {
        Some(rotary) => Err(PolicyError::Unsupported {
            file: CONFIG,
            key: format!("rotary dimensions of a head of width {head_dim}"),
            found: rotary.width.to_string(),
        }),
        None => Ok(architecture),
    }
}

/// Width of the heads of a family that cuts the hidden width evenly.
fn even_heads(json: ConfigJson<'_>, hidden_key: &str, heads_key: &str) -> Result<i64, PolicyError> {
    let (hidden, heads) = (json.count(hidden_key)?, json.count(heads_key)?);
    if hidden % heads == 0 { Ok(hidden / heads) } else { Err(json.unsupported(heads_key)) }
}

/// The name of an output matrix of its own, unless the configuration ties it to the embedding.
fn untied(json: ConfigJson<'_>, default: bool, name: &str) -> Result<Option<String>, PolicyError> {
    Ok((!json.flag_or("tie_word_embeddings", default)?).then(|| name.to_owned()))
}

/// A layer norm with bias.
fn layer_norm(name: String, width: i64, epsilon: f64) -> Norm {
    Norm { name, width, epsilon, formula: NormFormula::Layer, factor: None }
}
