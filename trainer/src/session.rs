//! Everything a run holds between steps, and how it is started, saved and resumed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rltrain_checkpoints::{Checkpoint, Draft, ReadError, RunLock, Store, WriteError, replace_file};
use rltrain_executor::Executor;
use rltrain_rewards::RewardSet;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::eval::Evaluations;
use crate::execution::start_executor;
use crate::journal::Journal;
use crate::optim::{Optimizer, UpdateReport};
use crate::policy::{Compute, HostView, Policy};
use crate::recipe::{Recipe, refused_changes};
use crate::rollout::Prompter;
use crate::tasks::TaskSet;
use crate::telemetry::{ProgressMode, RunSummary, Telemetry};

/// Steps in a row without a finite gradient after which a run stops.
const MAX_SKIPPED: u32 = 5;

/// Name of the folder of checkpoints inside a run folder.
const CHECKPOINTS: &str = "checkpoints";

/// Name of the resolved recipe inside a run folder.
const RECIPE: &str = "recipe.toml";

/// Names inside a checkpoint.
const MODEL: &str = "model";
const WEIGHTS: &str = "model/model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const TRAINER: &str = "trainer.json";

/// The state of a run. Made by [`Session::start_or_resume`]; changed by `train.rs` alone.
pub struct Session {
    /// Updates done so far.
    pub step: u64,
    /// The model being trained.
    pub policy: Policy,
    /// Its optimizer.
    pub optimizer: Optimizer,
    /// Training tasks.
    pub tasks: TaskSet,
    /// Tasks that are only evaluated on.
    pub heldout: TaskSet,
    /// Tasks to prompts.
    pub prompter: Prompter,
    /// The sandbox.
    pub executor: Executor,
    /// Verdicts to rewards.
    pub rewards: RewardSet,
    /// Metrics, dashboards and the progress line.
    pub telemetry: Telemetry,
    /// Sampled programs.
    pub journal: Journal,
    /// Evaluations so far.
    pub evaluations: Evaluations,
    skipped_in_a_row: u32,
    store: Store,
    /// Step of the newest checkpoint.
    saved: Option<u64>,
    _lock: RunLock,
}

/// `trainer.json`: what a run knows besides tensors. Randomness has no state to save: every draw derives from the seed
/// and the step.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrainerState {
    /// Version of this file's keys.
    format: u64,
    /// The program that wrote it.
    rltrain: String,
    /// Updates done, skipped ones included.
    step: u64,
    /// Updates that the optimizer applied.
    optimizer_updates: u64,
    skipped_in_a_row: u32,
    /// What `auto` came to when the run started.
    compute: Compute,
    /// BLAKE3 of the task files, so that a changed file is noticed.
    train_tasks_blake3: String,
    heldout_tasks_blake3: String,
}

/// Version of `trainer.json` that this build writes and reads.
const TRAINER_FORMAT: u64 = 1;

