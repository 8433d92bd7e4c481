//! Everything a run holds between steps, and how it is started, saved and resumed.

mod saving;
mod visiting;

use std::path::{Path, PathBuf};
use std::rc::Rc;

use rltrain_checkpoints::{Checkpoint, RunLock, Store, replace_file};
use rltrain_executor::Executor;
use rltrain_rewards::{History, RewardSet};
use saving::TrainerState;

use crate::algorithm::{AdvantageEstimator, ReferenceKind};
use crate::attempts::Attempts;
use crate::critic::Critic;
use crate::critic::verifier::{Verifier, new_verifier};
use crate::error::TrainError;
use crate::eval::Evaluations;
use crate::execution::start_executor;
use crate::facts::{Bench, Facts, Wanted};
use crate::journal::Journal;
use crate::memory::{Lengths, TaskLengths};
use crate::optim::{Optimizer, TokenBudget, UpdateReport};
use crate::policy::Policy;
use crate::recipe::{Recipe, refused_changes};
use crate::reference::Reference;
use crate::rng::Stream;
use crate::rollout::grammar::{CompiledGrammar, DrawnLanguage};
use crate::rollout::{self, KvRoom, Prompter, Sampling};
use crate::tasks::{self, PassRates, TaskSet};
use crate::telemetry::{ProgressMode, RunSummary, Telemetry};
use crate::traps::Traps;

/// Name of the folder of checkpoints inside a run folder.
const CHECKPOINTS: &str = "checkpoints";

/// Name of the resolved recipe inside a run folder.
const RECIPE: &str = "recipe.toml";

