//! Where a checkpoint comes from: what `provenance.json` says, in a checkpoint and in a run folder.
//!
//! That of a checkpoint is a function of recipe, files and machine: it has neither a time nor a process, and its paths are as seen
//! from the run folder, so that a run that was killed and resumed ends with the same bytes as one that was not. Who started what,
//! when, and what had changed, is in that of the run folder.

use std::path::{Path, PathBuf};

use fs_err as fs;
use rltrain_checkpoints::{Checkpoint, Manifest, Owner, ReadError, replace_file};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::policy::Policy;
use crate::recipe::{Difference, Drift, Recipe};
use crate::tasks::TaskSet;

/// Name of both files.
pub const PROVENANCE: &str = "provenance.json";

/// Version of a checkpoint's file that this build writes and reads.
const FORMAT: u64 = 1;

/// Version of a run folder's file that this build writes and reads.
const RECORD_FORMAT: u64 = 1;

/// The program and what it ran on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Surroundings {
    /// Version of rltrain.
    pub rltrain: String,
    /// The commit that it was built from, where whoever built it said so: `RLTRAIN_COMMIT`.
    pub commit: Option<String>,
    /// Version of libtorch, `unknown` where its folder does not say.
    pub libtorch: String,
    /// Where the model is, such as `cpu` or `cuda:0`.
    pub device: String,
    /// Threads that libtorch computes with.
    pub threads: i64,
}

impl Surroundings {
    /// Those of this process, for a policy that is loaded.
    fn here(policy: &Policy) -> Surroundings {
        Surroundings {
            rltrain: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("RLTRAIN_COMMIT").map(str::to_owned),
            libtorch: libtorch_version().unwrap_or_else(|| "unknown".to_owned()),
            device: match policy.weights.device() {
                tch::Device::Cuda(index) => format!("cuda:{index}"),
                device => format!("{device:?}").to_lowercase(),
            },
            threads: i64::from(tch::get_num_threads()),
        }
    }
}

/// The version that the folder of the loaded libtorch names: `build-version` in a distribution for C++, `version.py` in PyTorch's.
pub fn libtorch_version() -> Option<String> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let library = maps.lines().find_map(|line| {
        let path = line.get(line.find('/')?..)?;
        path.ends_with("/libtorch_cpu.so").then_some(Path::new(path))
    })?;
    let root = library.parent()?.parent()?;
    if let Ok(text) = fs::read_to_string(root.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    let text = fs::read_to_string(root.join("version.py")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("__version__ = "))?;
    Some(line.trim_matches(['\'', '"']).to_owned())
}

/// `provenance.json` of a checkpoint. Hashes are BLAKE3, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Version of this file's keys.
    pub(super) format: u64,
    /// The program that wrote it, and what it ran on.
    pub surroundings: Surroundings,
    /// [`Recipe::hash`]: names the experiment.
    pub recipe_blake3: String,
    /// The resolved recipe; its paths are as seen from the run folder. Not a [`Recipe`], so that one of a version that knew other
    /// keys can be read.
    pub recipe: serde_json::Value,
    /// The task files.
    pub train_tasks_blake3: String,
    /// See there.
    pub heldout_tasks_blake3: String,
    /// `tokenizer.json`.
    pub tokenizer_blake3: String,
    /// The chat template; `null` where the model has none.
    pub chat_template_blake3: Option<String>,
    /// What training started from: `config.json` and the files of weights in `model.path`.
    pub start_model_blake3: String,
}

