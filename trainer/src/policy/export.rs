//! Policies and adapters as folders for other programs.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use rltrain_checkpoints::{WriteError, read_safetensors, replace_file, write_safetensors};
use serde_json::{Value, json};
use tch::Kind;

use super::HostView;
use super::Policy;
use super::adapter::Adapter;
use super::adapter_files::{ADAPTER_CONFIG, ADAPTER_WEIGHTS};
use super::error::PolicyError;
use super::saving::ADAPTER;
use super::weights::{load_tensor, read_json};

/// Keys of `config.json` that say in which dtype the weights come: today's, and that of transformers 4.
const DTYPE_KEYS: [&str; 2] = ["dtype", "torch_dtype"];

impl Policy {
    /// [`Policy::export`] with every tensor in `kind`, and a `config.json` that says so; as they came where that is `None`.
    ///
    /// # Errors
    ///
    /// As [`Policy::export`].
    pub fn export_as(
        &self,
        folder: &Path,
        max_shard_bytes: u64,
        kind: Option<Kind>,
    ) -> Result<(), WriteError> {
        self.export_in(folder, max_shard_bytes, kind)?;
        let Some(kind) = kind else { return Ok(()) };
        let path = folder.join("config.json");
        let bytes = fs_err::read(&path)?;
        let json = |source| WriteError::Json { name: "config.json".to_owned(), source };
        let mut config: Value = serde_json::from_slice(&bytes).map_err(json)?;
        let name = if kind == Kind::BFloat16 { "bfloat16" } else { "float32" };
        let known: Vec<&str> = DTYPE_KEYS.into_iter().filter(|key| config.get(key).is_some()).collect();
        for key in if known.is_empty() { vec![DTYPE_KEYS[0]] } else { known } {
            config[key] = json!(name);
        }
        let text = serde_json::to_vec_pretty(&config).map_err(json)?;
        Ok(replace_file(&path, &text)?)
    }
}

impl Adapter {
    /// Where a checkpoint in `folder` has its adapter; none if it has a whole model.
    pub fn folder_in(folder: &Path) -> Option<PathBuf> {
        Some(folder.join(ADAPTER)).filter(|adapter| adapter.is_dir())
    }
}

/// Copies the adapter in `from` into `folder`, its tensors in `kind`, or as they are; returns how many numbers it has.
///
/// # Errors
///
/// If a file is damaged, the folder has anything in it, or the disk refuses.
pub fn export_adapter(from: &Path, folder: &Path, kind: Option<Kind>) -> Result<usize, PolicyError> {
    let write = |source: io::Error| PolicyError::Read { path: folder.to_owned(), source };
    let config = read_json(&from.join(ADAPTER_CONFIG))?;
    let reader = read_safetensors(&from.join(ADAPTER_WEIGHTS))?;
    std::fs::create_dir_all(folder).map_err(write)?;
    if std::fs::read_dir(folder).map_err(write)?.next().is_some() {
        return Err(write(io::Error::new(io::ErrorKind::DirectoryNotEmpty, "the folder is not empty")));
    }
    let (mut tensors, mut numbers) = (Vec::new(), 0);
    for name in reader.names() {
        let shape: Vec<i64> =
            reader.info(&name).iter().flat_map(|info| &info.shape).map(|n| *n as i64).collect();
        let tensor = load_tensor(&reader, &name, &shape)?;
        numbers += tensor.numel();
        tensors.push((name, HostView::in_kind(&tensor, kind.unwrap_or(Kind::Float))));
    }
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let failed = |error: WriteError| write(io::Error::other(error));
    write_safetensors(&folder.join(ADAPTER_WEIGHTS), tensors, &metadata).map_err(failed)?;
    let mut text = serde_json::to_vec_pretty(&config).map_err(io::Error::from).map_err(write)?;
    text.push(b'\n');
    replace_file(&folder.join(ADAPTER_CONFIG), &text).map_err(write)?;
    Ok(numbers)
}
