//! `rltrain ckpt prune RUN --keep-last N [--keep-every N] [--keep-best eval/pass@K]`.

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::Args;
use rltrain_checkpoints::{Action, Retention, RunLock, Store, plan};
use serde_json::json;

use super::super::failure::Failure;
use super::super::print_line;
use super::super::run_folder::{Unknown, unreadable};
use crate::error::TrainError;
use crate::eval::Evaluations;
use crate::recipe::pass_at;
use crate::session::CHECKPOINTS;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Folder of the run; nobody may be writing to it
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// How many of the newest whole checkpoints are kept
    #[arg(long, value_name = "NUMBER")]
    keep_last: NonZeroUsize,
    /// Keep those of steps that this number divides as well
    #[arg(long, value_name = "NUMBER")]
    keep_every: Option<NonZeroU64>,
    /// Keep the one with the highest `eval/pass@K` of the run's evaluations as well
    #[arg(long, value_name = "METRIC")]
    keep_best: Option<String>,
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
    let retention = retention(arguments)?;
    // Later ones than the newest whole one are damaged: they are neither counted nor deleted.
    let actions = plan(&steps, newest.step(), &retention);
    let doomed: BTreeSet<u64> = actions
        .into_iter()
        .filter_map(|action| if let Action::Delete(step) = action { Some(step) } else { None })
        .collect();
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

/// What is kept.
fn retention(arguments: &Arguments) -> Result<Retention, Failure> {
    let mut scores = BTreeMap::new();
    if let Some(metric) = &arguments.keep_best {
        let unmeasured = || Unmeasured { metric: metric.clone(), run: arguments.run.clone() };
        let k = pass_at(metric).ok_or_else(|| Failure::plain_input(unmeasured()))?;
        scores = Evaluations::scores(&arguments.run, k)?;
        if scores.is_empty() {
            return Err(Failure::plain_input(unmeasured()));
        }
    }
    let Arguments { keep_last, keep_every, .. } = *arguments;
    Ok(Retention { keep_last, keep_every, scores, in_use: BTreeSet::new() })
}

/// Nothing is the best by what nobody has measured.
#[derive(Debug, thiserror::Error)]
#[error("no evaluation in `{}` has measured `{metric}`; wanted is `eval/pass@K` with a K of the run's `eval.k`", run.display())]
struct Unmeasured {
    metric: String,
    run: PathBuf,
}
