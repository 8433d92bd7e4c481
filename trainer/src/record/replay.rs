//! A recorded update done again, with other settings if wanted: nothing is sampled, executed or written.

use std::path::Path;

use serde::Serialize;
use thiserror::Error;

use super::{RecordError, read_record, record_file, recorded_steps, update_metrics};
use crate::error::TrainError;
use crate::learn::learn;
use crate::material::Material;
use crate::recipe::{Difference, Recipe};
use crate::session::{CHECKPOINTS, Session, Start};

/// Sections that an update reads; changes elsewhere would be of what is recorded already.
const READ: [&str; 5] = ["algorithm", "optimizer", "critic", "supervised", "model.gradient_checkpointing"];

/// Why a step cannot be replayed.
#[derive(Debug, Error)]
pub enum NotReplayed {
    /// The checkpoint before the step, or its record, is not there.
    #[error(
        "step {step} cannot be replayed: {why}. A step needs its record and the checkpoint before it; {}",
        steps_in_words(steps)
    )]
    Step {
        /// The step.
        step: u64,
        /// What is missing.
        why: String,
        /// Steps that can be.
        steps: Vec<u64>,
    },
    /// A change of what is recorded.
    #[error(
        "`{key}` says how attempts come about, and they are recorded; a replay reads {}", .wanted.join(", ")
    )]
    Key {
        /// The key.
        key: String,
        /// What can be changed.
        wanted: Vec<String>,
    },
    /// A record cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The update cannot be done.
    #[error(transparent)]
    Train(#[from] TrainError),
}

fn steps_in_words(steps: &[u64]) -> String {
    let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
    match steps.is_empty() {
        true => "no step of this run has both".to_owned(),
        false => format!("these have both: {}", steps.join(", ")),
    }
}

/// An update as it was and as it is when it is done again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replay {
    /// The step, from 1.
    pub step: u64,
    /// What was changed of the recipe.
    pub changed: Vec<Difference>,
    /// Whether every gradient is the recorded one, bit for bit.
    pub same_gradients: bool,
    /// The hashes of the gradients, one for each optimizer step that was applied.
    pub recorded_gradients: Vec<String>,
    /// See there.
    pub replayed_gradients: Vec<String>,
    /// The first tensor whose gradient differs.
    pub first_tensor: Option<String>,
    /// Every metric of the update.
    pub metrics: Vec<Compared>,
}

/// A metric as it was and as it is; `None` for what is no number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// As it was.
    pub recorded: Option<f64>,
    /// As it is.
    pub replayed: Option<f64>,
}

/// Steps of the run in `run` that have a record and a checkpoint, or the beginning of the run, before them.
fn replayable(run: &Path) -> Vec<u64> {
    let checkpoints =
        rltrain_checkpoints::Store::open_read_only(&run.join(CHECKPOINTS)).steps().unwrap_or_default();
    let mut steps = recorded_steps(run);
    steps.retain(|step| *step == 1 || checkpoints.contains(&(step - 1)));
    steps
}

/// Does the update of step `step` again, as `recipe` says; `recorded` is the recipe of the run. `folder` is an empty one, for what a
/// session needs.
///
/// # Errors
///
/// If the step's record or the checkpoint before it is not there, the recipe changes how attempts come about, or the update fails.
pub fn replay(recorded: &Recipe, recipe: &Recipe, step: u64, folder: &Path) -> Result<Replay, NotReplayed> {
    let run = &recorded.run;
    let changed = crate::recipe::differences(&recorded.table(), &recipe.table());
    let is_read = |key: &str| {
        READ.iter().any(|section| {
            key.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    if let Some(other) = changed.iter().find(|difference| !is_read(&difference.key)) {
        let wanted = READ.iter().map(|section| format!("`{section}`")).collect();
        return Err(NotReplayed::Key { key: other.key.clone(), wanted });
    }
    if !replayable(run).contains(&step) {
        let missing = !record_file(run, step).is_file();
        let before = step.saturating_sub(1);
        let why = if missing {
            "there is no record of it".to_owned()
        } else {
            format!("there is no checkpoint of step {before}")
        };
        return Err(NotReplayed::Step { step, why, steps: replayable(run) });
    }
    let record = read_record(run, step)?;
    let mut recipe = recipe.clone();
    recipe.run = folder.to_owned();
    let before = step - 1;
    let start = Start { from: (before > 0).then_some(before), ..Start::default() };
    if before > 0 {
        let name = format!("step-{before:08}");
        let place = folder.join(CHECKPOINTS);
        fs_err::create_dir_all(&place).map_err(TrainError::from)?;
        let there = fs_err::canonicalize(run.join(CHECKPOINTS).join(&name)).map_err(TrainError::from)?;
        fs_err::os::unix::fs::symlink(there, place.join(name)).map_err(TrainError::from)?;
    }
    let mut session = Session::start_or_resume(&recipe, &start)?;
    if changed.iter().any(|difference| difference.key == "algorithm.kl_coefficient") {
        // An adaptive one is otherwise what it had become.
        session.learner.kl_coefficient = recipe.algorithm.kl_coefficient;
    }
    let attempts = &record.attempts;
    let learner = &mut session.learner;
    let material = Material::of(&learner.policy, &session.environment, &recipe, attempts)?;
    let learnt = learn(learner, &recipe, before, (attempts, &material))?;
    let (old, new) = (&record.learnt.gradients, &learnt.recorded.gradients);
    let replayed = update_metrics(&learnt);
    let value = |metrics: &[(String, Option<f64>)], name: &str| {
        metrics.iter().find(|(known, _)| known == name).and_then(|(_, value)| *value)
    };
    let mut names: Vec<&String> = record.metrics.iter().map(|(name, _)| name).collect();
    names.extend(replayed.iter().map(|(name, _)| name).filter(|name| value(&record.metrics, name).is_none()));
    names.dedup();
    let compared = names.into_iter().map(|name| Compared {
        name: name.clone(),
        recorded: value(&record.metrics, name),
        replayed: value(&replayed, name),
    });
    let differs = old.iter().zip(new).find_map(|(old, new)| {
        new.tensors
            .iter()
            .find(|(name, hash)| old.tensors.get(*name) != Some(*hash))
            .map(|(name, _)| name.clone())
    });
    let hashes =
        |gradients: &[super::Gradient]| gradients.iter().map(|gradient| gradient.blake3.clone()).collect();
    Ok(Replay {
        step,
        changed,
        same_gradients: old == new,
        recorded_gradients: hashes(old),
        replayed_gradients: hashes(new),
        first_tensor: differs,
        metrics: compared.collect(),
    })
}
