//! What a checkpoint holds, and how a run takes it up again.
//!
//! ```text
//! model/, master.safetensors, adapter/    the policy, as `policy/saving.rs` says
//! unprojected.safetensors   the trained f32 weights, where the others are shown projected, as `held.rs` says
//! optimizer.safetensors     its running means
//! critic.safetensors        the critic's weights, if there is one
//! critic-optimizer.safetensors
//! verifier.json, …          a verifier, as `critic/verifier/checkpoint.rs` says
//! reference.safetensors     the reference, if it follows the policy; a frozen one is read from where the run started
//! rewards.json              what rewards know of tasks: from earlier steps, and from running the tasks' own programs
//! trainer.json              everything that is not a tensor
//! provenance.json           where all this comes from, as `provenance.rs` says
//! traps.json                what earlier steps looked like, which warnings depend on
//! ahead.json                the next step's attempts, if they were sampled ahead of time
//! dataset.json              what attempts came to, if the recipe gathers that
//! pass-rates.json           the last visits to every task, if the recipe decides anything by them
//! ```

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Instant;

use rltrain_checkpoints::{Checkpoint, ReadError, Retention, WriteError};
use rltrain_rewards::History;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::provenance::PROVENANCE;
use super::remote::{NotPushed, Pusher};
use super::saver::{Failed, chain};
use super::{Session, gathered, held};
use crate::algorithm::ReferenceKind;
use crate::attempts::Attempts;
use crate::error::TrainError;
use crate::facts::Facts;
use crate::optim::{Optimizer, TokenBudget};
use crate::policy::{Compute, HostView, Weights};
use crate::recipe::Recipe;
use crate::reference::Reference;
use crate::snapshot::{Files, Snapshot};
use crate::tasks::{PassRates, Visit};
use crate::telemetry::Metrics;
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
    pub(super) train_tasks_blake3: String,
    pub(super) heldout_tasks_blake3: String,
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
pub(super) fn read_versioned<T: DeserializeOwned>(
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
        self.learner.policy.restore(checkpoint)?;
        held::restore(&self.learner, checkpoint)?;
        let means = checkpoint.read_tensors(OPTIMIZER)?;
        self.restore_optimizer(state.optimizer_updates, &means, recipe)?;
        if let Some(critic) = &mut self.learner.critic {
            let weights = checkpoint.read_tensors(CRITIC)?;
            let means = checkpoint.read_tensors(CRITIC_OPTIMIZER)?;
            critic.restore(&recipe.critic, state.critic_updates, &weights, &means)?;
        }
        if let Some(verifier) = &mut self.verifier {
            verifier.restore(checkpoint)?;
        }
        if let (Some(reference), true) = (&mut self.learner.reference, follows(recipe)) {
            reference.restore(&checkpoint.read_tensors(REFERENCE)?)?;
        }
        // What is known of tasks by their places is of no use with others.
        let same_tasks = self.environment.tasks.blake3() == state.train_tasks_blake3;
        if same_tasks {
            gathered::restore(&mut self.learner, checkpoint, recipe)?;
        }
        // The last step has none after it.
        if same_tasks && recipe.rollout.staleness > 0 && checkpoint.manifest().files.contains_key(AHEAD) {
            let state: AheadState = read_versioned(checkpoint, AHEAD, AHEAD_FORMAT)?;
            self.ahead = Some(state.attempts);
        }
        if same_tasks && self.environment.pass_rates.is_some() {
            let state: PassRatesState = read_versioned(checkpoint, PASS_RATES, PASS_RATES_FORMAT)?;
            self.environment.pass_rates =
                Some(PassRates::restored(state.visits, recipe.tasks.pass_rate_visits));
        }
        if let Some(state) = read_if_there::<RewardsState>(checkpoint, REWARDS, REWARDS_FORMAT)? {
            (self.environment.history, self.environment.facts) = (state.history, state.facts);
        }
        if let Some(state) = read_if_there::<TrapsState>(checkpoint, TRAPS, TRAPS_FORMAT)? {
            self.traps = state.traps;
            // The policy of a checkpoint is evaluated after it was saved, and the user has been told what came of that.
            if let Some(evaluation) = self.evaluations.at(self.step) {
                let _ = self.traps.evaluated(evaluation);
            }
        }
        self.learner.kl_coefficient = state.kl_coefficient;
        if let Some(tokens) = state.micro_batch_tokens {
            self.learner.token_budget = TokenBudget::new(tokens.min(recipe.optimizer.micro_batch_tokens));
        }
        self.environment.tasks_drawn = state.tasks_drawn;
        self.skipped_in_a_row = state.skipped_in_a_row;
        Ok(())
    }

    /// Begins to write a checkpoint if the recipe wants one after this step; the run goes on meanwhile. Reports one that could
    /// not be written, which costs nothing but that: older ones are as they were, and the next is tried when it is due.
    ///
    /// # Errors
    ///
    /// If processes share the optimizer's state out, and one is gone.
    pub fn checkpoint_if_due(&mut self, recipe: &Recipe) -> Result<(), TrainError> {
        if recipe.checkpoint.is_due(self.step) {
            self.gather_state(recipe)?;
        }
        if !self.learner.ranks.is_first() {
            return Ok(());
        }
        let looked = self.saver.look();
        self.report(recipe, looked);
        self.push_if_idle(recipe);
        if !recipe.checkpoint.is_due(self.step) || self.saver.saved() == Some(self.step) {
            return Ok(());
        }
        self.telemetry.phase("checkpoint");
        let start = Instant::now();
        let waited = self.saver.wait();
        self.report(recipe, waited);
        // What is sent from here on is kept by the retention of the checkpoint that is about to be written.
        self.push_if_idle(recipe);
        let step = self.step;
        let retention = self.retention(recipe);
        let begun = match self.snapshot(recipe) {
            Ok(snapshot) => self.saver.begin(step, snapshot, retention),
            Err(source) => self.saver.settle(step, Err(source)),
        };
        self.gathered = None;
        self.report(recipe, begun);
        self.saver.stood_still(start.elapsed());
        Ok(())
    }

    /// Writes a checkpoint of the present state, unless it is on disk already, and waits for it, and for its copy in the remote store
    /// if the recipe has one. That the store fails is only reported.
    ///
    /// # Errors
    ///
    /// If the disk refuses; older checkpoints are then as they were.
    pub fn checkpoint(&mut self, recipe: &Recipe) -> Result<(), TrainError> {
        self.gather_if_missing(recipe)?;
        if !self.learner.ranks.is_first() {
            return Ok(());
        }
        let written = self.checkpoint_on_disk(recipe);
        self.gathered = None;
        written?;
        let retention = self.retention(recipe);
        if let (Some(pusher), Some(saved)) = (&mut self.pusher, self.saver.saved()) {
            let pushed = pusher.finish(saved, retention);
            self.report_push(recipe, pushed);
        }
        Ok(())
    }

    /// As [`Session::checkpoint`], and copies nothing.
    fn checkpoint_on_disk(&mut self, recipe: &Recipe) -> Result<(), TrainError> {
        self.telemetry.phase("checkpoint");
        let waited = self.saver.wait();
        self.report(recipe, waited);
        if self.saver.saved() == Some(self.step) {
            return Ok(());
        }
        let (step, retention) = (self.step, self.retention(recipe));
        let written = match self.snapshot(recipe) {
            Ok(snapshot) => self.saver.write(step, snapshot, retention),
            Err(source) => self.saver.settle(step, Err(source)),
        };
        if self.saver.saved() == Some(step) {
            self.report(recipe, written);
            return Ok(());
        }
        written.map_err(|Failed { step, source }| TrainError::Write {
            step,
            source,
            kept: self.saver.newest(),
        })
    }

    /// Has the newest checkpoint copied to the remote store, if it has one, nothing is being copied, and nothing is being written that
    /// could have it deleted.
    fn push_if_idle(&mut self, recipe: &Recipe) {
        let looked = self.pusher.as_mut().map_or(Ok(()), Pusher::look);
        self.report_push(recipe, looked);
        let retention = self.retention(recipe);
        let (is_idle, saved) = (self.saver.is_idle(), self.saver.saved());
        if let (Some(pusher), true, Some(saved)) = (&mut self.pusher, is_idle, saved) {
            let begun = pusher.begin(saved, retention);
            self.report_push(recipe, begun);
        }
    }

    /// Tells of a checkpoint that could not be copied to the remote store.
    fn report_push(&self, recipe: &Recipe, pushed: Result<(), NotPushed>) {
        let Err(NotPushed { step, source }) = pushed else { return };
        let run = recipe.run.display();
        let next = if self.step < recipe.steps {
            "it is on this disk, and the next one is tried when it is written".to_owned()
        } else {
            let url = recipe.checkpoint.remote.as_deref().unwrap_or_default();
            format!("it is on this disk; `rltrain ckpt push {run} {url}` sends it")
        };
        self.telemetry.message(&format!(
            "warning: the checkpoint of step {step} is not in the remote store: {}; {next}",
            chain(&source)
        ));
    }

    /// Has to be called before anything changes a tensor that checkpoints hold.
    pub fn before_update(&mut self, recipe: &Recipe) {
        let start = Instant::now();
        let parted = self.saver.part();
        self.saver.stood_still(start.elapsed());
        self.report(recipe, parted);
    }

    /// Adds what checkpoints cost to the timings of a step.
    pub fn add_checkpoints(&mut self, timings: &mut Metrics) {
        let (failures, stalled) = self.saver.account();
        timings.push("time/checkpoint_seconds", stalled.as_secs_f64());
        timings.push("checkpoint/failed", failures as f64);
    }

    /// Tells of a checkpoint that could not be written.
    pub(super) fn report(&self, recipe: &Recipe, written: Result<(), Failed>) {
        let Err(Failed { step, source }) = written else { return };
        if let WriteError::Tidy { .. } = source {
            self.telemetry.message(&format!("warning: {}", chain(&source)));
            return;
        }
        let kept = self.saver.newest().map_or("there is none before it".to_owned(), |newest| {
            format!("the one before it is kept, `{}`", newest.display())
        });
        let next = self.step.max(step + 1).next_multiple_of(recipe.checkpoint.every.get()).min(recipe.steps);
        self.telemetry.message(&format!(
            "warning: the checkpoint of step {step} cannot be written: {}; {kept}; the next is tried after step {next}, or where \
             the run is stopped",
            chain(&source),
        ));
    }

    /// What is kept besides the checkpoint of this step, as things are now.
    fn retention(&self, recipe: &Recipe) -> Retention {
        let scores = self.evaluations.iter().filter_map(|evaluation| {
            let best = recipe.checkpoint.best_of()?;
            Some((evaluation.step, evaluation.score(best)?))
        });
        Retention {
            keep_last: recipe.checkpoint.keep_last,
            keep_every: recipe.checkpoint.keep_every,
            scores: scores.collect(),
            in_use: self.pusher.iter().filter_map(Pusher::in_use).collect(),
        }
    }

    /// Everything that a checkpoint of this step holds.
    fn snapshot(&self, recipe: &Recipe) -> Result<Snapshot, WriteError> {
        // A checkpoint never knows more steps than `metrics.jsonl`, not even after a power cut.
        self.telemetry.flush()?;
        let mut snapshot = Snapshot::default();
        self.fill(&mut snapshot, recipe)?;
        Ok(snapshot)
    }

    fn fill(&self, files: &mut impl Files, recipe: &Recipe) -> Result<(), WriteError> {
        held::save(&self.learner, files, recipe.checkpoint.max_shard_bytes.get())?;
        gathered::save(&self.learner, files, recipe)?;
        let format = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        let optimizer = &self.learner.optimizer;
        match &self.gathered {
            Some(all) => {
                let means = optimizer.state_of(all).map(|(name, tensor)| (name, HostView::new(tensor)));
                files.tensors(OPTIMIZER, means, &BTreeMap::new())?;
            }
            None => files.tensors(OPTIMIZER, means(optimizer), &BTreeMap::new())?,
        }
        if let Some(critic) = &self.learner.critic {
            files.tensors(CRITIC, views(&critic.weights), &format)?;
            files.tensors(CRITIC_OPTIMIZER, means(&critic.optimizer), &BTreeMap::new())?;
        }
        if let Some(verifier) = &self.verifier {
            verifier.save(files, &verifier.state())?;
        }
        let reference =
            self.learner.reference.as_ref().filter(|_| follows(recipe)).and_then(Reference::weights);
        if let Some(reference) = reference {
            files.tensors(REFERENCE, views(reference), &format)?;
        }
        if let Some(attempts) = &self.ahead {
            files.json(AHEAD, &Ahead { format: AHEAD_FORMAT, attempts })?;
        }
        if let Some(rates) = &self.environment.pass_rates {
            let visits = rates.visits().to_vec();
            files.json(PASS_RATES, &PassRatesState { format: PASS_RATES_FORMAT, visits })?;
        }
        let (history, facts) = (self.environment.history.clone(), self.environment.facts.clone());
        files.json(TRAPS, &TrapsState { format: TRAPS_FORMAT, traps: self.traps.clone() })?;
        files.json(REWARDS, &RewardsState { format: REWARDS_FORMAT, history, facts })?;
        files.json(PROVENANCE, &self.provenance)?;
        files.json(
            TRAINER,
            &TrainerState {
                format: TRAINER_FORMAT,
                rltrain: env!("CARGO_PKG_VERSION").to_owned(),
                step: self.step,
                optimizer_updates: self.learner.optimizer.updates,
                critic_updates: self.learner.critic.as_ref().map_or(0, |critic| critic.optimizer.updates),
                skipped_in_a_row: self.skipped_in_a_row,
                kl_coefficient: self.learner.kl_coefficient,
                tasks_drawn: self.environment.tasks_drawn,
                micro_batch_tokens: NonZeroUsize::new(self.learner.token_budget.tokens())
                    .filter(|tokens| *tokens < recipe.optimizer.micro_batch_tokens),
                compute: self.learner.policy.compute.into(),
                train_tasks_blake3: self.environment.tasks.blake3().to_owned(),
                heldout_tasks_blake3: self.heldout.blake3().to_owned(),
            },
        )
    }
}

/// Whether the reference changes during a run, so that a checkpoint has to hold it.
fn follows(recipe: &Recipe) -> bool {
    matches!(recipe.algorithm.reference, ReferenceKind::Sync | ReferenceKind::Ema)
}

pub(super) fn views(weights: &Weights) -> impl Iterator<Item = (String, HostView)> {
    weights.iter().map(|(name, tensor)| (name.to_owned(), HostView::new(tensor)))
}

fn means(optimizer: &Optimizer) -> impl Iterator<Item = (String, HostView)> {
    optimizer.state().map(|(name, tensor)| (name, HostView::new(tensor)))
}
