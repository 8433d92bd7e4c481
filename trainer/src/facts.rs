//! What rewards want to know beyond the verdict on an attempt: what running a task's own programs took and showed, once for all
//! attempts at it, and what running an attempt against more than the hidden tests did.

use std::collections::BTreeMap;

use rltrain_executor::process::Language as NativeLanguage;
use rltrain_executor::toy::ToyLanguage;
use rltrain_executor::{Executor, InfraError, Job, Limits, Pending, Runtime, SuiteTest, Test, Verdict};
use rltrain_rewards::{Input, Language, Level, ReferenceRun, RewardSet, WrittenTests};
use serde::{Deserialize, Serialize};

use crate::tasks::{Task, TestedPrograms};

/// The language of the programs that a runtime runs, where rewards can read it.
pub fn language(runtime: Runtime) -> Option<Language> {
    Some(match runtime {
        Runtime::Python315 | Runtime::Python311Fast => Language::Python,
        Runtime::JavaScript => Language::JavaScript,
        Runtime::Ruby => Language::Ruby,
        Runtime::Toy(ToyLanguage::Python) => Language::Python,
        Runtime::Wasm | Runtime::Toy(ToyLanguage::Strings) => return None,
        Runtime::Native(native) => match native {
            NativeLanguage::C => Language::C,
            NativeLanguage::Cpp => Language::Cpp,
            NativeLanguage::Rust => Language::Rust,
            NativeLanguage::Go => Language::Go,
            NativeLanguage::Java => Language::Java,
            NativeLanguage::JavaScript => Language::JavaScript,
            NativeLanguage::TypeScript => return None,
            NativeLanguage::Python => Language::Python,
        },
    })
}

/// What running a task's own programs took and showed. Read by [`Task::for_rewards`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskFacts {
    /// What the reference took for the hidden tests; absent if no reward asks, or if it does not pass them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_run: Option<ReferenceRun>,
    /// What it took for each level of difficulty; empty if the task has none, no reward asks, or it does not pass them all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<Level>,
    /// What the hidden tests say about the program before the change, where the task has one and a reward asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Verdict>,
}

/// What running one attempt against more than the hidden tests showed. Read by scoring, and kept by the journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptFacts {
    /// Fuel of the task's levels, up to the first that the program does not pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub level_fuel: Vec<u64>,
    /// What came of the tests that the attempt wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_tests: Option<WrittenTests>,
    /// What about the program looks like a way around its tests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bypass: Vec<String>,
}

/// What rewards want to know of tasks and attempts beyond verdicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    reference: bool,
    before: bool,
    levels: bool,
    written_tests: bool,
}

impl Wanted {
    /// What the rewards of a recipe want.
    pub fn by(rewards: &RewardSet) -> Wanted {
        Wanted {
            reference: rewards.wants(Input::ReferenceFuel) || rewards.wants(Input::ReferenceMemory),
            before: rewards.wants(Input::Before),
            levels: rewards.wants(Input::ReferenceFuel),
            written_tests: rewards.wants(Input::WrittenTests),
        }
    }

    fn of_tasks(self) -> bool {
        self.reference || self.before
    }
}

/// Where programs are run, and within which limits.
#[derive(Clone, Copy)]
pub struct Bench<'a> {
    /// The sandbox.
    pub executor: &'a Executor,
    /// What one job may use up.
    pub limits: Limits,
}

impl Bench<'_> {
    fn submit<T: Into<Test>>(&self, program: &str, tests: impl IntoIterator<Item = T>) -> Pending {
        self.executor.submit(Job::new(program, tests, self.limits))
    }

    fn submit_levels(&self, program: &str, task: &Task) -> Vec<Pending> {
        task.levels.iter().map(|level| self.submit(program, level.tests.iter().cloned())).collect()
    }
}

/// What is known of every task that was asked about. Belongs to one runtime and one set of limits, those of the recipe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// By the content of the task, so that a file with its tasks in another order finds them again.
    tasks: BTreeMap<String, TaskFacts>,
}

/// Names what is run for a task: BLAKE3 of its programs and tests.
fn content(task: &Task) -> String {
    let parts = (&task.reference, &task.before, &task.hidden_tests, &task.levels);
    let text = serde_json::to_string(&parts).expect("texts and whole numbers are JSON");
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// The programs of one task, under way.
struct UnderWay<'a> {
    task: &'a Task,
    reference: Option<Pending>,
    levels: Vec<Pending>,
    before: Option<Pending>,
}

impl Facts {
    /// What is known of a task; nothing if it was not asked about.
    pub fn of(&self, task: &Task) -> &TaskFacts {
        static UNKNOWN: TaskFacts = TaskFacts { reference_run: None, levels: Vec::new(), before: None };
        self.tasks.get(&content(task)).unwrap_or(&UNKNOWN)
    }

