//! What a checkpoint holds, and how a run takes it up again.
//!
//! ```text
//! model/, master.safetensors, adapter/    the policy, as `policy/saving.rs` says
//! optimizer.safetensors     its running means
//! critic.safetensors        the critic's weights, if there is one
//! critic-optimizer.safetensors
//! reference.safetensors     the reference, if it follows the policy; a frozen one is read from where the run started
//! trainer.json              everything that is not a tensor
//! ```

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use rltrain_checkpoints::{Checkpoint, Draft, ReadError, WriteError};
use serde::{Deserialize, Serialize};

use super::Session;
use crate::algorithm::ReferenceKind;
use crate::error::TrainError;
use crate::optim::{Optimizer, TokenBudget};
use crate::policy::{Compute, HostView, Weights};
use crate::recipe::Recipe;
use crate::reference::Reference;

/// Names inside a checkpoint.
const OPTIMIZER: &str = "optimizer.safetensors";
const CRITIC: &str = "critic.safetensors";
const CRITIC_OPTIMIZER: &str = "critic-optimizer.safetensors";
const REFERENCE: &str = "reference.safetensors";
const TRAINER: &str = "trainer.json";

/// Version of `trainer.json` that this build writes and reads.
const TRAINER_FORMAT: u64 = 2;

/// `trainer.json`: what a run knows besides tensors. Randomness has no state to save: every draw derives from the seed
/// and from counters.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrainerState {
    /// Version of this file's keys.
    format: u64,
    /// The program that wrote it.
    rltrain: String,
    /// Rollouts learnt from, those whose updates were skipped included.
    step: u64,
    /// Updates that the optimizer applied.
    optimizer_updates: u64,
    /// Updates that the critic's optimizer applied.
    critic_updates: u64,
    skipped_in_a_row: u32,
    /// What a nat of divergence costs.
    kl_coefficient: f64,
    /// Tasks drawn so far.
    tasks_drawn: u64,
    /// Most tokens through the network together, where memory did not suffice for what the recipe says. Absent otherwise, so that
    /// older programs read what they can go on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    micro_batch_tokens: Option<NonZeroUsize>,
    /// What `auto` came to when the run started.
    pub(super) compute: Compute,
    /// BLAKE3 of the task files, so that a changed file is noticed.
    train_tasks_blake3: String,
    heldout_tasks_blake3: String,
}

impl TrainerState {
    /// What `checkpoint` holds.
    ///
    /// # Errors
    ///
    /// If the file is damaged or of another version.
    pub(super) fn read(checkpoint: &Checkpoint) -> Result<TrainerState, ReadError> {
        let version: Version = checkpoint.json(TRAINER)?;
        if version.format != TRAINER_FORMAT {
            let path = checkpoint.path().join(TRAINER);
            return Err(ReadError::Format { path, found: version.format, wanted: TRAINER_FORMAT });
        }
        checkpoint.json(TRAINER)
    }
}

/// The one key that every version of `trainer.json` has.
#[derive(Deserialize)]
struct Version {
    format: u64,
}

impl Session {
    /// Takes over everything but the weights in the model's folder, which were loaded with the policy.
    pub(super) fn restore(
        &mut self,
        checkpoint: &Checkpoint,
        state: &TrainerState,
        recipe: &Recipe,
    ) -> Result<(), TrainError> {
        let run = &recipe.run;
        for (tasks, known) in
            [(&self.tasks, &state.train_tasks_blake3), (&self.heldout, &state.heldout_tasks_blake3)]
        {
            if tasks.blake3() != known {
                return Err(TrainError::TasksChanged { path: tasks.path().to_owned(), run: run.to_owned() });
            }
        }
        self.policy.restore(checkpoint)?;
        let means = checkpoint.read_tensors(OPTIMIZER)?;
        let kind = recipe.optimizer.kind;
        self.optimizer = Optimizer::restored(kind, state.optimizer_updates, &self.policy.weights, &means)?;
        if let Some(critic) = &mut self.critic {
            let weights = checkpoint.read_tensors(CRITIC)?;
            let means = checkpoint.read_tensors(CRITIC_OPTIMIZER)?;
            critic.restore(&recipe.critic, state.critic_updates, &weights, &means)?;
        }
        if let (Some(reference), true) = (&mut self.reference, follows(recipe)) {
            reference.restore(&checkpoint.read_tensors(REFERENCE)?)?;
        }
        self.kl_coefficient = state.kl_coefficient;
        if let Some(tokens) = state.micro_batch_tokens {
            self.token_budget = TokenBudget::new(tokens.min(recipe.optimizer.micro_batch_tokens));
        }
        self.tasks_drawn = state.tasks_drawn;
        self.skipped_in_a_row = state.skipped_in_a_row;
        self.saved = Some(state.step);
        self.telemetry.message(&format!("resuming {} after step {}", run.display(), self.step));
        Ok(())
    }

