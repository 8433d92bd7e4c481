//! What was gathered for expert iteration, in checkpoints.

use rltrain_checkpoints::{Checkpoint, ReadError, WriteError};
use serde::{Deserialize, Serialize};

use super::saving::read_versioned;
use crate::iteration::Dataset;
use crate::learner::Learner;
use crate::recipe::Recipe;
use crate::snapshot::Files;

/// Name inside a checkpoint.
const DATASET: &str = "dataset.json";

/// Version of the file that this build writes and reads.
const FORMAT: u64 = 1;

/// `dataset.json`, as it is written.
#[derive(Serialize)]
struct Written<'a> {
    format: u64,
    dataset: &'a Dataset,
}

/// `dataset.json`, as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    #[serde(rename = "format")]
    _format: u64,
    dataset: Dataset,
}

/// Adds the data set, if the recipe gathers one.
///
/// # Errors
///
/// If the disk refuses.
pub(super) fn save(learner: &Learner, files: &mut impl Files, recipe: &Recipe) -> Result<(), WriteError> {
    if recipe.iteration.is_none() {
        return Ok(());
    }
    files.json(DATASET, &Written { format: FORMAT, dataset: &learner.dataset })
}

/// Takes up the data set, if the recipe gathers one.
///
/// # Errors
///
/// If the file is damaged or of another version.
pub(super) fn restore(
    learner: &mut Learner,
    checkpoint: &Checkpoint,
    recipe: &Recipe,
) -> Result<(), ReadError> {
    if recipe.iteration.is_some() {
        let read: Read = read_versioned(checkpoint, DATASET, FORMAT)?;
        learner.dataset = read.dataset;
    }
    Ok(())
}