    /// Runs the programs of those tasks of which it is not known yet what came of that. Returns what the user should be told.
    ///
    /// # Errors
    ///
    /// If the sandbox fails, which is not something to know about a task.
    pub fn learn<'a>(
        &mut self,
        wanted: Wanted,
        bench: Bench<'_>,
        tasks: impl IntoIterator<Item = &'a Task>,
    ) -> Result<Vec<String>, InfraError> {
        if !wanted.of_tasks() {
            return Ok(Vec::new());
        }
        let unknown: BTreeMap<String, &Task> = tasks
            .into_iter()
            .map(|task| (content(task), task))
            .filter(|(content, _)| !self.tasks.contains_key(content))
            .collect();
        let hidden = |task: &Task, program: &str| bench.submit(program, task.hidden_tests.iter().cloned());
        let start = |task| UnderWay {
            task,
            reference: task.reference().filter(|_| wanted.reference).map(|reference| hidden(task, reference)),
            levels: match task.reference() {
                Some(reference) if wanted.levels => bench.submit_levels(reference, task),
                _ => Vec::new(),
            },
            before: task.before.as_deref().filter(|_| wanted.before).map(|before| hidden(task, before)),
        };
        let under_way: Vec<_> = unknown.into_iter().map(|(content, task)| (content, start(task))).collect();
        let mut told = Vec::new();
        for (content, under_way) in under_way {
            self.tasks.insert(content, under_way.wait(&mut told)?);
        }
        Ok(told)
    }
}

impl UnderWay<'_> {
    fn wait(self, told: &mut Vec<String>) -> Result<TaskFacts, InfraError> {
        let reference = self.reference.map(Pending::wait).transpose()?;
        let levels = self.levels.into_iter().map(Pending::wait).collect::<Result<Vec<_>, _>>()?;
        let before = self.before.map(Pending::wait).transpose()?;
        if reference.iter().chain(&levels).any(|verdict| !verdict.all_passed()) {
            told.push(format!(
                "the reference of `{}` does not pass all its tests: rewards that compare with it have no score; \
                 `rltrain tasks verify` says more",
                self.task.id
            ));
            return Ok(TaskFacts { before, ..TaskFacts::default() });
        }
        let level = |(verdict, level): (&Verdict, &crate::tasks::TestLevel)| Level {
            weight: f64::from(level.weight.get()),
            reference_fuel: verdict.fuel,
        };
        Ok(TaskFacts {
            reference_run: reference.map(|verdict| ReferenceRun {
                fuel: verdict.fuel,
                peak_memory_bytes: verdict.peak_memory_bytes,
            }),
            levels: levels.iter().zip(&self.task.levels).map(level).collect(),
            before,
        })
    }
}

/// One attempt, further executions of it under way.
#[derive(Default)]
pub struct Closer {
    levels: Vec<Pending>,
    written: Option<(Pending, Vec<Pending>)>,
}

impl Closer {
    /// Runs an attempt at `task` against what `wanted` asks for beside the hidden tests, which gave `verdict`.
    pub fn look(wanted: Wanted, bench: Bench<'_>, task: &Task, program: &str, verdict: &Verdict) -> Closer {
        let levels = if wanted.levels && verdict.all_passed() {
            bench.submit_levels(program, task)
        } else {
            Vec::new()
        };
        let tested = task.tested.as_ref().filter(|_| wanted.written_tests);
        Closer { levels, written: tested.map(|tested| submit_written(bench, tested, program)) }
    }

    /// Waits for what came of it.
    ///
    /// # Errors
    ///
    /// If the sandbox fails: the attempt has no score then.
    pub fn wait(self) -> Result<AttemptFacts, InfraError> {
        let mut facts = AttemptFacts::default();
        let levels = self.levels.into_iter().map(Pending::wait).collect::<Result<Vec<_>, _>>()?;
        facts.level_fuel.extend(levels.iter().take_while(|verdict| verdict.all_passed()).map(|v| v.fuel));
        if let Some((right, wrong)) = self.written {
            let right = accepts(right)?;
            let wrong = wrong.into_iter().map(accepts).collect::<Result<Vec<_>, _>>()?;
            facts.written_tests = Some(WrittenTests {
                reference_passed: right,
                caught: wrong.iter().filter(|accepted| !**accepted).count(),
                wrong_programs: wrong.len(),
            });
        }
        Ok(facts)
    }
}

/// Whether tests that the model wrote accept a program. Where there is no test among them, or none that can be read, they accept
/// nothing: that is the model's fault and none of the infrastructure.
fn accepts(pending: Pending) -> Result<bool, InfraError> {
    match pending.wait() {
        Ok(verdict) => Ok(verdict.all_passed()),
        Err(InfraError::FaultyTest(_) | InfraError::NoTests) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Runs tests that the model wrote against each program. They see its names as if they stood below it.
fn submit_written(bench: Bench<'_>, tested: &TestedPrograms, tests: &str) -> (Pending, Vec<Pending>) {
    let suite = Test::Suite(SuiteTest { source: format!("from solution import *\n{tests}"), name: None });
    let run = |program: &String| bench.submit(program, [suite.clone()]);
    (run(&tested.right), tested.wrong.iter().map(run).collect())
}
