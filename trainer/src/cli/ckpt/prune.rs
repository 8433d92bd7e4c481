//! `rltrain ckpt prune RUN --keep-last N`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use rltrain_checkpoints::{RunLock, Store, surplus};
use serde_json::json;

use super::super::failure::Failure;
use super::super::print_line;
use super::super::run_folder::{Unknown, unreadable};
use crate::error::TrainError;
use crate::session::CHECKPOINTS;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Folder of the run; nobody may be writing to it
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// How many of the newest whole checkpoints are kept
    #[arg(long, value_name = "NUMBER")]
    keep_last: NonZeroUsize,
    /// Only say what would be deleted
    #[arg(long)]
    dry_run: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Deletes old checkpoints, and says which.
pub(in crate::cli) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let folder = arguments.run.join(CHECKPOINTS);
    if !folder.is_dir() {
        return Err(Failure::plain_input(Unknown::Empty { path: arguments.run.clone() }));
    }
    let lock = (!arguments.dry_run).then(|| RunLock::acquire(&arguments.run)).transpose();
    let _lock = lock.map_err(TrainError::from)?;
    let store = Store::open_read_only(&folder);
    let Some((newest, _)) = store.newest_valid().map_err(unreadable)? else {
        return Err(Failure::plain_input(Unknown::Empty { path: folder }));
    };
    let steps = store.steps().map_err(Failure::world)?;
    let doomed = surplus(&steps, newest.step(), arguments.keep_last);
    for step in &doomed {
        if !arguments.dry_run {
            store.delete(*step).map_err(Failure::world)?;
        }
        if !arguments.json {
            let done = if arguments.dry_run { "would delete" } else { "deleted" };
            print_line(format_args!("{done} {}", store.path_of(*step).display()));
        }
    }
    if arguments.json {
        let kept: Vec<u64> = steps.into_iter().filter(|step| !doomed.contains(step)).collect();
        print_line(json!({ "deleted": doomed, "kept": kept, "dry_run": arguments.dry_run }));
    }
    Ok(())
}
