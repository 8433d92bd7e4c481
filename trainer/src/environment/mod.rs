//! What attempts are made in: tasks, prompts, the sandbox and rewards, with what a run has come to know of its tasks.
//!
//! It belongs to whoever makes attempts. Where sampling runs ahead of learning, that is a thread of its own, which has it for as
//! long as a step is learnt from ([`train`](crate::train)); so no tensor is in it, and learning reads nothing of it.

mod visiting;

use std::sync::Arc;

use rltrain_executor::Executor;
use rltrain_rewards::{History, RewardSet};
pub use visiting::new_pass_rates;

use crate::attempts::Attempts;
use crate::error::TrainError;
use crate::execution::start_executor;
use crate::facts::{Bench, Facts, Wanted};
use crate::fleet::Fleet;
use crate::ranks::Ranks;
use crate::recipe::Recipe;
use crate::rng::Stream;
use crate::rollout::grammar::{CompiledGrammar, DrawnLanguage};
use crate::rollout::{Prompter, Sampling};
use crate::tasks::{PassRates, TaskSet};

/// What attempts are made in. Made by [`Environment::new`]; changed by whoever makes attempts.
pub struct Environment {
    /// Training tasks.
    pub tasks: TaskSet,
    /// Tasks to prompts.
    pub prompter: Prompter,
    /// The language that completions are words of, if the recipe has one, and how they are drawn from it.
    pub language: Option<DrawnLanguage>,
    /// Who samples, if that is not done here.
    pub fleet: Option<Fleet>,
    /// The sandbox.
    pub executor: Executor,
    /// Verdicts to rewards.
    pub rewards: RewardSet,
    /// What rewards know of tasks from earlier steps.
    pub history: History,
    /// What is known from running the tasks' own programs.
    pub facts: Facts,
    /// Tasks drawn so far, or passed over by a curriculum: where the next step goes on.
    pub tasks_drawn: u64,
    /// How often tasks are solved, if the recipe decides anything by it.
    pub pass_rates: Option<PassRates>,
    /// Who else makes attempts at the same tasks.
    pub ranks: Ranks,
}

impl Environment {
    /// That of a new run of `recipe` over `tasks`; starts the sandbox. Attempts are sampled here.
    ///
    /// # Errors
    ///
    /// If the recipe's grammar does not compile for the policy's tokenizer, or the sandbox cannot be started.
    pub fn new(
        recipe: &Recipe,
        (tasks, prompter, rewards): (TaskSet, Prompter, RewardSet),
    ) -> Result<Environment, TrainError> {
        Ok(Environment {
            language: language(recipe)?,
            fleet: None,
            executor: start_executor(&recipe.executor)?,
            pass_rates: new_pass_rates(recipe, tasks.len()),
            tasks,
            prompter,
            rewards,
            history: History::default(),
            facts: Facts::default(),
            tasks_drawn: 0,
            ranks: Ranks::alone(),
        })
    }

    /// How the recipe samples at a step.
    pub fn sampling(&self, recipe: &Recipe, stream: Stream, step: u64, temperature: f64) -> Sampling {
        let sampling = recipe.rollout.sampling(recipe.seed, stream, step, temperature);
        Sampling { grammar: self.language.clone(), ..sampling }
    }

    /// Finds out what rewards want to know of the drawn tasks, unless that is known already. Returns what the user should be told.
    ///
    /// # Errors
    ///
    /// If the sandbox fails.
    pub fn learn_facts(&mut self, recipe: &Recipe, drawn: &[usize]) -> Result<Vec<String>, TrainError> {
        let bench = Bench { executor: &self.executor, limits: recipe.executor.limits };
        let tasks = drawn.iter().map(|task| &self.tasks[*task]);
        Ok(self.facts.learn(Wanted::by(&self.rewards), bench, tasks)?)
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
}

/// The language of the recipe, compiled for the policy's tokenizer.
fn language(recipe: &Recipe) -> Result<Option<DrawnLanguage>, TrainError> {
    let Some(config) = &recipe.rollout.grammar else { return Ok(None) };
    let language = CompiledGrammar::for_model(config, &recipe.model.path)?;
    Ok(Some((Arc::new(language), config.method)))
}
