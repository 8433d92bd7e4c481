//! Run folders and checkpoints as the command line names them.

use std::path::{Path, PathBuf};

use fs_err as fs;
use rltrain_checkpoints::{Checkpoint, ReadError, RemoteError, Store};
use thiserror::Error;

use super::failure::Failure;
use crate::recipe::Recipe;
use crate::session::{CHECKPOINTS, RECIPE};

/// Why a name on the command line leads nowhere.
#[derive(Debug, Error)]
pub(super) enum Unknown {
    /// There is no such folder.
    #[error("there is no folder `{}`", path.display())]
    Folder {
        /// The name.
        path: PathBuf,
    },
    /// The folder is of no run.
    #[error("`{}` has no `recipe.toml`, so that it is not the folder of a run", path.display())]
    Run {
        /// The folder.
        path: PathBuf,
    },
    /// The folder has no checkpoint.
    #[error("there is no checkpoint in `{}`", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
}

/// The recipe stored in the folder `run`, wherever that is by now.
pub(super) fn recipe_of(run: &Path) -> Result<Recipe, Failure> {
    let path = run.join(RECIPE);
    if !path.is_file() {
        return Err(Failure::plain_input(Unknown::Run { path: run.to_owned() }));
    }
    let recipe = Recipe::load(&path).map_err(Failure::input)?;
    let here = fs::canonicalize(run).map_err(Failure::world)?;
    let is_there = fs::canonicalize(&recipe.run).is_ok_and(|there| there == here);
    Ok(if is_there { recipe } else { recipe.moved_to(&here) })
}

/// The checkpoints of a run, named by the folder of the run or of its checkpoints. Only looked at, unless the caller has the lock.
pub(super) fn store(path: &Path) -> Result<Store, Failure> {
    if !path.is_dir() {
        return Err(Failure::plain_input(Unknown::Folder { path: path.to_owned() }));
    }
    let inside = path.join(CHECKPOINTS);
    Ok(Store::open_read_only(if inside.is_dir() { &inside } else { path }))
}

/// The folder of a checkpoint, named by itself, by a run (its newest), or by `RUN@STEP`.
pub(super) fn checkpoint_folder(name: &Path) -> Result<PathBuf, Failure> {
    if name.join("manifest.json").is_file() {
        return Ok(name.to_owned());
    }
    if let Some((run, step)) = name.to_str().and_then(|name| name.rsplit_once('@'))
        && let Ok(step) = step.parse()
        && !name.exists()
    {
        let path = store(Path::new(run))?.path_of(step);
        return if path.is_dir() { Ok(path) } else { Err(Failure::plain_input(Unknown::Folder { path })) };
    }
    let store = store(name)?;
    match store.steps().map_err(Failure::world)?.last() {
        Some(step) => Ok(store.path_of(*step)),
        None => Err(Failure::plain_input(Unknown::Empty { path: name.to_owned() })),
    }
}

/// The checkpoint that `name` names, every file compared with its hash.
pub(super) fn checkpoint(name: &Path) -> Result<Checkpoint, Failure> {
    Checkpoint::open(&checkpoint_folder(name)?).map_err(unreadable)
}

/// A checkpoint that is not there is the user's mistake, one that is damaged the disk's.
pub(super) fn unreadable(error: ReadError) -> Failure {
    match error {
        ReadError::Missing { .. } => Failure::plain_input(error),
        error => Failure::world(error),
    }
}

/// Whether `name` is the address of a remote store rather than of a folder.
pub(super) fn is_remote(name: &Path) -> bool {
    name.to_str().is_some_and(|name| name.contains("://"))
}

/// An address that is none, or a checkpoint that is not there, is the user's mistake; what a store does is the world's.
pub(super) fn unusable(error: RemoteError) -> Failure {
    if error.is_bad_input() { Failure::plain_input(error) } else { Failure::world(error) }
}

/// A number of bytes for people: `1.5 GB`.
pub(super) fn readable_bytes(bytes: u64) -> String {
    let mut units = ["B", "kB", "MB", "GB"].into_iter();
    let (mut value, mut unit) = (bytes as f64, units.next().unwrap_or_default());
    for next in units {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1000.0, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}
