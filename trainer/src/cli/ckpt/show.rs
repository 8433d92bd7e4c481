//! `rltrain ckpt show CHECKPOINT`.

use std::path::PathBuf;

use clap::Args;
use rltrain_checkpoints::Manifest;
use serde_json::json;

use super::super::failure::Failure;
use super::super::print_line;
use super::super::run_folder::{checkpoint_folder, readable_bytes, unreadable};
use crate::session::Provenance;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// A checkpoint's folder, a run's folder (its newest checkpoint), or `RUN@STEP`
    #[arg(value_name = "CHECKPOINT")]
    checkpoint: PathBuf,
    /// Print everything as one JSON object
    #[arg(long)]
    json: bool,
}

/// Shows manifest and provenance.
pub(in crate::cli) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let folder = checkpoint_folder(&arguments.checkpoint)?;
    let manifest = Manifest::of(&folder).map_err(unreadable)?;
    let provenance = Provenance::in_folder(&folder, &manifest).map_err(unreadable)?;
    if arguments.json {
        print_line(json!({
            "path": folder, "step": manifest.step, "blake3": manifest.blake3(), "bytes": manifest.bytes(),
            "files": manifest.files, "provenance": provenance,
        }));
        return Ok(());
    }
    print_line(format_args!("{}", folder.display()));
    let row = |name: &str, value: &str| print_line(format_args!("{name:<16}{value}"));
    row("step", &manifest.step.to_string());
    row("BLAKE3", &manifest.blake3());
    row("size", &readable_bytes(manifest.bytes()));
    match provenance {
        None => row("provenance", "none: an older build wrote it"),
        Some(found) => {
            let around = &found.surroundings;
            let commit = around.commit.as_ref().map_or(String::new(), |commit| format!(", commit {commit}"));
            row("program", &format!("rltrain {}{commit}", around.rltrain));
            row("libtorch", &around.libtorch);
            row("device", &format!("{}, {} threads", around.device, around.threads));
            row("recipe", &found.recipe_blake3);
            row("start model", &found.start_model_blake3);
            row("tokenizer", &found.tokenizer_blake3);
            row("chat template", found.chat_template_blake3.as_deref().unwrap_or("none"));
            row("tasks.train", &found.train_tasks_blake3);
            row("tasks.heldout", &found.heldout_tasks_blake3);
        }
    }
    for (name, file) in &manifest.files {
        print_line(format_args!("  {:>10}  {}  {name}", readable_bytes(file.bytes), &file.blake3[..16]));
    }
    Ok(())
}