impl Provenance {
    /// That of a run of `recipe` that starts, or goes on from a checkpoint with provenance `known`. The model that training started
    /// from is only hashed where its weights are read.
    ///
    /// # Errors
    ///
    /// If a file of the model cannot be read.
    pub(super) fn here(
        recipe: &Recipe,
        policy: &Policy,
        [tasks, heldout]: [&TaskSet; 2],
        known: Option<&Provenance>,
    ) -> Result<Provenance, TrainError> {
        let reads_start = recipe.model.lora.is_some() || recipe.algorithm.needs_reference();
        let start_model_blake3 = match known {
            Some(known) if !reads_start => known.start_model_blake3.clone(),
            _ => model_hash(&recipe.model.path)?,
        };
        Ok(Provenance {
            format: FORMAT,
            surroundings: Surroundings::here(policy),
            recipe_blake3: recipe.hash(),
            recipe: serde_json::to_value(recipe.seen_from_run())
                .expect("numbers, texts and tables have a JSON form"),
            train_tasks_blake3: tasks.blake3().to_owned(),
            heldout_tasks_blake3: heldout.blake3().to_owned(),
            tokenizer_blake3: policy.tokenizer.blake3.clone(),
            chat_template_blake3: policy.tokenizer.template_blake3.clone(),
            start_model_blake3,
        })
    }

    /// What `checkpoint` holds; nothing if it is of a build that wrote none.
    ///
    /// # Errors
    ///
    /// If the file is damaged or of another version.
    pub fn of(checkpoint: &Checkpoint) -> Result<Option<Provenance>, ReadError> {
        Provenance::in_folder(checkpoint.path(), checkpoint.manifest())
    }

    /// [`Provenance::of`] the checkpoint in `folder`, whose files may be damaged.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn in_folder(folder: &Path, manifest: &Manifest) -> Result<Option<Provenance>, ReadError> {
        let path = folder.join(PROVENANCE);
        if !manifest.files.contains_key(PROVENANCE) {
            return Ok(None);
        }
        read_versioned(&path, FORMAT).map(Some)
    }

    /// What differs from where the checkpoint of `earlier` comes from, the recipe left out, and what that does to a run that goes
    /// on. `recipe` says where the files are.
    pub(super) fn drift_from(&self, earlier: &Provenance, recipe: &Recipe) -> Vec<Drift> {
        let in_file = |hash: &str, path: &Path| format!("{hash} in `{}`", path.display());
        let model = &recipe.model.path;
        let none = || "none".to_owned();
        let template = |of: &Provenance| of.chat_template_blake3.clone().unwrap_or_else(none);
        let compared = [
            (
                "tasks.train",
                &earlier.train_tasks_blake3,
                in_file(&self.train_tasks_blake3, &recipe.tasks.train),
            ),
            (
                "tasks.heldout",
                &earlier.heldout_tasks_blake3,
                in_file(&self.heldout_tasks_blake3, &recipe.tasks.heldout),
            ),
            ("tokenizer", &earlier.tokenizer_blake3, in_file(&self.tokenizer_blake3, model)),
            ("chat_template", &template(earlier), in_file(&template(self), model)),
            ("model", &earlier.start_model_blake3, in_file(&self.start_model_blake3, model)),
        ];
        let broken = compared.into_iter().filter(|(_, old, new)| !new.starts_with(old.as_str()));
        let broken = broken.map(|(key, old, new)| drifted(key, old, &new, Some(why(key))));
        let (old, new) = (&earlier.surroundings, &self.surroundings);
        let commit = |of: &Surroundings| of.commit.clone().unwrap_or_else(none);
        let told = [
            ("rltrain", old.rltrain.clone(), new.rltrain.clone()),
            ("commit", commit(old), commit(new)),
            ("libtorch", old.libtorch.clone(), new.libtorch.clone()),
            ("device", old.device.clone(), new.device.clone()),
            ("threads", old.threads.to_string(), new.threads.to_string()),
        ];
        let told = told.into_iter().filter(|(_, old, new)| old != new);
        broken.chain(told.map(|(key, old, new)| drifted(key, &old, &new, None))).collect()
    }
}

fn drifted(key: &str, old: &str, new: &str, breaks: Option<&str>) -> Drift {
    let difference = Difference { key: key.to_owned(), old: Some(old.to_owned()), new: Some(new.to_owned()) };
    let why = breaks.unwrap_or("the same steps up to rounding, but not bit for bit").to_owned();
    Drift { difference, breaks: breaks.is_some(), why }
}

/// Why other content breaks continuity.
fn why(key: &str) -> &'static str {
    match key {
        "tasks.train" => "other tasks would be drawn",
        "tasks.heldout" => "evaluations before and after could not be compared",
        "tokenizer" => "the same tokens would be other texts",
        "chat_template" => "tasks would be put otherwise",
        _ => "adapters, or the divergence from the start, would be of another model",
    }
}

