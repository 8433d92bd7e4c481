//! Checkpoints in a remote store: copied there while the run goes on, and back into a folder that is empty.

use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use rltrain_checkpoints::{
    Checkpoint, Manifest, Remote, RemoteError, Retention, RunLock, Store, replace_file,
};

use super::provenance::PROVENANCE;
use super::{CHECKPOINTS, RECIPE, Start};
use crate::error::TrainError;
use crate::eval::EVALUATIONS_FILE;
use crate::recipe::Recipe;
use crate::telemetry::{METRICS_FILE, TIMINGS_FILE};

/// What goes with a checkpoint: what the run has told so far, and which run it is. The recipe comes last, because a folder without it
/// is of no run.
const BESIDE: [&str; 5] = [METRICS_FILE, TIMINGS_FILE, EVALUATIONS_FILE, PROVENANCE, RECIPE];

/// Copies the checkpoint in `folder` with the manifest `manifest` to `remote`, with what the run in `run` has told, if it is of one; says
/// whether it was not there already.
///
/// # Errors
///
/// As [`Remote::push`].
pub fn push(
    remote: &Remote,
    folder: &Path,
    manifest: &Manifest,
    run: Option<&Path>,
) -> Result<bool, RemoteError> {
    let beside: Vec<(PathBuf, &str)> =
        run.map(|run| BESIDE.map(|name| (run.join(name), name)).to_vec()).unwrap_or_default();
    let beside: Vec<(&Path, &str)> = beside.iter().map(|(path, name)| (path.as_path(), *name)).collect();
    remote.push(folder, manifest, &beside)
}

/// Copies the checkpoint with `manifest` from `remote` into the run folder `run`, which the caller has locked. If that is of no run yet,
/// it is then of the one that the checkpoint is of, and can be resumed.
///
/// # Errors
///
/// As [`Remote::pull`].
pub fn pull(remote: &Remote, manifest: &Manifest, run: &Path) -> Result<Checkpoint, RemoteError> {
    let store = Store::open(&run.join(CHECKPOINTS))?;
    let checkpoint = remote.pull(manifest, &store)?;
    if !run.join(RECIPE).is_file() {
        for name in BESIDE {
            if let Some(content) = remote.get(name)? {
                replace_file(&run.join(name), &content)?;
            }
        }
    }
    Ok(checkpoint)
}

/// Fills a run folder that is of no run yet from the recipe's remote store, if it has one and there is something in it: the checkpoint
/// that `start` names, or the newest one. Returns the lock on the folder and what the user should hear.
///
/// # Errors
///
/// If the store cannot be used. To begin anew would be to overwrite what is there.
pub(super) fn pull_if_new(recipe: &Recipe, start: &Start) -> Result<Option<(RunLock, String)>, TrainError> {
    let run = &recipe.run;
    let Some(url) = recipe.checkpoint.remote.as_deref().filter(|_| !run.join(RECIPE).is_file()) else {
        return Ok(None);
    };
    let remote = Remote::open(url)?;
    let manifest = match remote.find(start.from) {
        Err(RemoteError::Empty { .. }) => return Ok(None),
        found => found?,
    };
    let lock = RunLock::acquire(run)?;
    let pulled = pull(&remote, &manifest, run)?;
    let message =
        format!("fetched the checkpoint of step {} (BLAKE3 {}) from `{url}`", pulled.step(), pulled.blake3());
    Ok(Some((lock, message)))
}

/// A checkpoint that could not be copied to the remote store.
#[derive(Debug)]
pub(super) struct NotPushed {
    /// Its step.
    pub(super) step: u64,
    /// Why.
    pub(super) source: Box<RemoteError>,
}

/// Copies checkpoints to a remote store, one at a time. Those that come while one is being copied are passed over, but for the newest.
pub(super) struct Pusher {
    url: String,
    run: PathBuf,
    /// Step of the newest checkpoint that is in the store.
    pushed: Option<u64>,
    /// Step of the last one that was begun: if it failed, the next one is tried, and not this one again.
    tried: Option<u64>,
    in_flight: Option<(u64, JoinHandle<Result<(), RemoteError>>)>,
}

impl Pusher {
    /// For the run of `recipe`, if it has a remote store.
    pub(super) fn of(recipe: &Recipe) -> Option<Pusher> {
        let url = recipe.checkpoint.remote.clone()?;
        Some(Pusher { url, run: recipe.run.clone(), pushed: None, tried: None, in_flight: None })
    }

    /// Step of the checkpoint that is being copied, which must not be deleted meanwhile.
    pub(super) fn in_use(&self) -> Option<u64> {
        self.in_flight.as_ref().map(|(step, _)| *step)
    }

    /// Takes note of the checkpoint that is being copied, if it is over by now.
    pub(super) fn look(&mut self) -> Result<(), NotPushed> {
        match &self.in_flight {
            Some((_, thread)) if thread.is_finished() => self.wait(),
            _ => Ok(()),
        }
    }

    /// Has a thread copy the checkpoint of `step`, after which `retention` decides what is kept in the store, unless one is being copied
    /// or that one was tried before.
    pub(super) fn begin(&mut self, step: u64, retention: Retention) -> Result<(), NotPushed> {
        if self.in_flight.is_some() || self.tried == Some(step) {
            return Ok(());
        }
        self.tried = Some(step);
        let (url, run) = (self.url.clone(), self.run.clone());
        let copy = move || {
            let remote = Remote::open(&url)?;
            let folder = Store::open_read_only(&run.join(CHECKPOINTS)).path_of(step);
            push(&remote, &folder, &Manifest::of(&folder)?, Some(&run))?;
            remote.retain(step, &retention).map(drop)
        };
        match thread::Builder::new().name("push".to_owned()).spawn(copy) {
            Ok(thread) => {
                self.in_flight = Some((step, thread));
                Ok(())
            }
            Err(error) => Err(NotPushed { step, source: Box::new(error.into()) }),
        }
    }

    /// Waits until the checkpoint of `step` is in the store.
    pub(super) fn finish(&mut self, step: u64, retention: Retention) -> Result<(), NotPushed> {
        let waited = self.wait();
        if self.pushed == Some(step) {
            return waited;
        }
        // What could not be copied before has a newer one after it, or is tried once more.
        self.tried = None;
        self.begin(step, retention)?;
        self.wait()
    }

    fn wait(&mut self) -> Result<(), NotPushed> {
        let Some((step, thread)) = self.in_flight.take() else { return Ok(()) };
        let copied = thread.join().unwrap_or_else(|_| Err(io::Error::other("its thread panicked").into()));
        match copied {
            Ok(()) => {
                self.pushed = Some(step);
                Ok(())
            }
            Err(source) => Err(NotPushed { step, source: Box::new(source) }),
        }
    }
}