impl Session {
    /// Starts the run of `recipe`, or goes on where its run folder left off.
    ///
    /// Everything the user can get wrong is read before the run folder is made, so that a mistake leaves nothing behind.
    ///
    /// # Errors
    ///
    /// If the model, the tasks or the sandbox cannot be used, the run folder is in use, was started with another recipe,
    /// or holds only damaged checkpoints.
    pub fn start_or_resume(recipe: &Recipe) -> Result<Session, TrainError> {
        crate::mkl::set_fast(recipe.model.fast_matmul);
        let tasks = TaskSet::load(&recipe.tasks.train)?;
        let heldout = TaskSet::load(&recipe.tasks.heldout)?;
        let prompter = Prompter::new(&recipe.tasks)?;
        let rewards = RewardSet::build(&recipe.rewards)?;
        let run = &recipe.run;
        let newest = Store::open_read_only(&run.join(CHECKPOINTS)).newest_valid()?;
        let (checkpoint, passed_over) =
            newest.map_or((None, Vec::new()), |(newest, rejected)| (Some(newest), rejected));
        let state: Option<TrainerState> =
            checkpoint.as_ref().map(|checkpoint| checkpoint.json(TRAINER)).transpose()?;
        let mut arithmetic = recipe.model.clone();
        if let Some(state) = &state {
            arithmetic.compute = state.compute;
        }
        let (kind, device) = arithmetic.kind_and_device()?;
        let model =
            checkpoint.as_ref().map_or(recipe.model.path.clone(), |checkpoint| checkpoint.path().join(MODEL));
        let policy = Policy::load(&model, kind, device)?;
        check_lengths(recipe, &policy, &prompter, &[&tasks, &heldout])?;
        let executor = start_executor(&recipe.executor)?;

        let lock = RunLock::acquire(run)?;
        pin_recipe(recipe, run)?;
        let store = Store::open(&run.join(CHECKPOINTS))?.keeping_last(recipe.checkpoint.keep_last);
        let step = checkpoint.as_ref().map_or(0, Checkpoint::step);
        let mut session = Session {
            step,
            optimizer: Optimizer::new(recipe.optimizer.kind, &policy.weights),
            policy,
            prompter,
            executor,
            rewards,
            telemetry: Telemetry::open(run, step, recipe.steps, ProgressMode::Auto)?,
            journal: Journal::open(run)?,
            evaluations: Evaluations::open(run, step, heldout.blake3())?,
            skipped_in_a_row: 0,
            store,
            saved: None,
            tasks,
            heldout,
            _lock: lock,
        };
        for rejected in passed_over {
            let (path, reason) = (rejected.path.display(), rejected.reason);
            session.telemetry.message(&format!("passed over `{path}`: {reason}"));
        }
        match checkpoint.zip(state) {
            Some((checkpoint, state)) => session.restore(&checkpoint, &state, recipe)?,
            None => session.telemetry.message(&format!(
                "new run in {}: {} parameters, {} tasks, {} held out",
                run.display(),
                session.policy.weights.parameters(),
                session.tasks.len(),
                session.heldout.len()
            )),
        }
        Ok(session)
    }

    /// Takes over optimizer and counters; the weights were loaded with the policy.
    fn restore(
        &mut self,
        checkpoint: &Checkpoint,
        state: &TrainerState,
        recipe: &Recipe,
    ) -> Result<(), TrainError> {
        let run = &recipe.run;
        if state.format != TRAINER_FORMAT {
            let path = checkpoint.path().join(TRAINER);
            return Err(ReadError::Format { path, found: state.format, wanted: TRAINER_FORMAT }.into());
        }
        for (tasks, known) in
            [(&self.tasks, &state.train_tasks_blake3), (&self.heldout, &state.heldout_tasks_blake3)]
        {
            if tasks.blake3() != known {
                return Err(TrainError::TasksChanged { path: tasks.path().to_owned(), run: run.to_owned() });
            }
        }
        let means = checkpoint.read_tensors(OPTIMIZER)?;
        self.optimizer = Optimizer::restored(
            recipe.optimizer.kind,
            state.optimizer_updates,
            &self.policy.weights,
            &means,
        )?;
        self.skipped_in_a_row = state.skipped_in_a_row;
        self.saved = Some(state.step);
        self.telemetry.message(&format!("resuming {} after step {}", run.display(), self.step));
        Ok(())
    }

    /// Stops a run whose gradients are no longer numbers.
    ///
    /// # Errors
    ///
    /// [`TrainError::Diverged`] after five skipped updates in a row.
    pub fn watch_gradient(&mut self, update: &UpdateReport) -> Result<(), TrainError> {
        self.skipped_in_a_row = if update.skipped { self.skipped_in_a_row + 1 } else { 0 };
        if self.skipped_in_a_row >= MAX_SKIPPED {
            return Err(TrainError::Diverged { step: self.step, in_a_row: self.skipped_in_a_row });
        }
        Ok(())
    }

    /// Writes a checkpoint if the recipe wants one after this step.
    ///
    /// # Errors
    ///
    /// As [`Session::checkpoint`].
    pub fn checkpoint_if_due(&mut self, recipe: &Recipe) -> Result<(), TrainError> {
        if recipe.checkpoint.is_due(self.step) { self.checkpoint() } else { Ok(()) }
    }

