//! What a checkpoint holds of a verifier, whether it is one of a run or of `rltrain critic`.
//!
//! ```text
//! verifier.safetensors             the network's tensors and the head's, f32
//! verifier-optimizer.safetensors   what the optimizer remembers of those that are trained
//! verifier.json                    everything that is not a tensor
//! ```

use std::collections::BTreeMap;

use rltrain_checkpoints::{Checkpoint, Draft, ReadError, WriteError};
use serde::{Deserialize, Serialize};

use super::{Objective, Verifier};
use crate::error::TrainError;
use crate::optim::Optimizer;
use crate::policy::{Compute, HostView, load_tensor};

/// Names inside a checkpoint.
const WEIGHTS: &str = "verifier.safetensors";
const OPTIMIZER: &str = "verifier-optimizer.safetensors";
const STATE: &str = "verifier.json";

/// Version of `verifier.json` that this build writes and reads.
const FORMAT: u64 = 1;

/// `verifier.json`: what a verifier knows besides tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifierState {
    /// Version of this file's keys.
    format: u64,
    /// The program that wrote it.
    rltrain: String,
    /// What it learns to say.
    pub objective: Objective,
    /// Updates applied.
    pub updates: u64,
    /// What `auto` came to when it was made.
    pub compute: Compute,
    /// `rltrain critic`: BLAKE3 of the rollouts and the settings that it learns with, so that changed ones are noticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<String>,
    /// The forecast from which on a program can be accepted without a test, if `rltrain critic` has found one; in a run of the
    /// policy, that of the checkpoint that it started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_from: Option<f64>,
}

impl VerifierState {
    /// The same with what only `rltrain critic` knows.
    pub fn of_rollouts(self, told: String, accept_from: Option<f64>) -> VerifierState {
        VerifierState { told: Some(told), accept_from, ..self }
    }

    /// What `checkpoint` holds.
    ///
    /// # Errors
    ///
    /// If there is no verifier in it, or the file is damaged or of another version.
    pub fn read(checkpoint: &Checkpoint) -> Result<VerifierState, ReadError> {
        let state: VerifierState = checkpoint.json(STATE)?;
        if state.format != FORMAT {
            let path = checkpoint.path().join(STATE);
            return Err(ReadError::Format { path, found: state.format, wanted: FORMAT });
        }
        Ok(state)
    }
}

impl Verifier {
    /// Its state, without what only `rltrain critic` knows.
    pub fn state(&self) -> VerifierState {
        VerifierState {
            format: FORMAT,
            rltrain: env!("CARGO_PKG_VERSION").to_owned(),
            objective: self.config.objective,
            updates: self.optimizer.updates,
            compute: self.compute.into(),
            told: None,
            accept_from: self.accept_from,
        }
    }

    /// Writes what [`Verifier::restore`] takes up again.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn save(&self, draft: &mut Draft, state: &VerifierState) -> Result<(), WriteError> {
        let format = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        let weights = self.weights.iter().map(|(name, tensor)| (name.to_owned(), HostView::new(tensor)));
        draft.tensors(WEIGHTS, weights, &format)?;
        let means = self.optimizer.state().map(|(name, tensor)| (name, HostView::new(tensor)));
        draft.tensors(OPTIMIZER, means, &BTreeMap::new())?;
        draft.json(STATE, state)
    }

    /// Takes over what a checkpoint holds, the optimizer included.
    ///
    /// # Errors
    ///
    /// If there is no verifier of this objective in it, or a file is damaged or does not fit.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<VerifierState, TrainError> {
        let state = self.take_weights(checkpoint)?;
        let means = checkpoint.read_tensors(OPTIMIZER)?;
        let kind = self.config.optimizer.kind;
        self.optimizer = Optimizer::restored(kind, state.updates, &self.weights, &means)?;
        Ok(state)
    }

    /// Takes over the weights of the checkpoint that the recipe starts from, if it names one: what a new run does, and one that
    /// goes on does not.
    ///
    /// # Errors
    ///
    /// As [`Verifier::restore`].
    pub fn take_start(&mut self) -> Result<(), TrainError> {
        if let Some(start) = self.config.start.clone() {
            self.take_weights(&Checkpoint::open(&start)?)?;
        }
        Ok(())
    }

    fn take_weights(&mut self, checkpoint: &Checkpoint) -> Result<VerifierState, TrainError> {
        let state = VerifierState::read(checkpoint)?;
        if state.objective != self.config.objective {
            let path = checkpoint.path().to_owned();
            let (found, wanted) = (state.objective, self.config.objective);
            return Err(TrainError::OtherObjective { path, found, wanted });
        }
        let file = checkpoint.read_tensors(WEIGHTS)?;
        let _no_gradient = tch::no_grad_guard();
        for (name, tensor) in self.weights.iter() {
            tensor.shallow_clone().copy_(&load_tensor(&file, name, &tensor.size())?);
        }
        self.accept_from = state.accept_from;
        Ok(state)
    }
}
