//! Everything a run holds between steps, and how it is started, saved and resumed.

mod gathered;
mod held;
mod provenance;
mod remote;
mod saver;
mod saving;
mod sharing;
mod start;

use std::num::NonZeroUsize;
use std::path::PathBuf;

pub(crate) use provenance::model_hash;
pub use provenance::{
    ForkedFrom, PROVENANCE, Provenance, RunRecord, StartRecord, Surroundings, libtorch_version,
};
use remote::Pusher;
pub use remote::{pull, push};
use rltrain_checkpoints::{Checkpoint, RunLock, Store};
use rltrain_rewards::RewardSet;
use saver::Saver;
use start::Opening;
pub use start::{Start, named_checkpoint};

use crate::actor::Actor;
use crate::algorithm::ReferenceKind;
use crate::attempts::Attempts;
use crate::critic::Critic;
use crate::critic::verifier::{Verifier, new_verifier};
use crate::environment::Environment;
use crate::error::TrainError;
use crate::eval::{Evaluations, Examinee};
use crate::fleet::{Fleet, RolloutEngine};
use crate::iteration::Dataset;
use crate::journal::Journal;
use crate::learner::Learner;
use crate::memory::forget_resident_peak;
use crate::memory::{Lengths, TaskLengths};
use crate::optim::{Means, Optimizer, TokenBudget, UpdateReport};
use crate::policy::{DeviceChoice, Policy};
use crate::projection::Base;
use crate::ranks::{Ranks, RanksError};
use crate::recipe::Recipe;
use crate::reference::Reference;
use crate::rollout::{self, KvRoom, Prompter};
use crate::tasks::{self, TaskSet, fit};
use crate::telemetry::{Past, ProgressMode, RunSummary, Telemetry};
use crate::traps::Traps;

/// Name of the folder of checkpoints inside a run folder.
pub const CHECKPOINTS: &str = "checkpoints";

/// Name of the resolved recipe inside a run folder.
pub const RECIPE: &str = "recipe.toml";

/// The state of a run. Made by [`Session::start_or_resume`]; changed by `train.rs` alone.
pub struct Session {
    /// Updates done so far.
    pub step: u64,
    /// What learns.
    pub learner: Learner,
    /// What attempts are made in.
    pub environment: Environment,
    /// Who foretells verdicts, if the recipe wants that.
    pub verifier: Option<Verifier>,
    /// Tasks that are only evaluated on.
    pub heldout: TaskSet,
    /// Metrics, dashboards and the progress line.
    pub telemetry: Telemetry,
    /// Sampled programs.
    pub journal: Journal,
    /// Signs of trouble that have been told already.
    pub traps: Traps,
    /// Evaluations so far.
    pub evaluations: Evaluations,
    /// The next step's attempts, if they are sampled before this step's update.
    pub ahead: Option<Attempts>,
    skipped_in_a_row: u32,
    /// The optimizer's means put together for the checkpoint that is being made, where processes share them out.
    gathered: Option<Means>,
    /// Where what is saved comes from.
    provenance: Provenance,
    /// Dropped before the lock: it may still have something to write.
    saver: Saver,
    /// Copies to the remote store, if the recipe has one.
    pusher: Option<Pusher>,
    /// Held by the process that writes.
    lock: Option<RunLock>,
}

impl Session {
    /// Starts the run of `recipe`, or goes on where its run folder left off, or from the checkpoint that `start` names.
    ///
    /// Everything the user can get wrong is read before the run folder is made, so that a mistake leaves nothing behind.
    ///
    /// # Errors
    ///
    /// If the model, the tasks or the sandbox cannot be used, the run folder is in use, was started with another recipe or other
    /// files and `start` does not permit that, holds only damaged checkpoints, or not the one that is named.
    pub fn start_or_resume(recipe: &Recipe, start: &Start) -> Result<Session, TrainError> {
        Session::start_among(&Ranks::alone(), recipe, start)
    }

