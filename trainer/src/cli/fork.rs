//! `rltrain fork RUN --at STEP --set KEY=VALUE --to NEW_RUN`.

use std::path::{Path, PathBuf};

use clap::Args;
use fs_err as fs;
use rltrain_checkpoints::{Checkpoint, RunLock, Store, WriteError, replace_file};
use thiserror::Error;

use super::changes::Changes;
use super::failure::Failure;
use super::print_line;
use super::run_folder::recipe_of;
use crate::error::TrainError;
use crate::eval::EVALUATIONS_FILE;
use crate::recipe::{Recipe, differences};
use crate::session::{CHECKPOINTS, ForkedFrom, RECIPE, RunRecord};
use crate::telemetry::{METRICS_FILE, TENSORBOARD_FOLDER, TIMINGS_FILE};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Folder of the run to fork
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Step of the checkpoint that the new run starts from; the newest whole one if none is said
    #[arg(long, value_name = "STEP")]
    at: Option<u64>,
    #[command(flatten)]
    changes: Changes,
    /// Folder of the new run; it may be there, but empty
    #[arg(long, value_name = "NEW_RUN")]
    to: PathBuf,
}

/// What cannot be forked like this.
#[derive(Debug, Error)]
enum CannotFork {
    #[error("`{0}` cannot be set: {1}")]
    Fixed(&'static str, &'static str),
    #[error("`{}` is not empty; name another folder", .0.display())]
    NotEmpty(PathBuf),
}

/// Makes the new run's folder; `rltrain resume` trains it.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let old = recipe_of(&arguments.run)?;
    let store = Store::open_read_only(&old.run.join(CHECKPOINTS));
    let checkpoint = find(&store, arguments.at)?;
    let to = std::path::absolute(&arguments.to).map_err(Failure::world)?;
    let is_used = fs::read_dir(&to).is_ok_and(|mut entries| entries.next().is_some());
    if is_used || to.is_file() {
        return Err(Failure::plain_input(CannotFork::NotEmpty(to)));
    }
    let set = &arguments.changes.set;
    set.iter().try_for_each(|change| can_be_set(change)).map_err(Failure::plain_input)?;
    let here = std::env::current_dir().map_err(Failure::world)?;
    let text = old.clone().moved_to(&to).resolved();
    let recipe = Recipe::read("the recipe of the fork", &text, &here, set).map_err(Failure::input)?;
    let mut changed = differences(&old.clone().moved_to(&to).table(), &recipe.table());
    changed.retain(|difference| difference.key != "run");
    let (step, hash) = (checkpoint.step(), checkpoint.blake3());
    let from = ForkedFrom { run: old.run.clone(), step, checkpoint_blake3: hash.clone(), changed };
    make(&recipe, &old.run, &checkpoint, from)?;
    let name = arguments.to.display();
    print_line(format_args!(
        "{name}: forked from `{}` after step {step} (BLAKE3 {hash}); `rltrain resume {name}` goes on",
        arguments.run.display()
    ));
    Ok(())
}

/// The checkpoint to start from: that of `step`, or the newest whole one.
fn find(store: &Store, step: Option<u64>) -> Result<Checkpoint, Failure> {
    let found = match step {
        Some(step) => Ok(Some(crate::session::named_checkpoint(store, step)?)),
        None => store.newest_valid().map(|newest| newest.map(|(checkpoint, _)| checkpoint)),
    };
    let nothing = || super::run_folder::Unknown::Empty { path: store.dir().to_owned() };
    found.map_err(super::run_folder::unreadable)?.ok_or_else(|| Failure::plain_input(nothing()))
}

/// Refuses changes that mean nothing in a fork.
fn can_be_set(change: &str) -> Result<(), CannotFork> {
    match change.split('=').next().map(str::trim) {
        Some("run") => Err(CannotFork::Fixed("run", "`--to` names the new run's folder")),
        Some("algorithm.preset") => {
            let why =
                "a run's recipe has every key that a preset stands for; set those, or write a new recipe";
            Err(CannotFork::Fixed("algorithm.preset", why))
        }
        _ => Ok(()),
    }
}

/// Writes the folder. The recipe comes last: a folder without it is of no run.
fn make(recipe: &Recipe, old: &Path, checkpoint: &Checkpoint, from: ForkedFrom) -> Result<(), Failure> {
    let run = &recipe.run;
    let _lock = RunLock::acquire(run).map_err(TrainError::from)?;
    let step = checkpoint.step();
    let store = Store::open(&run.join(CHECKPOINTS)).map_err(Failure::world)?;
    let copy = store.write(step, |draft| {
        let mut files = checkpoint.manifest().files.keys();
        files.try_for_each(|name| draft.copy(&checkpoint.path().join(name), name))
    });
    copy.map_err(|source: WriteError| TrainError::Write { step, source, kept: None })?;
    copy_past(old, run).map_err(Failure::world)?;
    RunRecord::new(Some(from)).save(run).map_err(Failure::world)?;
    replace_file(&run.join(RECIPE), recipe.resolved().as_bytes()).map_err(Failure::world)
}

/// Copies what the old run told, so that the new one's curves begin where its do. What it told after the checkpoint is cut off when
/// the run goes on.
fn copy_past(old: &Path, run: &Path) -> std::io::Result<()> {
    for name in [METRICS_FILE, TIMINGS_FILE, EVALUATIONS_FILE] {
        let from = old.join(name);
        if from.is_file() {
            fs::copy(from, run.join(name))?;
        }
    }
    let (from, to) = (old.join(TENSORBOARD_FOLDER), run.join(TENSORBOARD_FOLDER));
    if from.is_dir() {
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_nothing_in_a_fork_is_refused() {
        assert!(can_be_set("optimizer.learning_rate=1e-5").is_ok());
        assert!(matches!(can_be_set("run=elsewhere"), Err(CannotFork::Fixed("run", _))));
        assert!(matches!(
            can_be_set("algorithm.preset = dapo"),
            Err(CannotFork::Fixed("algorithm.preset", _))
        ));
    }
}
