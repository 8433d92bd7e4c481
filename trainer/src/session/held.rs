//! The policy in checkpoints that show projected weights: those are what others load, and the run goes on from the ones behind them.

use rltrain_checkpoints::{Checkpoint, WriteError};

use super::saving::views;
use crate::learner::Learner;
use crate::policy::{PolicyError, load_tensor};
use crate::snapshot::Files;

/// The trained weights behind the ones that are shown.
const UNPROJECTED: &str = "unprojected.safetensors";

/// Adds the policy, projected if the recipe wants checkpoints to show it so.
///
/// # Errors
///
/// If the disk refuses.
pub(super) fn save(
    learner: &Learner,
    files: &mut impl Files,
    max_shard_bytes: u64,
) -> Result<(), WriteError> {
    let policy = &learner.policy;
    let Some(shown) = learner.base.as_ref().and_then(|base| base.shown(&policy.weights)) else {
        return policy.save(files, max_shard_bytes);
    };
    policy.save_showing(&shown, files, max_shard_bytes)?;
    files.tensors(UNPROJECTED, views(&policy.weights), &[("format".to_owned(), "pt".to_owned())].into())
}

/// Takes up the weights behind the ones that a checkpoint shows, if there are such.
///
/// # Errors
///
/// If a tensor is missing, has another shape than the policy's, or cannot be read.
pub(super) fn restore(learner: &Learner, checkpoint: &Checkpoint) -> Result<(), PolicyError> {
    if !checkpoint.manifest().files.contains_key(UNPROJECTED) {
        return Ok(());
    }
    let file = checkpoint.read_tensors(UNPROJECTED)?;
    let _no_gradient = tch::no_grad_guard();
    for (name, weight) in learner.policy.weights.iter() {
        let mut weight = weight.shallow_clone();
        weight.copy_(&load_tensor(&file, name, &weight.size())?);
    }
    Ok(())
}
