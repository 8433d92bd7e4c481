//! What a checkpoint holds, and how a run takes it up again.
//!
//! ```text
//! model/, master.safetensors, adapter/    the policy, as `policy/saving.rs` says
//! optimizer.safetensors     its running means
//! critic.safetensors        the critic's weights, if there is one
//! critic-optimizer.safetensors
//! verifier.json, …          a verifier, as `critic/verifier/checkpoint.rs` says
//! reference.safetensors     the reference, if it follows the policy; a frozen one is read from where the run started
//! rewards.json              what rewards know of tasks: from earlier steps, and from running the tasks' own programs
//! trainer.json              everything that is not a tensor
//! traps.json                what earlier steps looked like, which warnings depend on
//! ahead.json                the next step's attempts, if they were sampled ahead of time
//! pass-rates.json           the last visits to every task, if the recipe decides anything by them
//! ```

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use rltrain_checkpoints::{Checkpoint, Draft, ReadError, WriteError};
use rltrain_rewards::History;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Session;
use crate::algorithm::ReferenceKind;
use crate::attempts::Attempts;
use crate::error::TrainError;
use crate::facts::Facts;
use crate::optim::{Optimizer, TokenBudget};
use crate::policy::{Compute, HostView, Weights};
use crate::recipe::Recipe;
use crate::reference::Reference;
use crate::tasks::{PassRates, Visit};
use crate::traps::Traps;

/// Names inside a checkpoint.
const OPTIMIZER: &str = "optimizer.safetensors";
const CRITIC: &str = "critic.safetensors";
const CRITIC_OPTIMIZER: &str = "critic-optimizer.safetensors";
const REFERENCE: &str = "reference.safetensors";
const TRAINER: &str = "trainer.json";
const AHEAD: &str = "ahead.json";
const PASS_RATES: &str = "pass-rates.json";
const REWARDS: &str = "rewards.json";
const TRAPS: &str = "traps.json";

/// Version of `trainer.json` that this build writes and reads.
const TRAINER_FORMAT: u64 = 2;

/// Version of `ahead.json`.
const AHEAD_FORMAT: u64 = 1;

/// Version of `pass-rates.json`.
const PASS_RATES_FORMAT: u64 = 1;

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
    /// Tasks drawn so far, or passed over by a curriculum.
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
        read_versioned(checkpoint, TRAINER, TRAINER_FORMAT)
    }
}

/// `pass-rates.json`: by task, in the order of the task file, the visits that are remembered, the newest last.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PassRatesState {
    format: u64,
    visits: Vec<Vec<Visit>>,
}

/// `ahead.json`, as it is written.
#[derive(Serialize)]
struct Ahead<'a> {
    format: u64,
    attempts: &'a Attempts,
}

/// `ahead.json`, as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AheadState {
    #[serde(rename = "format")]
    _format: u64,
    attempts: Attempts,
}

/// Version of `rewards.json` that this build writes and reads.
const REWARDS_FORMAT: u64 = 1;

/// `rewards.json`. A checkpoint without it is of a build whose rewards knew nothing of earlier steps; that knowledge then begins
/// where the run is taken up.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RewardsState {
    /// Version of this file's keys.
    format: u64,
    history: History,
    facts: Facts,
}

/// Version of `traps.json` that this build writes and reads.
const TRAPS_FORMAT: u64 = 1;

/// `traps.json`. A checkpoint without it is of a build whose warnings knew nothing of what came before; that knowledge then begins
/// where the run is taken up.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrapsState {
    /// Version of this file's keys.
    format: u64,
    traps: Traps,
}

/// The one key that every version of these files has.
#[derive(Deserialize)]
struct Version {
    format: u64,
}

/// The file `name` of a checkpoint, whose keys are those of version `wanted`.
fn read_versioned<T: DeserializeOwned>(
    checkpoint: &Checkpoint,
    name: &str,
    wanted: u64,
) -> Result<T, ReadError> {
    let version: Version = checkpoint.json(name)?;
    if version.format != wanted {
        let path = checkpoint.path().join(name);
        return Err(ReadError::Format { path, found: version.format, wanted });
    }
    checkpoint.json(name)
}

/// As [`read_versioned`], of a file that older programs did not write; `None` if it is not there.
fn read_if_there<T: DeserializeOwned>(
    checkpoint: &Checkpoint,
    name: &str,
    wanted: u64,
) -> Result<Option<T>, ReadError> {
    let is_there = checkpoint.manifest().files.contains_key(name);
    is_there.then(|| read_versioned(checkpoint, name, wanted)).transpose()
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
        if let Some(verifier) = &mut self.verifier {
            verifier.restore(checkpoint)?;
        }
        if let (Some(reference), true) = (&mut self.reference, follows(recipe)) {
            reference.restore(&checkpoint.read_tensors(REFERENCE)?)?;
        }
        // The last step has none after it.
        if recipe.rollout.staleness > 0 && checkpoint.manifest().files.contains_key(AHEAD) {
            let state: AheadState = read_versioned(checkpoint, AHEAD, AHEAD_FORMAT)?;
            self.ahead = Some(state.attempts);
        }
        if self.pass_rates.is_some() {
            let state: PassRatesState = read_versioned(checkpoint, PASS_RATES, PASS_RATES_FORMAT)?;
            self.pass_rates = Some(PassRates::restored(state.visits, recipe.tasks.pass_rate_visits));
        }
        if let Some(state) = read_if_there::<RewardsState>(checkpoint, REWARDS, REWARDS_FORMAT)? {
            (self.history, self.facts) = (state.history, state.facts);
        }
        if let Some(state) = read_if_there::<TrapsState>(checkpoint, TRAPS, TRAPS_FORMAT)? {
            self.traps = state.traps;
            // The policy of a checkpoint is evaluated after it was saved, and the user has been told what came of that.
            if let Some(evaluation) = self.evaluations.at(self.step) {
                let _ = self.traps.evaluated(evaluation);
            }
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
        if let Some(verifier) = &self.verifier {
            verifier.save(draft, &verifier.state())?;
        }
        let reference = self.reference.as_ref().filter(|_| follows(recipe)).and_then(Reference::weights);
        if let Some(reference) = reference {
            draft.tensors(REFERENCE, views(reference), &format)?;
        }
        if let Some(attempts) = &self.ahead {
            draft.json(AHEAD, &Ahead { format: AHEAD_FORMAT, attempts })?;
        }
        if let Some(rates) = &self.pass_rates {
            let visits = rates.visits().to_vec();
            draft.json(PASS_RATES, &PassRatesState { format: PASS_RATES_FORMAT, visits })?;
        }
        let (history, facts) = (self.history.clone(), self.facts.clone());
        draft.json(TRAPS, &TrapsState { format: TRAPS_FORMAT, traps: self.traps.clone() })?;
        draft.json(REWARDS, &RewardsState { format: REWARDS_FORMAT, history, facts })?;
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
