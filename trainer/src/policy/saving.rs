//! What a checkpoint holds of the policy.
//!
//! ```text
//! model/                    the Hugging Face layout: transformers loads it. Weights have the dtype that they came in,
//!                           in shards with an index if they are many; tied ones appear once; every other file is
//!                           a copy of what the run started from, unknown keys of config.json included
//! master.safetensors        the f32 weights, where model/ holds them rounded: training goes on from these
//! adapter/                  PEFT's layout, in place of both others when an adapter is trained
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use rltrain_checkpoints::{Checkpoint, WriteError, replace_file, write_safetensors};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use super::adapter::Adapter;
use super::adapter_files::{ADAPTER_CONFIG, ADAPTER_WEIGHTS};
use super::error::PolicyError;
use super::host_view::HostView;
use super::weights::{Weights, load_tensor};
use super::{COMPANIONS, Policy};
use crate::snapshot::Files;

/// Folder of the model inside a checkpoint.
const MODEL: &str = "model";

/// Folder of the adapter inside a checkpoint.
pub(super) const ADAPTER: &str = "adapter";

/// The f32 weights inside a checkpoint.
const MASTER: &str = "master.safetensors";

/// Which shard holds which tensor.
const INDEX: &str = "model.safetensors.index.json";

/// Largest file of weights: what transformers 4 cuts at, and most file systems and stores bear.
pub const MAX_SHARD_BYTES: u64 = 5_000_000_000;

/// One file of weights.
pub struct Shard {
    /// Its name: `model.safetensors`, or `model-00001-of-00002.safetensors`.
    pub name: String,
    /// What it holds, in the order of names.
    pub tensors: Vec<(String, HostView)>,
}

/// The files of all weights, adapters merged, and their index if there are several files.
///
/// A shard is closed before the tensor that would make it larger than `max_shard_bytes`; a tensor larger than that has a
/// shard of its own.
pub fn shards(weights: &Weights, max_shard_bytes: u64) -> (Vec<Shard>, Option<Value>) {
    shards_in(weights, max_shard_bytes, None)
}

/// The same with every tensor in `kind`; in the dtype that it came in where that is `None`.
fn shards_in(weights: &Weights, max_shard_bytes: u64, kind: Option<Kind>) -> (Vec<Shard>, Option<Value>) {
    let mut groups: Vec<Vec<(String, HostView)>> = vec![Vec::new()];
    let (mut filled, mut total) = (0, 0);
    for (name, _) in weights.iter() {
        let tensor = tch::no_grad(|| weights.merged(name));
        let kind = kind.unwrap_or_else(|| weights.stored_kind(name));
        let bytes = (tensor.numel() * kind.elt_size_in_bytes()) as u64;
        if filled > 0 && filled + bytes > max_shard_bytes {
            groups.push(Vec::new());
            filled = 0;
        }
        filled += bytes;
        total += bytes;
        let group = groups.last_mut().expect("there is a group from the start");
        group.push((name.to_owned(), HostView::in_kind(&tensor, kind)));
    }
    let count = groups.len();
    let name = |number| match count {
        1 => "model.safetensors".to_owned(),
        _ => format!("model-{number:05}-of-{count:05}.safetensors"),
    };
    let shards: Vec<Shard> =
        (1..).zip(groups).map(|(number, tensors)| Shard { name: name(number), tensors }).collect();
    let places =
        shards.iter().flat_map(|shard| shard.tensors.iter().map(move |(name, _)| (name, &shard.name)));
    let places: BTreeMap<&String, &String> = places.collect();
    let index = json!({ "metadata": { "total_size": total }, "weight_map": places });
    (shards, (count > 1).then_some(index))
}

/// Weights by name in f32 where their folder holds them rounded.
fn masters(weights: &Weights) -> Vec<(String, HostView)> {
    let rounded = weights.iter().filter(|(name, _)| weights.stored_kind(name) != Kind::Float);
    rounded.map(|(name, tensor)| (name.to_owned(), HostView::new(tensor))).collect()
}

