//! Adapters in PEFT's layout: `adapter_config.json` and `adapter_model.safetensors`.

use std::num::NonZeroUsize;
use std::path::Path;

use rltrain_checkpoints::read_safetensors;
use serde_json::{Value, json};
use tch::Device;

use super::adapter::{Adapter, last, peft_name};
use super::architecture::Architecture;
use super::config::LoraConfig;
use super::config_json::ConfigJson;
use super::error::PolicyError;
use super::weights::{load_tensor, read_json};

/// Name of the adapter's description.
pub(super) const ADAPTER_CONFIG: &str = "adapter_config.json";

/// Name of the adapter's tensors.
pub(super) const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

/// Keys that ask for more than `W + scale B A`; PEFT writes each as `null`, `false` or empty where it is not used.
const REFUSED: [&str; 16] = [
    "use_dora",
    "rank_pattern",
    "alpha_pattern",
    "modules_to_save",
    "layers_to_transform",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "alora_invocation_tokens",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "velora_config",
    "monteclora_config",
    "arrow_config",
    "kasa_config",
];

impl Adapter {
    /// Reads a folder that PEFT, or a checkpoint of ours, wrote.
    ///
    /// # Errors
    ///
    /// If a file is missing or damaged, the adapter is of another kind, or does not fit the network.
    pub fn load(folder: &Path, architecture: &Architecture, device: Device) -> Result<Adapter, PolicyError> {
        let reader = read_safetensors(&folder.join(ADAPTER_WEIGHTS))?;
        let names = reader.names();
        let config = config_of(folder, &names)?;
        let rank = config.rank.get() as i64;
        let adapter = Adapter::with(&config, architecture, |module, [rows, columns]| {
            let load = |factor, shape: [i64; 2]| load_tensor(&reader, &peft_name(module, factor), &shape);
            Ok((load('A', [rank, columns])?.to_device(device), load('B', [rows, rank])?.to_device(device)))
        })?;
        let known: Vec<String> = adapter.iter().map(|(name, _)| name).collect();
        match names.into_iter().find(|name| !known.contains(name)) {
            Some(found) => Err(PolicyError::UnknownTensor { path: folder.join(ADAPTER_WEIGHTS), found }),
            None => Ok(adapter),
        }
    }

    /// What the adapters in `folder` are, without their numbers.
    ///
    /// # Errors
    ///
    /// If a file is missing or damaged, or the adapter is of another kind.
    pub fn config_in(folder: &Path) -> Result<LoraConfig, PolicyError> {
        config_of(folder, &read_safetensors(&folder.join(ADAPTER_WEIGHTS))?.names())
    }

    /// `adapter_config.json` as PEFT reads it; `base` is where the adapted model is, `has_encoder` whether it reads prompts apart.
    pub fn peft_config(&self, base: &Path, has_encoder: bool) -> Value {
        let LoraConfig { rank, alpha, rank_stabilised, dropout, .. } = self.config;
        let mut targets: Vec<&str> = self.factors.keys().map(|module| last(module)).collect();
        targets.sort_unstable();
        targets.dedup();
        json!({
            "peft_type": "LORA",
            "task_type": if has_encoder { "SEQ_2_SEQ_LM" } else { "CAUSAL_LM" },
            "base_model_name_or_path": base.display().to_string(),
            "inference_mode": true,
            "r": rank,
            "lora_alpha": alpha,
            "lora_dropout": dropout,
            "use_rslora": rank_stabilised,
            "target_modules": targets,
            "bias": "none",
            "fan_in_fan_out": self.factors.values().any(|factors| factors.transposed),
        })
    }
}

/// What `adapter_config.json` says. `target_modules` may be a pattern; the tensors' `names` say what it came to.
fn config_of(folder: &Path, names: &[String]) -> Result<LoraConfig, PolicyError> {
    let json = read_json(&folder.join(ADAPTER_CONFIG))?;
    let mut config = read_config(ConfigJson(&json)).map_err(|error| error.of_file(ADAPTER_CONFIG))?;
    let modules = names.iter().filter_map(|name| name.strip_suffix(".lora_A.weight"));
    config.targets = modules.map(|module| last(module).to_owned()).collect();
    config.targets.sort_unstable();
    config.targets.dedup();
    Ok(config)
}

fn read_config(json: ConfigJson<'_>) -> Result<LoraConfig, PolicyError> {
    if json.text_or("peft_type", "")? != "LORA" {
        return Err(json.unsupported("peft_type"));
    }
    if json.text_or("bias", "none")? != "none" {
        return Err(json.unsupported("bias"));
    }
    let unused = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    };
    if let Some(key) = REFUSED.into_iter().find(|key| !unused(&json.0[*key])) {
        return Err(json.unsupported(key));
    }
    let rank = json.count("r")?;
    Ok(LoraConfig {
        path: None,
        rank: NonZeroUsize::new(rank as usize).expect("a count is above 0"),
        alpha: json.number("lora_alpha")?,
        rank_stabilised: json.flag_or("use_rslora", false)?,
        dropout: json.number_or("lora_dropout", 0.0)?,
        targets: Vec::new(),
    })
}