/// The state of a run. Made by [`Session::start_or_resume`]; changed by `train.rs` alone.
pub struct Session {
    /// Updates done so far.
    pub step: u64,
    /// The model being trained.
    pub policy: Policy,
    /// Its optimizer.
    pub optimizer: Optimizer,
    /// Who says what can be expected, if the estimator asks.
    pub critic: Option<Critic>,
    /// Who foretells verdicts, if the recipe wants that.
    pub verifier: Option<Verifier>,
    /// How many tokens go through the network together in the update.
    pub token_budget: TokenBudget,
    /// What the policy is kept near, if divergence costs anything.
    pub reference: Option<Reference>,
    /// What a nat of divergence costs.
    pub kl_coefficient: f64,
    /// Training tasks.
    pub tasks: TaskSet,
    /// Tasks that are only evaluated on.
    pub heldout: TaskSet,
    /// Tasks to prompts.
    pub prompter: Prompter,
    /// The language that completions are words of, if the recipe has one, and how they are drawn from it.
    pub language: Option<DrawnLanguage>,
    /// The sandbox.
    pub executor: Executor,
    /// Verdicts to rewards.
    pub rewards: RewardSet,
    /// What rewards know of tasks from earlier steps.
    pub history: History,
    /// What is known from running the tasks' own programs.
    pub facts: Facts,
    /// Metrics, dashboards and the progress line.
    pub telemetry: Telemetry,
    /// Sampled programs.
    pub journal: Journal,
    /// Signs of trouble that have been told already.
    pub traps: Traps,
    /// Evaluations so far.
    pub evaluations: Evaluations,
    /// Tasks drawn so far, or passed over by a curriculum: where the next step goes on.
    pub tasks_drawn: u64,
    /// How often tasks are solved, if the recipe decides anything by it.
    pub pass_rates: Option<PassRates>,
    /// The next step's attempts, if they are sampled before this step's update.
    pub ahead: Option<Attempts>,
    skipped_in_a_row: u32,
    store: Store,
    /// Step of the newest checkpoint.
    saved: Option<u64>,
    _lock: RunLock,
}

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
        let prompter = Prompter::new(&recipe.tasks, &recipe.episode)?;
        let rewards = RewardSet::build(&recipe.rewards)?;
        let run = &recipe.run;
        let newest = Store::open_read_only(&run.join(CHECKPOINTS)).newest_valid()?;
        let (checkpoint, passed_over) =
            newest.map_or((None, Vec::new()), |(newest, rejected)| (Some(newest), rejected));
        let state = checkpoint.as_ref().map(TrainerState::read).transpose()?;
        let mut arithmetic = recipe.model.clone();
        if let Some(state) = &state {
            arithmetic.compute = state.compute;
        }
        let (kind, device) = arithmetic.kind_and_device()?;
        let saved = checkpoint.as_ref().and_then(|checkpoint| Policy::model_in(checkpoint.path()));
        let mut policy = Policy::load(saved.as_ref().unwrap_or(&recipe.model.path), kind, device)?;
        policy.prepare(&recipe.model, recipe.seed)?;
        policy.truncation = recipe.rollout.truncation();
        check_lengths(recipe, &policy, &prompter, &[&tasks, &heldout])?;
        let executor = start_executor(&recipe.executor)?;

        let lock = RunLock::acquire(run)?;
        pin_recipe(recipe, run)?;
        let store = Store::open(&run.join(CHECKPOINTS))?.keeping_last(recipe.checkpoint.keep_last);
        let step = checkpoint.as_ref().map_or(0, Checkpoint::step);
        let mut session = Session {
            step,
            optimizer: Optimizer::new(recipe.optimizer.kind, &policy.weights),
            critic: new_critic(recipe, &policy)?,
            verifier: new_verifier(recipe, &policy, checkpoint.is_none())?,
            reference: new_reference(recipe, &policy)?,
            kl_coefficient: recipe.algorithm.kl_coefficient,
            token_budget: TokenBudget::new(recipe.optimizer.micro_batch_tokens),
            language: language(recipe)?,
            policy,
            prompter,
            executor,
            rewards,
            history: History::default(),
            facts: Facts::default(),
            telemetry: Telemetry::open(run, step, recipe.steps, ProgressMode::Auto)?,
            journal: Journal::open(run)?,
            traps: Traps::default(),
            evaluations: Evaluations::open(run, step, heldout.blake3())?,
            tasks_drawn: 0,
            pass_rates: visiting::new_pass_rates(recipe, tasks.len()),
            ahead: None,
            skipped_in_a_row: 0,
            store,
            saved: None,
            tasks,
            heldout,
            _lock: lock,
        };
        let copied = tasks::copied(&session.tasks, &session.heldout);
        if let Some(first) = copied.first() {
            session.telemetry.message(&format!(
                "warning: held-out tasks are trained on, so that evaluations measure memory: {first}, and {} pairs in all; \
                 `rltrain tasks verify` lists them",
                copied.len()
            ));
        }
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

    /// How the recipe samples at a step.
    pub fn sampling(&self, recipe: &Recipe, stream: Stream, step: u64, temperature: f64) -> Sampling {
        let sampling = recipe.rollout.sampling(recipe.seed, stream, step, temperature);
        Sampling { grammar: self.language.clone(), ..sampling }
    }

    /// Brings what follows the policy up to date after a step whose rollout was `kl` nats a token away from the reference.
    pub fn follow_policy(&mut self, recipe: &Recipe, kl: Option<f64>, attempts: usize) {
        let algorithm = &recipe.algorithm;
        if let Some(kl) = kl {
            self.kl_coefficient = algorithm.next_kl_coefficient(self.kl_coefficient, kl, attempts);
        }
        if let Some(reference) = &mut self.reference {
            reference.update(&self.policy.weights, algorithm.reference_update(self.step + 1));
        }
    }

    /// Finds out what rewards want to know of the drawn tasks, unless that is known already.
    ///
    /// # Errors
    ///
    /// If the sandbox fails.
    pub fn learn_facts(&mut self, recipe: &Recipe, drawn: &[usize]) -> Result<(), TrainError> {
        let bench = Bench { executor: &self.executor, limits: recipe.executor.limits };
        let tasks = drawn.iter().map(|task| &self.tasks[*task]);
        for told in self.facts.learn(Wanted::by(&self.rewards), bench, tasks)? {
            self.telemetry.message(&format!("warning: {told}"));
        }
        Ok(())
    }

    /// Takes the greedy attempts in, before those that are compared with them are scored.
    pub fn remember_greedy(&mut self, greedy: &Attempts) {
        for (group, verdicts) in greedy.groups.iter().zip(&greedy.verdicts.groups) {
            for verdict in verdicts.iter().flatten() {
                self.history.observe_greedy(&self.tasks[group.task].id, verdict);
            }
        }
    }

    /// Takes in what a step tried, after all of it was scored.
    pub fn remember(&mut self, attempts: &Attempts) {
        for (group, verdicts) in attempts.groups.iter().zip(&attempts.verdicts.groups) {
            for verdict in verdicts.iter().flatten() {
                self.history.observe(&self.tasks[group.task].id, verdict);
            }
        }
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

/// The language of the recipe, compiled for the policy's tokenizer.
fn language(recipe: &Recipe) -> Result<Option<DrawnLanguage>, TrainError> {
    let Some(config) = &recipe.rollout.grammar else { return Ok(None) };
    let language = CompiledGrammar::for_model(config, &recipe.model.path)?;
    Ok(Some((Rc::new(language), config.method)))
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
fn check_lengths(
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

/// Writes the resolved recipe into a new run folder; in an old one, compares with it first.
fn pin_recipe(recipe: &Recipe, run: &Path) -> Result<(), TrainError> {
    let path = run.join(RECIPE);
    match fs_err::read_to_string(&path) {
        Ok(text) => {
            let raw = text.parse().map_err(|source| TrainError::Toml { path: path.clone(), source })?;
            // A version that knew fewer keys did what their defaults say.
            let old = Recipe::parse(RECIPE, &text).map_or(raw, |recipe| recipe.table());
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
