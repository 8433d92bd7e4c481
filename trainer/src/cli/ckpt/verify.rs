//! `rltrain ckpt verify RUN|CHECKPOINT`.

use std::path::{Path, PathBuf};

use clap::Args;
use rltrain_checkpoints::{Manifest, ReadError, faults};
use serde_json::json;

use super::super::failure::Failure;
use super::super::print_line;
use super::super::run_folder::{Unknown, checkpoint_folder, readable_bytes, store};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Folder of a run (all its checkpoints), of one checkpoint, or `RUN@STEP`
    #[arg(value_name = "RUN")]
    name: PathBuf,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

/// Checkpoints are broken.
#[derive(Debug, thiserror::Error)]
#[error("{broken} of {all} checkpoints are broken; what is broken is above")]
struct Broken {
    broken: usize,
    all: usize,
}

/// Hashes everything and says what is broken.
pub(in crate::cli) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let checked: Vec<(PathBuf, Vec<ReadError>)> = folders(&arguments.name)?
        .into_iter()
        .map(|folder| {
            let faults = faults_of(&folder);
            (folder, faults)
        })
        .collect();
    let mut listed = Vec::new();
    for (folder, faults) in &checked {
        let manifest = Manifest::of(folder).ok();
        if arguments.json {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            let step = manifest.map(|manifest| manifest.step);
            listed
                .push(json!({ "path": folder, "step": step, "whole": faults.is_empty(), "faults": faults }));
            continue;
        }
        match manifest.filter(|_| faults.is_empty()) {
            Some(manifest) => print_line(format_args!(
                "whole   {}: {} files, {}, BLAKE3 {}",
                folder.display(),
                manifest.files.len(),
                readable_bytes(manifest.bytes()),
                &manifest.blake3()[..16]
            )),
            None => {
                print_line(format_args!("broken  {}", folder.display()));
                faults.iter().for_each(|fault| print_line(format_args!("  {fault}")));
            }
        }
    }
    if arguments.json {
        print_line(json!(listed));
    }
    let broken = checked.iter().filter(|(_, faults)| !faults.is_empty()).count();
    if broken == 0 { Ok(()) } else { Err(Failure::world(Broken { broken, all: checked.len() })) }
}

/// What is wrong with the checkpoint in `folder`, its name included where that says a step.
fn faults_of(folder: &Path) -> Vec<ReadError> {
    let mut faults = faults(folder);
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let wanted = name.strip_prefix("step-").and_then(|step| step.parse().ok());
    if let (Some(wanted), Ok(manifest)) = (wanted, Manifest::of(folder))
        && manifest.step != wanted
    {
        faults.push(ReadError::Step { path: folder.to_owned(), found: manifest.step, wanted });
    }
    faults
}

/// The folders to look at.
fn folders(name: &Path) -> Result<Vec<PathBuf>, Failure> {
    if name.join("manifest.json").is_file() || !name.is_dir() {
        return Ok(vec![checkpoint_folder(name)?]);
    }
    let store = store(name)?;
    let steps = store.steps().map_err(Failure::world)?;
    if steps.is_empty() {
        return Err(Failure::plain_input(Unknown::Empty { path: name.to_owned() }));
    }
    Ok(steps.into_iter().map(|step| store.path_of(step)).collect())
}