    /// As [`Session::start_or_resume`], for one of the processes that train together. All of them read the run folder, the first
    /// writes; all go on from the checkpoint that the first has found.
    ///
    /// # Errors
    ///
    /// As there, and if the processes were started with different things.
    pub fn start_among(ranks: &Ranks, recipe: &Recipe, start: &Start) -> Result<Session, TrainError> {
        if !ranks.is_alone() && recipe.rollout.engine != RolloutEngine::Local {
            return Err(RanksError::RolloutServers.into());
        }
        let run = &recipe.run;
        let writes = ranks.is_first();
        let mut lock = if writes { start::lock_if_started(run)? } else { None };
        crate::mkl::set_fast(recipe.model.fast_matmul);
        let tasks = TaskSet::load(&recipe.tasks.train)?;
        let heldout = TaskSet::load(&recipe.tasks.heldout)?;
        for set in [&tasks, &heldout] {
            fit(recipe, set)?;
        }
        let prompter = Prompter::new(&recipe.tasks, &recipe.episode)?;
        let rewards = RewardSet::build(&recipe.rewards)?;
        let fetched = if writes { remote::pull_if_new(recipe, start)? } else { None };
        let fetched = fetched.map(|(locked, message)| {
            lock = Some(locked);
            message
        });
        let mut opening = start::find_together(ranks, recipe, start)?;
        opening.messages.extend(fetched);
        let own = of_this_process(recipe, ranks);
        let policy = load_policy(&own, &opening)?;
        check_lengths(recipe, &policy, &prompter, &[&tasks, &heldout])?;
        let provenance = Provenance::here(recipe, &policy, [&tasks, &heldout], opening.known.as_ref())?;
        opening.compare(&provenance, recipe)?;
        agree(ranks, recipe, &provenance, &opening, &policy)?;
        let mut environment = Environment::new(&own, (tasks, prompter, rewards))?;
        environment.ranks = ranks.clone();
        environment.fleet = Fleet::of(recipe, &policy)?;

        let checkpoints = run.join(CHECKPOINTS);
        let mut store = Store::open_read_only(&checkpoints);
        if writes {
            let held = lock.map_or_else(|| RunLock::acquire(run), Ok)?;
            opening.messages.extend(start::tell_stale(&held));
            lock = Some(held);
            store = Store::open(&checkpoints)?;
            if let Some(from) = start.from {
                opening.messages.extend(start::set_later_aside(&store, from)?);
            }
        }
        let step = opening.checkpoint.as_ref().map_or(0, Checkpoint::step);
        let mut evaluations = Evaluations::open(run, step, heldout.blake3())?;
        if !writes {
            evaluations = evaluations.in_memory();
        }
        let past = Past {
            step,
            evaluations: evaluations.lines(),
            config: recipe.telemetry.clone(),
            parameters: recipe.parameters(),
        };
        let mut session = Session {
            step,
            verifier: new_verifier(recipe, &policy, opening.checkpoint.is_none())?,
            learner: Learner {
                optimizer: Optimizer::new(recipe.optimizer.kind, &policy.weights),
                critic: new_critic(recipe, &policy)?,
                reference: new_reference(recipe, &policy)?,
                base: new_base(recipe, &policy)?,
                dataset: Dataset::default(),
                kl_coefficient: recipe.algorithm.kl_coefficient,
                token_budget: TokenBudget::new(recipe.optimizer.micro_batch_tokens),
                ranks: ranks.clone(),
                policy,
            },
            environment,
            telemetry: if writes {
                Telemetry::open(run, past, recipe.steps, ProgressMode::Auto)?
            } else {
                Telemetry::silent(step, recipe.steps)
            },
            journal: if writes { Journal::open(run, step)? } else { Journal::silent() },
            traps: Traps::default(),
            evaluations,
            ahead: None,
            skipped_in_a_row: 0,
            gathered: None,
            saver: Saver::new(store, opening.checkpoint.as_ref().map(Checkpoint::step)),
            pusher: if writes { Pusher::of(recipe) } else { None },
            heldout,
            provenance,
            lock,
        };
        ranks.show_on(session.telemetry.phases());
        session.tell_copied();
        session.share_out(recipe);
        session.take_up(opening, recipe, start)?;
        // Reading the model and starting the sandbox took memory that no step does.
        forget_resident_peak();
        Ok(session)
    }

    /// Warns of held-out tasks that are trained on.
    fn tell_copied(&self) {
        let copied = tasks::copied(&self.environment.tasks, &self.heldout);
        if let Some(first) = copied.first() {
            self.telemetry.message(&format!(
                "warning: held-out tasks are trained on, so that evaluations measure memory: {first}, and {} pairs in all; \
                 `rltrain tasks verify` lists them",
                copied.len()
            ));
        }
    }