    /// Writes a checkpoint of the present state, unless it is on disk already.
    ///
    /// # Errors
    ///
    /// If the disk refuses; older checkpoints are then as they were.
    pub fn checkpoint(&mut self) -> Result<(), TrainError> {
        if self.saved == Some(self.step) {
            return Ok(());
        }
        self.telemetry.phase("checkpoint");
        self.telemetry.flush()?;
        let step = self.step;
        self.store
            .write(step, |draft| self.fill(draft))
            .map_err(|source| TrainError::Write { step, source })?;
        self.saved = Some(step);
        Ok(())
    }

    fn fill(&self, draft: &mut Draft) -> Result<(), WriteError> {
        for (name, path) in self.policy.companions() {
            draft.copy(&path, &format!("{MODEL}/{name}"))?;
        }
        let format = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        let weights =
            self.policy.weights.iter().map(|(name, tensor)| (name.to_owned(), HostView::new(tensor)));
        draft.tensors(WEIGHTS, weights, &format)?;
        let means = self.optimizer.state().map(|(name, tensor)| (name, HostView::new(tensor)));
        draft.tensors(OPTIMIZER, means, &BTreeMap::new())?;
        draft.json(
            TRAINER,
            &TrainerState {
                format: TRAINER_FORMAT,
                rltrain: env!("CARGO_PKG_VERSION").to_owned(),
                step: self.step,
                optimizer_updates: self.optimizer.updates,
                skipped_in_a_row: self.skipped_in_a_row,
                compute: self.policy.compute.into(),
                train_tasks_blake3: self.tasks.blake3().to_owned(),
                heldout_tasks_blake3: self.heldout.blake3().to_owned(),
            },
        )
    }

    /// The newest checkpoint's folder.
    pub fn newest_checkpoint(&self) -> Option<PathBuf> {
        self.saved.map(|step| self.store.path_of(step))
    }

    /// What the run achieved, and at what cost.
    pub fn summary(&self, recipe: &Recipe) -> RunSummary {
        let compared = self.evaluations.comparisons(recipe);
        let history = self.telemetry.history();
        RunSummary {
            before: compared.iter().map(|comparison| comparison.before).collect(),
            after: compared.iter().map(|comparison| comparison.after).collect(),
            differences: compared.iter().map(|comparison| comparison.difference).collect(),
            rewards: history.rewards.clone(),
            times: history.times,
            run: recipe.run.clone(),
            checkpoint: self.newest_checkpoint(),
        }
    }
}

/// Checks that every prompt with the longest completion fits into the positions that the model knows.
fn check_lengths(
    recipe: &Recipe,
    policy: &Policy,
    prompter: &Prompter,
    sets: &[&TaskSet],
) -> Result<(), TrainError> {
    let (most, completion) =
        (policy.architecture.sizes().max_positions as usize, recipe.rollout.max_tokens.get());
    for task in sets.iter().flat_map(|set| set.iter()) {
        let prompt = prompter.prompt(task, &policy.tokenizer)?.len();
        if prompt + completion > most {
            return Err(TrainError::TooLong { task: task.id.clone(), prompt, completion, most });
        }
    }
    Ok(())
}

/// Writes the resolved recipe into a new run folder; in an old one, compares with it first.
fn pin_recipe(recipe: &Recipe, run: &Path) -> Result<(), TrainError> {
    let path = run.join(RECIPE);
    match fs_err::read_to_string(&path) {
        Ok(text) => {
            let old = text.parse().map_err(|source| TrainError::Toml { path: path.clone(), source })?;
            let changes: Vec<String> =
                refused_changes(&old, &recipe.table()).iter().map(ToString::to_string).collect();
            if !changes.is_empty() {
                return Err(TrainError::RecipeChanged { run: run.to_owned(), changes: changes.join("; ") });
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    Ok(replace_file(&path, recipe.resolved().as_bytes())?)
}