    /// Writes a checkpoint if the recipe wants one after this step.
    ///
    /// # Errors
    ///
    /// As [`Session::checkpoint`].
    pub fn checkpoint_if_due(&mut self, recipe: &Recipe) -> Result<(), TrainError> {
        if recipe.checkpoint.is_due(self.step) { self.checkpoint(recipe) } else { Ok(()) }
    }

    /// Writes a checkpoint of the present state, unless it is on disk already.
    ///
    /// # Errors
    ///
    /// If the disk refuses; older checkpoints are then as they were.
    pub fn checkpoint(&mut self, recipe: &Recipe) -> Result<(), TrainError> {
        if self.saved == Some(self.step) {
            return Ok(());
        }
        self.telemetry.phase("checkpoint");
        self.telemetry.flush()?;
        let step = self.step;
        self.store
            .write(step, |draft| self.fill(draft, recipe))
            .map_err(|source| TrainError::Write { step, source })?;
        self.saved = Some(step);
        Ok(())
    }

    fn fill(&self, draft: &mut Draft, recipe: &Recipe) -> Result<(), WriteError> {
        self.policy.save(draft, recipe.checkpoint.max_shard_bytes.get())?;
        let format = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        draft.tensors(OPTIMIZER, means(&self.optimizer), &BTreeMap::new())?;
        if let Some(critic) = &self.critic {
            draft.tensors(CRITIC, views(&critic.weights), &format)?;
            draft.tensors(CRITIC_OPTIMIZER, means(&critic.optimizer), &BTreeMap::new())?;
        }
        let reference = self.reference.as_ref().filter(|_| follows(recipe)).and_then(Reference::weights);
        if let Some(reference) = reference {
            draft.tensors(REFERENCE, views(reference), &format)?;
        }
        draft.json(
            TRAINER,
            &TrainerState {
                format: TRAINER_FORMAT,
                rltrain: env!("CARGO_PKG_VERSION").to_owned(),
                step: self.step,
                optimizer_updates: self.optimizer.updates,
                critic_updates: self.critic.as_ref().map_or(0, |critic| critic.optimizer.updates),
                skipped_in_a_row: self.skipped_in_a_row,
                kl_coefficient: self.kl_coefficient,
                tasks_drawn: self.tasks_drawn,
                micro_batch_tokens: NonZeroUsize::new(self.token_budget.tokens())
                    .filter(|tokens| *tokens < recipe.optimizer.micro_batch_tokens),
                compute: self.policy.compute.into(),
                train_tasks_blake3: self.tasks.blake3().to_owned(),
                heldout_tasks_blake3: self.heldout.blake3().to_owned(),
            },
        )
    }
}

/// Whether the reference changes during a run, so that a checkpoint has to hold it.
fn follows(recipe: &Recipe) -> bool {
    matches!(recipe.algorithm.reference, ReferenceKind::Sync | ReferenceKind::Ema)
}

fn views(weights: &Weights) -> impl Iterator<Item = (String, HostView)> {
    weights.iter().map(|(name, tensor)| (name.to_owned(), HostView::new(tensor)))
}

fn means(optimizer: &Optimizer) -> impl Iterator<Item = (String, HostView)> {
    optimizer.state().map(|(name, tensor)| (name, HostView::new(tensor)))
}
