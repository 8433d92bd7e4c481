//! What an update read and did, step by step: enough to do it again without sampling, and to say where two runs part.
//!
//! `samples/step-N.record.gz` is JSON, compressed: the attempts as the actor handed them over, token by token with their
//! log-probabilities and verdicts, what learning made of them (advantages, masks), the metrics of the update, and a hash of every
//! gradient. It is a function of the recipe alone, as `metrics.jsonl` is.

mod difference;
mod hashes;
mod replay;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

pub use difference::{Parting, first_difference, part};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
pub use hashes::{Gradient, hashes};
pub use replay::{Compared, NotReplayed, Replay, replay};
use rltrain_checkpoints::replace_file;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::attempts::Attempts;
use crate::error::TrainError;
use crate::learn::LearnReport;
use crate::telemetry::Metrics;

/// Version of the files that this build writes and reads.
const FORMAT: u64 = 1;

/// How the names of these files end.
const SUFFIX: &str = ".record.gz";

/// One step.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Version of these keys.
    format: u64,
    /// The step, from 1.
    pub step: u64,
    /// Id of each group's task.
    pub tasks: Vec<String>,
    /// What was sampled, executed and scored.
    pub attempts: Attempts,
    /// What learning made of it.
    pub learnt: Learnt,
    /// The metrics of the update, by their names in `metrics.jsonl`; `null` for what is no number.
    pub metrics: Vec<(String, Option<f64>)>,
}

/// As it is written, from what others own.
#[derive(Serialize)]
struct Written<'a> {
    format: u64,
    step: u64,
    tasks: Vec<String>,
    attempts: &'a Attempts,
    learnt: &'a Learnt,
    metrics: Vec<(String, Option<f64>)>,
}

/// What learning made of a step's attempts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learnt {
    /// The numbers of each trained token, if there was anything to learn from.
    pub columns: Option<Columns>,
    /// The gradients of each optimizer step that was applied, before clipping.
    pub gradients: Vec<Gradient>,
}

/// Flat columns over the attempts that have a reward and are learnt from, as a batch holds them; numbers are the bits of an f32.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// Tokens of each attempt.
    pub lengths: Vec<usize>,
    /// Whether it has no place in the loss.
    pub excluded: Vec<bool>,
    /// Advantages.
    pub advantages: Vec<u32>,
    /// What ratios compare with, where that is not what was recorded at sampling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Vec<u32>>,
    /// Log-probabilities under the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Vec<u32>>,
    /// Tokens that the policy loss keeps; all, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Vec<u32>>,
}

/// A file that cannot be used.
#[derive(Debug, Error)]
pub enum RecordError {
    /// There is none of this step.
    #[error("`{}` is not there; records are kept of the newest `telemetry.record` steps", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It is damaged, or of another version.
    #[error("`{}` is not what this version of rltrain wrote: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// The numbers of the update among a step's metrics.
pub fn update_metrics(learnt: &LearnReport) -> Vec<(String, Option<f64>)> {
    let mut metrics = Metrics::new();
    crate::step_metrics::add_update(&mut metrics, learnt);
    metrics
        .iter()
        .map(|(name, value)| (name.to_owned(), Some(value).filter(|value| value.is_finite())))
        .collect()
}

/// The file of one step in the run folder `run`.
pub fn record_file(run: &Path, step: u64) -> PathBuf {
    run.join("samples").join(format!("step-{step:08}{SUFFIX}"))
}

/// Steps that the run folder `run` has a record of, ascending; none if there is no such folder.
pub fn recorded_steps(run: &Path) -> Vec<u64> {
    let step =
        |path: &Path| path.file_name()?.to_str()?.strip_prefix("step-")?.strip_suffix(SUFFIX)?.parse().ok();
    let entries = std::fs::read_dir(run.join("samples")).into_iter().flatten().flatten();
    let mut steps: Vec<u64> = entries.filter_map(|entry| step(&entry.path())).collect();
    steps.sort_unstable();
    steps
}

/// Writes the record of step `step`, which replaces that of `keep` steps before; it is on the disk when this returns. Nothing is
/// written where nothing is kept.
///
/// # Errors
///
/// If the disk refuses.
pub fn write_record(
    run: &Path,
    (step, keep): (u64, u64),
    tasks: Vec<String>,
    attempts: &Attempts,
    report: &LearnReport,
) -> Result<(), TrainError> {
    if keep == 0 {
        return Ok(());
    }
    let metrics = update_metrics(report);
    let written = Written { format: FORMAT, step, tasks, attempts, learnt: &report.recorded, metrics };
    let path = record_file(run, step);
    let mut compressed = GzEncoder::new(Vec::new(), Compression::fast());
    serde_json::to_writer(&mut compressed, &written)
        .map_err(|source| TrainError::Json { path: path.clone(), source })?;
    compressed.flush()?;
    replace_file(&path, &compressed.finish()?)?;
    let old = step.checked_sub(keep).filter(|old| *old > 0).map(|old| record_file(run, old));
    match old.map(fs_err::remove_file) {
        Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// The record of step `step` of the run in `run`.
///
/// # Errors
///
/// If there is none, or it is damaged or of another version.
pub fn read_record(run: &Path, step: u64) -> Result<Record, RecordError> {
    let path = record_file(run, step);
    let compressed = std::fs::read(&path).map_err(|_| RecordError::Missing { path: path.clone() })?;
    let damaged = |why: String| RecordError::Damaged { path: path.clone(), why };
    let mut text = Vec::new();
    GzDecoder::new(&compressed[..]).read_to_end(&mut text).map_err(|error| damaged(error.to_string()))?;
    #[derive(Deserialize)]
    struct Version {
        format: u64,
    }
    let Version { format } = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    if format != FORMAT {
        return Err(damaged(format!("its format is {format}, wanted {FORMAT}")));
    }
    serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))
}
