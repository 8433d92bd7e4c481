//! `rltrain ckpt pull URL RUN`.

use std::path::PathBuf;

use clap::Args;
use rltrain_checkpoints::{Remote, RunLock};
use serde_json::json;

use super::super::failure::Failure;
use super::super::print_line;
use super::super::run_folder::{readable_bytes, unusable};
use crate::error::TrainError;
use crate::session::{self, RECIPE};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Folder in a store: `s3://BUCKET/PATH`, `gs://…`, `az://…`, `https://…`, or a folder of this machine
    #[arg(value_name = "URL")]
    url: String,
    /// Folder of a run, which is made if it is not there
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Which checkpoint; the newest one by default
    #[arg(long)]
    step: Option<u64>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Copies a checkpoint out of a store, and compares every file with its hash.
pub(in crate::cli) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (url, run) = (&arguments.url, &arguments.run);
    let remote = Remote::open(url).map_err(unusable)?;
    let manifest = remote.find(arguments.step).map_err(unusable)?;
    let _lock = RunLock::acquire(run).map_err(TrainError::from)?;
    let checkpoint = session::pull(&remote, &manifest, run).map_err(unusable)?;
    let (step, hash) = (checkpoint.step(), checkpoint.blake3());
    let path = checkpoint.path();
    if arguments.json {
        print_line(json!({ "step": step, "blake3": hash, "bytes": manifest.bytes(), "path": path }));
        return Ok(());
    }
    let (files, bytes) = (manifest.files.len(), readable_bytes(manifest.bytes()));
    let path = path.display();
    print_line(format_args!("fetched step {step} into {path}: {files} files, {bytes}, BLAKE3 {hash}"));
    if run.join(RECIPE).is_file() {
        print_line(format_args!("`rltrain resume {}` goes on", run.display()));
    }
    Ok(())
}