impl Policy {
    /// Adds what [`Policy::restore`] takes up again, in files of weights of at most `max_shard_bytes`.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn save(&self, files: &mut impl Files, max_shard_bytes: u64) -> Result<(), WriteError> {
        self.save_showing(&self.weights, files, max_shard_bytes)
    }

    /// As [`Policy::save`], with `weights` in the place of the policy's own.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn save_showing(
        &self,
        weights: &Weights,
        files: &mut impl Files,
        max_shard_bytes: u64,
    ) -> Result<(), WriteError> {
        if let Some(adapter) = weights.adapter() {
            return self.save_adapter(adapter, files);
        }
        self.save_model(weights, files, max_shard_bytes)?;
        let masters = masters(weights);
        if masters.is_empty() { Ok(()) } else { files.tensors(MASTER, masters, &BTreeMap::new()) }
    }

    fn save_model(
        &self,
        weights: &Weights,
        files: &mut impl Files,
        max_shard_bytes: u64,
    ) -> Result<(), WriteError> {
        for (name, content) in &self.companions {
            files.bytes(&format!("{MODEL}/{name}"), content.clone())?;
        }
        let (shards, index) = shards(weights, max_shard_bytes);
        for Shard { name, tensors } in shards {
            files.tensors(&format!("{MODEL}/{name}"), tensors, &made_by_torch())?;
        }
        match index {
            Some(index) => files.json(&format!("{MODEL}/{INDEX}"), &index),
            None => Ok(()),
        }
    }

    /// Writes a Hugging Face folder, an adapter merged into the weights, in files of weights of at most `max_shard_bytes`.
    ///
    /// # Errors
    ///
    /// If the folder has anything in it, or the disk refuses.
    pub fn export(&self, folder: &Path, max_shard_bytes: u64) -> Result<(), WriteError> {
        self.export_in(folder, max_shard_bytes, None)
    }

    /// [`Policy::export`] with every tensor in `kind`, if it is not `None`. `config.json` is as it came.
    pub(super) fn export_in(
        &self,
        folder: &Path,
        max_shard_bytes: u64,
        kind: Option<Kind>,
    ) -> Result<(), WriteError> {
        fs_err::create_dir_all(folder)?;
        if let Some(found) = fs_err::read_dir(folder)?.next().transpose()? {
            let found =
                format!("`{}` is not empty: it has `{}`", folder.display(), found.file_name().display());
            return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, found).into());
        }
        let (shards, index) = shards_in(&self.weights, max_shard_bytes, kind);
        for Shard { name, tensors } in shards {
            write_safetensors(&folder.join(name), tensors, &made_by_torch())?;
        }
        if let Some(index) = index {
            replace_file(&folder.join(INDEX), index.to_string().as_bytes())?;
        }
        // config.json is among these: a folder without it is one whose making did not end.
        for (name, content) in &self.companions {
            replace_file(&folder.join(name), content)?;
        }
        Ok(())
    }

    fn save_adapter(&self, adapter: &Adapter, files: &mut impl Files) -> Result<(), WriteError> {
        files.json(
            &format!("{ADAPTER}/{ADAPTER_CONFIG}"),
            &adapter.peft_config(&self.folder, self.architecture.sizes().has_encoder),
        )?;
        let factors = adapter.iter().map(|(name, tensor)| (name, HostView::new(tensor)));
        files.tensors(&format!("{ADAPTER}/{ADAPTER_WEIGHTS}"), factors, &made_by_torch())
    }

    /// Takes up what [`Policy::save`] wrote, after the policy was loaded: the adapter onto the model that the run started
    /// from, or the f32 weights onto the folder's.
    ///
    /// # Errors
    ///
    /// If a file is damaged or does not fit the network.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), PolicyError> {
        let device = self.weights.device();
        if self.weights.adapter().is_some() {
            let folder = checkpoint.path().join(ADAPTER);
            let adapter = Adapter::load(&folder, &self.architecture, device)?;
            self.weights.adapt(adapter);
            return Ok(());
        }
        let rounded: Vec<String> = masters(&self.weights).into_iter().map(|(name, _)| name).collect();
        if rounded.is_empty() {
            return Ok(());
        }
        let file = checkpoint.read_tensors(MASTER)?;
        let _no_gradient = tch::no_grad_guard();
        for name in rounded {
            let mut weight: Tensor = self.weights.get(&name).shallow_clone();
            weight.copy_(&load_tensor(&file, &name, &weight.size())?);
        }
        Ok(())
    }

    /// Where a checkpoint in `folder` has the model to load before [`Policy::restore`]; none if it only has an adapter.
    pub fn model_in(folder: &Path) -> Option<PathBuf> {
        Some(folder.join(MODEL)).filter(|model| model.is_dir())
    }
}

/// The files beside the weights that the model's folder has.
///
/// # Errors
///
/// If one is there and cannot be read.
pub(super) fn companions(folder: &Path) -> Result<Vec<(&'static str, Vec<u8>)>, PolicyError> {
    let there =
        COMPANIONS.into_iter().map(|name| (name, folder.join(name))).filter(|(_, path)| path.is_file());
    let read = |(name, path): (&'static str, PathBuf)| match std::fs::read(&path) {
        Ok(content) => Ok((name, content)),
        Err(source) => Err(PolicyError::Read { path, source }),
    };
    there.map(read).collect()
}

/// The metadata without which transformers refuses a file.
fn made_by_torch() -> BTreeMap<String, String> {
    BTreeMap::from([("format".to_owned(), "pt".to_owned())])
}
