//! How a run is taken up: which checkpoint it goes on from, and whether it is still the same run.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rltrain_checkpoints::{Checkpoint, RunLock, Store, replace_file};

use super::provenance::{Provenance, RunRecord, StartRecord};
use super::saving::TrainerState;
use super::{CHECKPOINTS, RECIPE};
use crate::error::TrainError;
use crate::ranks::{Lane, Ranks};
use crate::recipe::{Drift, Recipe, drift};

/// How a run is taken up, as far as its recipe does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Step of the checkpoint to go on from, which is then used or nothing is done. The newest whole one if none is named.
    pub from: Option<u64>,
    /// Keys, or sections, whose change is permitted although it breaks the run's continuity.
    pub allow_drift: Vec<String>,
    /// What the recipe was made of, by name, if that is more than one file.
    pub layers: Vec<String>,
}

/// What a run folder has to go on from, and what changed since.
pub(super) struct Opening {
    /// The checkpoint; none if the run begins.
    pub(super) checkpoint: Option<Checkpoint>,
    /// What it says besides tensors.
    pub(super) state: Option<TrainerState>,
    /// Where it comes from.
    pub(super) known: Option<Provenance>,
    /// What the user should hear of.
    pub(super) messages: Vec<String>,
    record: RunRecord,
    drift: Vec<Drift>,
    allowed: Vec<String>,
}

/// What the processes of a run go on from: what the first has found.
///
/// # Errors
///
/// As [`Opening::find`]; if another process does not find what the first has found.
pub(super) fn find_together(ranks: &Ranks, recipe: &Recipe, start: &Start) -> Result<Opening, TrainError> {
    let own = if ranks.is_first() { Some(Opening::find(recipe, start)?) } else { None };
    let step = own.as_ref().and_then(|opening| opening.checkpoint.as_ref()).map(Checkpoint::step);
    let all = ranks.gather(Lane::Learning, "the start", step)?;
    match own {
        Some(own) => Ok(own),
        None => Opening::find(recipe, &Start { from: all[0], ..start.clone() }),
    }
}

impl Opening {
    /// Looks at the run folder of `recipe` and changes nothing.
    ///
    /// # Errors
    ///
    /// If the named checkpoint cannot be used, every checkpoint is damaged, or the recipe is of another run.
    pub(super) fn find(recipe: &Recipe, start: &Start) -> Result<Opening, TrainError> {
        let run = &recipe.run;
        let store = Store::open_read_only(&run.join(CHECKPOINTS));
        let mut messages = Vec::new();
        let checkpoint = match start.from {
            Some(step) => Some(named_checkpoint(&store, step)?),
            None => store.newest_valid()?.map(|(newest, rejected)| {
                messages.extend(rejected.iter().map(|rejected| {
                    format!("warning: passed over `{}`: {}", rejected.path.display(), rejected.reason)
                }));
                newest
            }),
        };
        let record = RunRecord::of(run)?;
        let mut allowed = start.allow_drift.clone();
        allowed.extend(checkpoint.iter().flat_map(|checkpoint| record.forked_keys(checkpoint)));
        let state = checkpoint.as_ref().map(TrainerState::read).transpose()?;
        let known = match &checkpoint {
            Some(checkpoint) => Provenance::of(checkpoint)?,
            None => None,
        };
        let mut opening = Opening { checkpoint, state, known, messages, record, drift: Vec::new(), allowed };
        opening.note(drift_of_recipe(recipe)?, run)?;
        Ok(opening)
    }

    /// Compares where the checkpoint comes from with what is `here`.
    ///
    /// # Errors
    ///
    /// If something differs that breaks the run's continuity and was not permitted.
    pub(super) fn compare(&mut self, here: &Provenance, recipe: &Recipe) -> Result<(), TrainError> {
        let found = match (&self.known, &self.state) {
            (Some(known), _) => here.drift_from(known, recipe),
            // A build that wrote no provenance still knew the task files.
            (None, Some(state)) => {
                let known = Provenance {
                    train_tasks_blake3: state.train_tasks_blake3.clone(),
                    heldout_tasks_blake3: state.heldout_tasks_blake3.clone(),
                    ..here.clone()
                };
                here.drift_from(&known, recipe)
            }
            (None, None) => Vec::new(),
        };
        self.note(found, &recipe.run)
    }

