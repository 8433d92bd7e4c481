//! `rltrain ckpt ls RUN`.

use std::path::PathBuf;

use clap::Args;
use rltrain_checkpoints::Manifest;
use serde_json::json;

use super::super::failure::Failure;
use super::super::print_line;
use super::super::run_folder::{readable_bytes, store};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Folder of the run, or of its checkpoints
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

/// Lists what manifests say; `verify` says whether it is true.
pub(in crate::cli) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let store = store(&arguments.run)?;
    let mut listed = Vec::new();
    for step in store.steps().map_err(Failure::world)? {
        let path = store.path_of(step);
        let found = Manifest::of(&path);
        if arguments.json {
            listed.push(match &found {
                Ok(manifest) => json!({
                    "step": step, "path": path, "blake3": manifest.blake3(), "files": manifest.files.len(),
                    "bytes": manifest.bytes(),
                }),
                Err(error) => json!({ "step": step, "path": path, "error": error.to_string() }),
            });
            continue;
        }
        print_line(match found {
            Ok(manifest) => format!(
                "step {step:>8}  {:>10}  {:>3} files  BLAKE3 {}  {}",
                readable_bytes(manifest.bytes()),
                manifest.files.len(),
                &manifest.blake3()[..16],
                path.display()
            ),
            Err(error) => format!("step {step:>8}  broken: {error}"),
        });
    }
    if arguments.json {
        print_line(json!(listed));
    }
    Ok(())
}