    /// Takes over what the run folder has, and says what that is.
    fn take_up(&mut self, mut opening: Opening, recipe: &Recipe, start: &Start) -> Result<(), TrainError> {
        let run = &recipe.run;
        let begun = match (&opening.checkpoint, &opening.state) {
            (Some(checkpoint), Some(state)) => {
                self.restore(checkpoint, state, recipe)?;
                start::resuming(run, checkpoint)
            }
            _ => format!(
                "new run in {}: {} parameters, {} tasks, {} held out",
                run.display(),
                self.learner.policy.weights.parameters(),
                self.environment.tasks.len(),
                self.heldout.len()
            ),
        };
        let Some(lock) = &self.lock else { return Ok(()) };
        opening.messages.push(begun);
        for message in opening.settle(recipe, start, &self.provenance, lock)? {
            self.telemetry.message(&message);
        }
        Ok(())
    }

    /// Who makes the next attempts: the policy as it is now.
    pub fn actor(&mut self) -> Actor<'_> {
        Actor {
            policy: &self.learner.policy,
            weights: self.step,
            verifier: self.verifier.as_ref(),
            environment: &mut self.environment,
        }
    }

    /// Who is evaluated: the policy as it is now, on the held-out tasks.
    pub fn examinee(&self) -> Examinee<'_> {
        Examinee {
            policy: &self.learner.policy,
            environment: &self.environment,
            verifier: self.verifier.as_ref(),
            tasks: &self.heldout,
            step: self.step,
        }
    }

    /// Shows warnings.
    pub fn tell(&self, warnings: Vec<String>) {
        warnings.iter().for_each(|warning| self.telemetry.message(&format!("warning: {warning}")));
    }

    /// Stops a run whose gradients are no longer numbers.
    ///
    /// # Errors
    ///
    /// [`TrainError::Diverged`] after as many steps in a row without any applied update as the recipe bears.
    pub fn watch_gradient(&mut self, recipe: &Recipe, update: &UpdateReport) -> Result<(), TrainError> {
        let lost = update.skipped > 0 && update.skipped >= update.updates;
        self.skipped_in_a_row = if lost { self.skipped_in_a_row + 1 } else { 0 };
        if self.skipped_in_a_row as usize >= recipe.optimizer.max_skipped.get() {
            return Err(TrainError::Diverged { step: self.step, in_a_row: self.skipped_in_a_row });
        }
        Ok(())
    }

    /// The newest checkpoint's folder.
    pub fn newest_checkpoint(&self) -> Option<PathBuf> {
        self.saver.newest()
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

/// The model of the checkpoint that the run goes on from, or of the recipe.
fn load_policy(recipe: &Recipe, opening: &Opening) -> Result<Policy, TrainError> {
    let mut arithmetic = recipe.model.clone();
    if let Some(state) = &opening.state {
        arithmetic.compute = state.compute;
    }
    let (kind, device) = arithmetic.kind_and_device()?;
    let saved = opening.checkpoint.as_ref().and_then(|checkpoint| Policy::model_in(checkpoint.path()));
    let mut policy = Policy::load(saved.as_ref().unwrap_or(&recipe.model.path), kind, device)?;
    policy.prepare(&recipe.model, recipe.seed)?;
    policy.truncation = recipe.rollout.truncation();
    Ok(policy)
}

/// The recipe for a process that shares its machine with others: a GPU of its own, and its part of the cores for its sandbox.
fn of_this_process(recipe: &Recipe, ranks: &Ranks) -> Recipe {
    let mut own = recipe.clone();
    let sharing = ranks.on_this_machine();
    if sharing > 1 && own.executor.workers.is_none() {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        own.executor.workers = NonZeroUsize::new((cores / sharing).max(1));
    }
    if !ranks.is_alone() && own.model.device.is_cuda() {
        own.model.device = DeviceChoice::Cuda(ranks.local_rank());
    }
    own
}

/// Checks that all processes of the run are about to train the same. Nothing has been written so far.
fn agree(
    ranks: &Ranks,
    recipe: &Recipe,
    provenance: &Provenance,
    opening: &Opening,
    policy: &Policy,
) -> Result<(), TrainError> {
    let Provenance { surroundings, recipe_blake3, start_model_blake3, .. } = provenance;
    let step = opening.checkpoint.as_ref().map_or(0, Checkpoint::step);
    let things = [
        ("the version of rltrain", surroundings.rltrain.clone()),
        ("the commit of rltrain", surroundings.commit.clone().unwrap_or_default()),
        ("the version of libtorch", surroundings.libtorch.clone()),
        ("the recipe", recipe_blake3.clone()),
        ("the run folder", recipe.run.display().to_string()),
        ("the model", start_model_blake3.clone()),
        ("the tokenizer", provenance.tokenizer_blake3.clone()),
        ("the training tasks", provenance.train_tasks_blake3.clone()),
        ("the held-out tasks", provenance.heldout_tasks_blake3.clone()),
        ("the dtype that the model is computed in", format!("{:?}", policy.compute)),
        ("the step to go on from", step.to_string()),
    ];
    Ok(ranks.agree(&things)?)
}

/// The critic of a new run, if the estimator asks for one.
fn new_critic(recipe: &Recipe, policy: &Policy) -> Result<Option<Critic>, TrainError> {
    if !recipe.algorithm.advantage.needs_critic() {
        return Ok(None);
    }
    let folder = recipe.critic.path.as_ref().unwrap_or(&recipe.model.path);
    Ok(Some(Critic::new(&recipe.critic, policy, folder)?))
}

/// What the weights are held to, if few of them may change.
fn new_base(recipe: &Recipe, policy: &Policy) -> Result<Option<Base>, TrainError> {
    let load = |config| Base::load(config, &recipe.model.path, policy);
    Ok(recipe.projection.as_ref().map(load).transpose()?)
}

/// The reference of a new run, if divergence costs anything: the model that the run starts from. Where adapters are
/// trained, that is the policy without them, unless the reference follows the policy.
fn new_reference(recipe: &Recipe, policy: &Policy) -> Result<Option<Reference>, TrainError> {
    if !recipe.algorithm.needs_reference() {
        return Ok(None);
    }
    let lora = recipe.model.lora.as_ref();
    match (recipe.algorithm.reference, lora) {
        (ReferenceKind::LoraOff, Some(_)) => Ok(Some(Reference::WithoutAdapters)),
        // What the run starts from has the adapters of the folder in it.
        (ReferenceKind::Frozen, Some(lora)) if lora.path.is_some() => Ok(Some(Reference::of_start(policy))),
        (ReferenceKind::Frozen, Some(_)) => Ok(Some(Reference::WithoutAdapters)),
        _ => Ok(Some(Reference::load(&recipe.model.path, policy)?)),
    }
}

/// Checks that every prompt with the longest completion fits into the positions that the model knows, and the longest attempt
/// into the memory that the recipe allows for keys and values.
pub(crate) fn check_lengths(
    recipe: &Recipe,
    policy: &Policy,
    prompter: &Prompter,
    sets: &[&TaskSet],
) -> Result<(), TrainError> {
    let sizes = policy.architecture.sizes();
    let (most, completion) = (sizes.max_positions as usize, recipe.rollout.max_tokens.get());
    let mut longest = 0;
    for task in sets.iter().flat_map(|set| set.iter()) {
        let prompt = prompter.prompt(task, &policy.tokenizer)?.len();
        if prompt + completion > most {
            return Err(TrainError::TooLong { task: task.id.clone(), prompt, completion, most });
        }
        longest = longest.max(prompt);
    }
    // A later turn begins behind all that was said before, and would find too little memory hours later.
    let tasks = TaskLengths { longest, ..TaskLengths::default() };
    let attempt = Lengths::longest(recipe, &tasks, most);
    let wanted = rollout::Wanted {
        attempts: 1,
        longest_prompt: if sizes.has_encoder { longest } else { longest + attempt.completion - completion },
        longest_written: attempt.completion - completion,
        max_tokens: completion,
        max_batch: 1,
        kv_memory_mib: recipe.rollout.kv_memory_mib.map(std::num::NonZeroUsize::get),
    };
    KvRoom::of(&wanted, &sizes, policy.compute)?;
    Ok(())
}