/// BLAKE3 over the names and hashes of `config.json` and the files of weights in `folder`, in the order of names.
///
/// # Errors
///
/// If one cannot be read.
pub(crate) fn model_hash(folder: &Path) -> Result<String, TrainError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_weights = name.starts_with("model") && name.contains(".safetensors");
        names.extend((is_weights || name == "config.json").then_some(name));
    }
    names.sort_unstable();
    let mut all = blake3::Hasher::new();
    for name in names {
        let mut hasher = blake3::Hasher::new();
        // Gigabytes are read by all processors, and not copied.
        hasher.update_mmap_rayon(folder.join(&name))?;
        all.update(format!("{name} {}\n", hasher.finalize().to_hex()).as_bytes());
    }
    Ok(all.finalize().to_hex().to_string())
}

/// `provenance.json` of a run folder: every start of the run, and what it was forked from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// Version of this file's keys.
    format: u64,
    /// Where the run comes from, if it is a fork.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ForkedFrom>,
    /// Every start and resumption, the last one last.
    pub starts: Vec<StartRecord>,
}

/// What a run is a fork of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForkedFrom {
    /// Folder of the other run.
    pub run: PathBuf,
    /// Step of the checkpoint.
    pub step: u64,
    /// [`Checkpoint::blake3`] of the checkpoint.
    pub checkpoint_blake3: String,
    /// Keys that differ from the other run's recipe.
    pub changed: Vec<Difference>,
}

/// One start of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartRecord {
    /// When, in seconds since 1970.
    pub time: u64,
    /// The process.
    pub by: Owner,
    /// Steps that were done.
    pub step: u64,
    /// [`Checkpoint::blake3`] of what it went on from; absent at the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_blake3: Option<String>,
    /// [`Recipe::hash`].
    pub recipe_blake3: String,
    /// The program and what it ran on.
    pub surroundings: Surroundings,
    /// What had changed; what breaks continuity was permitted by `--allow-drift`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Drift>,
    /// What the recipe was made of, the file first, then those that it extends, then what the command line set. Absent if it was one
    /// file, so that older programs read what they can go on from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
}

impl RunRecord {
    /// That of the run in `folder`; an empty one if there is none yet.
    ///
    /// # Errors
    ///
    /// If the file is damaged or of another version.
    pub fn of(folder: &Path) -> Result<RunRecord, ReadError> {
        let path = folder.join(PROVENANCE);
        if path.exists() { read_versioned(&path, RECORD_FORMAT) } else { Ok(RunRecord::new(None)) }
    }

    /// One without a start.
    pub fn new(forked_from: Option<ForkedFrom>) -> RunRecord {
        RunRecord { format: RECORD_FORMAT, forked_from, starts: Vec::new() }
    }

    /// Keys that the fork was given other values for, while the run has no checkpoint of its own.
    pub(super) fn forked_keys(&self, checkpoint: &Checkpoint) -> Vec<String> {
        let fork = self.forked_from.iter().filter(|fork| fork.checkpoint_blake3 == checkpoint.blake3());
        fork.flat_map(|fork| &fork.changed).map(|difference| difference.key.clone()).collect()
    }

    /// Writes it into the run's `folder`.
    ///
    /// # Errors
    ///
    /// If the disk refuses; the file then keeps its content.
    pub fn save(&self, folder: &Path) -> std::io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        replace_file(&folder.join(PROVENANCE), &text)
    }
}

/// A JSON file whose keys are those of version `wanted`.
fn read_versioned<T: serde::de::DeserializeOwned>(path: &Path, wanted: u64) -> Result<T, ReadError> {
    let json = |source| ReadError::Json { path: path.to_owned(), source };
    let bytes = fs::read(path)?;
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(json)?;
    match value.get("format").and_then(serde_json::Value::as_u64) {
        Some(found) if found != wanted => Err(ReadError::Format { path: path.to_owned(), found, wanted }),
        _ => serde_json::from_slice(&bytes).map_err(json),
    }
}
