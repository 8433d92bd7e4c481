//! Everything a run holds between steps, and how it is started, saved and resumed.

mod provenance;
mod remote;
mod saver;
mod saving;
mod start;

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
use crate::algorithm::{AdvantageEstimator, ReferenceKind};
use crate::attempts::Attempts;
use crate::critic::Critic;
use crate::critic::verifier::{Verifier, new_verifier};
use crate::environment::Environment;
use crate::error::TrainError;
use crate::eval::{Evaluations, Examinee};
use crate::fleet::Fleet;
use crate::journal::Journal;
use crate::learner::Learner;
use crate::memory::forget_resident_peak;
use crate::memory::{Lengths, TaskLengths};
use crate::optim::{Optimizer, TokenBudget, UpdateReport};
use crate::policy::Policy;
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
    /// Where what is saved comes from.
    provenance: Provenance,
    /// Dropped before the lock: it may still have something to write.
    saver: Saver,
    /// Copies to the remote store, if the recipe has one.
    pusher: Option<Pusher>,
    lock: RunLock,
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
        let run = &recipe.run;
        let mut lock = start::lock_if_started(run)?;
        crate::mkl::set_fast(recipe.model.fast_matmul);
        let tasks = TaskSet::load(&recipe.tasks.train)?;
        let heldout = TaskSet::load(&recipe.tasks.heldout)?;
        for set in [&tasks, &heldout] {
            fit(recipe, set)?;
        }
        let prompter = Prompter::new(&recipe.tasks, &recipe.episode)?;
        let rewards = RewardSet::build(&recipe.rewards)?;
        let fetched = remote::pull_if_new(recipe, start)?.map(|(locked, message)| {
            lock = Some(locked);
            message
        });
        let mut opening = Opening::find(recipe, start)?;
        opening.messages.extend(fetched);
        let policy = load_policy(recipe, &opening)?;
        check_lengths(recipe, &policy, &prompter, &[&tasks, &heldout])?;
        let provenance = Provenance::here(recipe, &policy, [&tasks, &heldout], opening.known.as_ref())?;
        opening.compare(&provenance, recipe)?;
        let mut environment = Environment::new(recipe, (tasks, prompter, rewards))?;
        environment.fleet = Fleet::of(recipe, &policy)?;

        let lock = lock.map_or_else(|| RunLock::acquire(run), Ok)?;
        opening.messages.extend(start::tell_stale(&lock));
        let store = Store::open(&run.join(CHECKPOINTS))?;
        let step = opening.checkpoint.as_ref().map_or(0, Checkpoint::step);
        if let Some(from) = start.from {
            opening.messages.extend(start::set_later_aside(&store, from)?);
        }
        let evaluations = Evaluations::open(run, step, heldout.blake3())?;
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
                kl_coefficient: recipe.algorithm.kl_coefficient,
                token_budget: TokenBudget::new(recipe.optimizer.micro_batch_tokens),
                policy,
            },
            environment,
            telemetry: Telemetry::open(run, past, recipe.steps, ProgressMode::Auto)?,
            journal: Journal::open(run, step)?,
            traps: Traps::default(),
            evaluations,
            ahead: None,
            skipped_in_a_row: 0,
            saver: Saver::new(store, opening.checkpoint.as_ref().map(Checkpoint::step)),
            pusher: Pusher::of(recipe),
            heldout,
            provenance,
            lock,
        };
        session.tell_copied();
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
        opening.messages.push(begun);
        for message in opening.settle(recipe, start, &self.provenance, &self.lock)? {
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

/// The critic of a new run, if the estimator asks for one.
fn new_critic(recipe: &Recipe, policy: &Policy) -> Result<Option<Critic>, TrainError> {
    if recipe.algorithm.advantage != AdvantageEstimator::Gae {
        return Ok(None);
    }
    let folder = recipe.critic.path.as_ref().unwrap_or(&recipe.model.path);
    Ok(Some(Critic::new(&recipe.critic, policy, folder)?))
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
