//! `rltrain eval`: a model on a file of tasks, with everything it sampled kept by content, so that an evaluation that was killed goes
//! on, and one that is done costs nothing.
//!
//! ```text
//! Plan ─▶ Keys ─▶ Store (attempts.jsonl) ◀─ attempts ◀─ play, verdicts, public tests, efficiency
//!                    │
//!                    └─▶ Results ─▶ results.json, results.md, samples.jsonl
//! ```

mod attempts;
mod compare;
mod keys;
mod markdown;
mod measures;
mod results;
mod store;

use std::path::Path;

pub use compare::{ChangedTask, Compared, Comparison, compare};
use keys::Keys;
pub use results::{Matched, Measure, Results, SearchResult, TaskResult, read_results};
use rltrain_checkpoints::{Checkpoint, RunLock, replace_file};
use rltrain_rewards::RewardSet;
use serde_json::json;
use store::Store;

use super::examinee::Examinee;
use crate::critic::verifier::{Verifier, new_verifier};
use crate::environment::Environment;
use crate::error::TrainError;
use crate::policy::Policy;
use crate::recipe::Recipe;
use crate::rollout::Prompter;
use crate::session::check_lengths;
use crate::stop::StopFlag;
use crate::tasks::TaskSet;

/// Names inside a folder of results.
const RESULTS: &str = "results.json";
const REPORT: &str = "results.md";
const SAMPLES: &str = "samples.jsonl";

/// What is evaluated, and how. The recipe says everything that a run's evaluation would be told by it: its model, its templates, its
/// sandbox, `[eval]`, `[verifier]`; its task files are not read.
pub struct Plan {
    /// How.
    pub recipe: Recipe,
    /// The checkpoint that the model is of, if it is one of a run.
    pub checkpoint: Option<Checkpoint>,
    /// The model as the user has named it.
    pub name: String,
    /// What is attempted.
    pub tasks: TaskSet,
}

/// Who attempts, once something has to be attempted.
struct Hall {
    policy: Policy,
    environment: Environment,
    verifier: Option<Verifier>,
}

impl Plan {
    /// Attempts what has not been attempted yet, and writes the results into `folder`; `tell` hears of progress. `None` if `stop` was
    /// asked for before the end: the same again goes on.
    ///
    /// # Errors
    ///
    /// If the model, the sandbox or the disk fails, or another process evaluates into the folder.
    pub fn evaluate(
        &self,
        folder: &Path,
        stop: &StopFlag,
        tell: &dyn Fn(&str),
    ) -> Result<Option<Results>, TrainError> {
        let _lock = RunLock::acquire(folder)?;
        crate::mkl::set_fast(self.recipe.model.fast_matmul);
        let keys = Keys::of(self)?;
        let mut store = Store::open(folder)?;
        let mut hall = None;
        if !attempts::missing(self, &keys, &store).is_empty() {
            let hall = hall.insert(Hall::open(self)?);
            if !attempts::attempt(self, hall.attending(self), (&keys, &mut store), stop, tell)? {
                return Ok(None);
            }
        }
        let samples = attempts::of_tasks(self, &keys, &store);
        let mut open = |then: &mut dyn FnMut(Attending<'_>) -> Result<(), TrainError>| {
            if hall.is_none() {
                hall = Some(Hall::open(self)?);
            }
            hall.as_mut().map_or(Ok(()), |hall| then(hall.attending(self)))
        };
        let forecasts = attempts::forecasts(self, (&keys, &mut store), &samples, &mut open)?;
        let searches = attempts::searches(self, (&keys, &mut store), &samples, &mut open)?;
        let results = Results::of(self, &keys, &samples, forecasts.as_deref(), searches);
        self.write(folder, &results, &samples)?;
        Ok(Some(results))
    }

    /// Writes what people and other programs read.
    fn write(
        &self,
        folder: &Path,
        results: &Results,
        samples: &[Vec<store::Attempt>],
    ) -> Result<(), TrainError> {
        let mut lines = String::new();
        for (task, attempts) in self.tasks.iter().zip(samples) {
            for attempt in attempts {
                let line = json!({
                    "task_id": task.id, "completion": attempt.completion.text,
                    "solution": crate::execution::program(task, &attempt.completion.text),
                    "sample": attempt.sample, "passed": attempt.verdict.all_passed(),
                });
                lines.push_str(&line.to_string());
                lines.push('\n');
            }
        }
        replace_file(&folder.join(SAMPLES), lines.as_bytes())?;
        replace_file(&folder.join(REPORT), results.to_string().as_bytes())?;
        let path = folder.join(RESULTS);
        let json = serde_json::to_string_pretty(results);
        let json = json.map_err(|source| TrainError::Json { path: path.clone(), source })?;
        Ok(replace_file(&path, (json + "\n").as_bytes())?)
    }
}

impl Hall {
    /// Loads the model, and the verifier if there is one, and starts the sandbox.
    fn open(plan: &Plan) -> Result<Hall, TrainError> {
        let recipe = &plan.recipe;
        let (kind, device) = recipe.model.kind_and_device()?;
        let mut policy = Policy::load(&recipe.model.path, kind, device)?;
        policy.prepare(&recipe.model, recipe.seed)?;
        if let Some(checkpoint) = &plan.checkpoint {
            policy.restore(checkpoint)?;
        }
        let prompter = Prompter::new(&recipe.tasks, &recipe.episode)?;
        check_lengths(recipe, &policy, &prompter, &[&plan.tasks])?;
        let verifier = new_verifier(recipe, &policy, true)?;
        let rewards = RewardSet::build(&recipe.rewards)?;
        let environment = Environment::new(recipe, (plan.tasks.clone(), prompter, rewards))?;
        Ok(Hall { policy, environment, verifier })
    }

    fn attending<'a>(&'a mut self, plan: &'a Plan) -> Attending<'a> {
        Attending {
            policy: &self.policy,
            verifier: self.verifier.as_ref(),
            environment: &mut self.environment,
            tasks: &plan.tasks,
        }
    }
}

/// An [`Examinee`] whose surroundings may still learn about tasks.
struct Attending<'a> {
    policy: &'a Policy,
    verifier: Option<&'a Verifier>,
    environment: &'a mut Environment,
    tasks: &'a TaskSet,
}

impl Attending<'_> {
    fn examinee(&self) -> Examinee<'_> {
        let Attending { policy, verifier, environment, tasks } = self;
        Examinee { policy, environment, verifier: *verifier, tasks, step: 0 }
    }
}
