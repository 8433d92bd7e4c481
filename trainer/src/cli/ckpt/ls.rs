//! `rltrain ckpt ls RUN|URL`.

use std::path::{Path, PathBuf};

use clap::Args;
use rltrain_checkpoints::{Manifest, Remote, RemoteError};
use serde_json::{Value, json};

use super::super::failure::Failure;
use super::super::print_line;
use super::super::run_folder::{is_remote, readable_bytes, store, unusable};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Folder of the run, or of its checkpoints, or the address of a remote store
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

/// Lists what manifests say; `verify` says whether it is true.
pub(in crate::cli) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let found =
        if is_remote(&arguments.run) { in_store(&arguments.run)? } else { in_folder(&arguments.run)? };
    if arguments.json {
        print_line(Value::Array(found.iter().map(Listed::json).collect()));
    } else {
        found.iter().for_each(|listed| print_line(listed.line()));
    }
    Ok(())
}

/// A checkpoint, as its manifest says.
struct Listed {
    step: u64,
    place: String,
    /// The manifest, or why there is none.
    found: Result<Manifest, String>,
}

impl Listed {
    fn json(&self) -> Value {
        let Listed { step, place, found } = self;
        match found {
            Ok(manifest) => json!({
                "step": step, "path": place, "blake3": manifest.blake3(), "files": manifest.files.len(),
                "bytes": manifest.bytes(),
            }),
            Err(error) => json!({ "step": step, "path": place, "error": error }),
        }
    }

    fn line(&self) -> String {
        let Listed { step, place, found } = self;
        match found {
            Ok(manifest) => format!(
                "step {step:>8}  {:>10}  {:>3} files  BLAKE3 {}  {place}",
                readable_bytes(manifest.bytes()),
                manifest.files.len(),
                &manifest.blake3()[..16],
            ),
            Err(error) => format!("step {step:>8}  broken: {error}"),
        }
    }
}

fn in_folder(run: &Path) -> Result<Vec<Listed>, Failure> {
    let store = store(run)?;
    let steps = store.steps().map_err(Failure::world)?;
    let listed = steps.into_iter().map(|step| {
        let path = store.path_of(step);
        let found = Manifest::of(&path).map_err(|error| error.to_string());
        Listed { step, place: path.display().to_string(), found }
    });
    Ok(listed.collect())
}

fn in_store(url: &Path) -> Result<Vec<Listed>, Failure> {
    let url = url.to_string_lossy();
    let remote = Remote::open(&url).map_err(unusable)?;
    let mut listed = Vec::new();
    for step in remote.steps().map_err(unusable)? {
        let found = match remote.manifest(step) {
            Ok(Some(manifest)) => Ok(manifest),
            // It was deleted a moment ago.
            Ok(None) => continue,
            Err(RemoteError::Manifest(error)) => Err(error.to_string()),
            Err(error) => return Err(unusable(error)),
        };
        let place = format!("{}/checkpoints/step-{step:08}", url.trim_end_matches('/'));
        listed.push(Listed { step, place, found });
    }
    Ok(listed)
}