    /// Takes in what changed, and says so.
    fn note(&mut self, found: Vec<Drift>, run: &Path) -> Result<(), TrainError> {
        let is_refused = |drift: &&Drift| drift.breaks && !drift.is_named_by(&self.allowed);
        let refused: Vec<&str> =
            found.iter().filter(is_refused).map(|drift| drift.difference.key.as_str()).collect();
        if !refused.is_empty() {
            let changes = found.iter().map(|drift| format!("\n  {drift}")).collect();
            let allow: Vec<String> = refused.iter().map(|key| format!("--allow-drift {key}")).collect();
            let allow = allow.join(" ");
            return Err(TrainError::Drift { run: run.to_owned(), changes, allow });
        }
        for drift in &found {
            let permitted = if drift.breaks { ", permitted" } else { "" };
            self.messages.push(format!("changed: {drift}{permitted}"));
        }
        self.drift.extend(found);
        Ok(())
    }

    /// Makes the run folder that of this start: the recipe, the record of starts, and later checkpoints out of the way of one that
    /// was named.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub(super) fn settle(
        mut self,
        recipe: &Recipe,
        start: &Start,
        here: &Provenance,
        lock: &RunLock,
    ) -> Result<Vec<String>, TrainError> {
        let run = &recipe.run;
        for key in &start.allow_drift {
            let keys = std::slice::from_ref(key);
            if !self.drift.iter().any(|drift| drift.breaks && drift.is_named_by(keys)) {
                self.messages.push(format!("`--allow-drift {key}` permitted nothing: that did not change"));
            }
        }
        let step = self.checkpoint.as_ref().map_or(0, Checkpoint::step);
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.record.starts.push(StartRecord {
            time: time.as_secs(),
            by: lock.owner(),
            step,
            checkpoint_blake3: self.checkpoint.as_ref().map(Checkpoint::blake3),
            recipe_blake3: here.recipe_blake3.clone(),
            surroundings: here.surroundings.clone(),
            drift: self.drift,
            layers: start.layers.clone(),
        });
        self.record.save(run)?;
        replace_file(&run.join(RECIPE), recipe.resolved().as_bytes())?;
        Ok(self.messages)
    }
}

/// Moves checkpoints of later steps than `from` out of the way: a run that went back to it would otherwise be resumed behind them.
/// Returns what the user should hear.
///
/// # Errors
///
/// If the disk refuses.
pub(super) fn set_later_aside(store: &Store, from: u64) -> std::io::Result<Vec<String>> {
    // The newest first: whenever the process dies, what is left is a run without gaps.
    let later = store.steps()?.into_iter().rev().filter(|step| *step > from);
    later
        .map(|step| {
            let place = store.set_aside(step)?;
            Ok(format!("set aside: the checkpoint of step {step} is in `{}` now", place.display()))
        })
        .collect()
}

/// The checkpoint of `step`, which the user has named.
///
/// # Errors
///
/// If it is not there, or damaged; the message says which are there.
pub fn named_checkpoint(store: &Store, step: u64) -> Result<Checkpoint, TrainError> {
    store.checkpoint(step).map_err(|source| {
        let there = store.steps().unwrap_or_default();
        let steps: Vec<String> = there.iter().map(ToString::to_string).collect();
        let steps = if steps.is_empty() { "none".to_owned() } else { steps.join(", ") };
        let path = store.path_of(step);
        TrainError::NamedCheckpoint { path, steps, source: Box::new(source) }
    })
}

/// What changed since the recipe in the run folder was written.
fn drift_of_recipe(recipe: &Recipe) -> Result<Vec<Drift>, TrainError> {
    let path = recipe.run.join(RECIPE);
    let text = match fs_err::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let raw = text.parse().map_err(|source| TrainError::Toml { path: path.clone(), source })?;
    // A version that knew fewer keys did what their defaults say.
    let old = Recipe::parse(RECIPE, &text).map_or(raw, |recipe| recipe.table());
    Ok(drift(&old, &recipe.table()))
}

/// Locks the run folder before anything else is done, if it is that of a run: a second writer hears so at once.
///
/// # Errors
///
/// If another process holds the lock, or the disk refuses.
pub(super) fn lock_if_started(run: &Path) -> Result<Option<RunLock>, TrainError> {
    if run.join(RECIPE).is_file() { Ok(Some(RunLock::acquire(run)?)) } else { Ok(None) }
}

/// What the user should hear of the process that held the lock before and did not let go of it.
pub(super) fn tell_stale(lock: &RunLock) -> Option<String> {
    let dead = lock.stale_owner()?;
    let elsewhere = dead.host != lock.owner().host;
    let doubt = "; if it still runs, stop it: this file system may not share locks between machines";
    Some(format!("{dead} ended without saving: its lock is taken over{}", if elsewhere { doubt } else { "" }))
}

/// What names a checkpoint that is gone on from.
pub(super) fn resuming(run: &Path, checkpoint: &Checkpoint) -> String {
    format!(
        "resuming {} after step {} from `{}` (BLAKE3 {})",
        run.display(),
        checkpoint.step(),
        checkpoint.path().display(),
        checkpoint.blake3()
    )
}
