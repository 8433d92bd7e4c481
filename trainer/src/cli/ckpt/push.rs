//! `rltrain ckpt push RUN[@STEP] URL`.

use std::path::PathBuf;

use clap::Args;
use rltrain_checkpoints::{Manifest, Remote};
use serde_json::json;

use super::super::failure::Failure;
use super::super::print_line;
use super::super::run_folder::{checkpoint_folder, readable_bytes, unreadable, unusable};
use crate::session::{self, RECIPE};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// A run's folder (its newest checkpoint), `RUN@STEP`, or a checkpoint's folder
    #[arg(value_name = "CHECKPOINT")]
    checkpoint: PathBuf,
    /// Folder in a store: `s3://BUCKET/PATH`, `gs://…`, `az://…`, `https://…`, or a folder of this machine
    #[arg(value_name = "URL")]
    url: String,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Copies a checkpoint into a store, with what its run has told so far.
pub(in crate::cli) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let url = &arguments.url;
    let remote = Remote::open(url).map_err(unusable)?;
    let folder = checkpoint_folder(&arguments.checkpoint)?;
    let manifest = Manifest::of(&folder).map_err(unreadable)?;
    let folder = std::path::absolute(folder).map_err(Failure::world)?;
    let run = folder.ancestors().nth(2).filter(|run| run.join(RECIPE).is_file());
    let sent = session::push(&remote, &folder, &manifest, run).map_err(unusable)?;
    let (step, hash) = (manifest.step, manifest.blake3());
    if arguments.json {
        print_line(
            json!({ "step": step, "blake3": hash, "bytes": manifest.bytes(), "url": url, "sent": sent }),
        );
    } else if sent {
        let (files, bytes) = (manifest.files.len(), readable_bytes(manifest.bytes()));
        print_line(format_args!("sent step {step} to {url}: {files} files, {bytes}, BLAKE3 {hash}"));
    } else {
        print_line(format_args!("step {step} is in {url} already (BLAKE3 {hash})"));
    }
    Ok(())
}
