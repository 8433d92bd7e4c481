//! A run as one HTML file that needs no network: `rltrain report RUN`.
//!
//! ```text
//! RUN/metrics.jsonl, timings.jsonl, evaluations.json, samples/ ─▶ Content ─▶ JSON, gzip, base64 ─▶ page
//! ```
//!
//! Everything that is drawn is counted here; the page's script only shows it. What a run of any length makes is bounded: series
//! are thinned to [`MOST_POINTS`] points, heat maps to [`MOST_BUCKETS`] columns, and programs to [`MOST_TEXT`] bytes, of which the
//! page says how many it leaves out.

mod advantages;
mod content;
mod page;
mod programs;
mod tallies;

use std::path::{Path, PathBuf};

pub use content::Content;
pub use page::page;
use rltrain_checkpoints::replace_file;
use thiserror::Error;

use crate::error::TrainError;
use crate::record::RecordError;
use crate::rescore::RescoreError;

/// Points of a curve.
pub const MOST_POINTS: usize = 1000;

/// Columns of a heat map, each of one step or several.
pub const MOST_BUCKETS: usize = 100;

/// Bytes of programs, completions and messages before they are compressed, which makes them four to six times smaller.
pub const MOST_TEXT: usize = 12 << 20;

/// Why there is no report.
#[derive(Debug, Error)]
pub enum ReportError {
    /// The folder is not a run's.
    #[error("`{}` is not the folder of a run: it has no recipe.toml", run.display())]
    NoRun {
        /// The folder.
        run: PathBuf,
    },
    /// A file of the run is damaged, or of another version.
    #[error(transparent)]
    Log(#[from] RescoreError),
    /// The record of a step is damaged, or of another version.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The evaluations are damaged, or of another version.
    #[error(transparent)]
    Evaluations(#[from] Box<TrainError>),
    /// The disk refuses.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Writes the report of the run in the folder `run` to `output`, as it is now. With `refresh`, an open page loads itself anew after so
/// many seconds.
///
/// # Errors
///
/// If `run` is no run's folder, a file of it is damaged, or `output` cannot be written.
pub fn write(run: &Path, output: &Path, refresh: Option<u64>) -> Result<(), ReportError> {
    let content = Content::read(run)?;
    Ok(replace_file(output, page(&content, refresh)?.as_bytes())?)
}

#[cfg(test)]
mod tests;
