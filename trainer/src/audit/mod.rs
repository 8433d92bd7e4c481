//! Whether rewards can be had without solving the task: a zoo of cheating programs and mutants of the reference, run and scored as
//! attempts are. `rltrain audit-reward` shows what came of it.

mod bypass;
mod mutants;
mod tokens;
mod zoo;

pub use bypass::bypass_signs;
pub use mutants::{Mutant, mutants};
use rltrain_executor::{Executor, Fuel, InfraError, Job, Limits, Pending, Verdict};
use rltrain_rewards::{Language, RewardError, RewardSet, Scored};
use serde::Serialize;
use thiserror::Error;
pub use zoo::{Blanks, Cheat, cheats, cheats_in};

use crate::facts::{AttemptFacts, Bench, Closer, Facts, Wanted};
use crate::scoring::{Asked, Judged};
use crate::tasks::{Task, TaskSet, idle_program};

/// Fuel of one job, at most: a hundred times what a small program takes, and endless ones end in a tenth of a second.
const MOST_FUEL: u64 = 150_000_000;

/// Tasks whose programs are in the sandbox at once: enough to keep every core of a large machine busy.
const WINDOW: usize = 8;

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub struct AuditConfig {
    /// Mutants of the reference of each task, at most.
    pub mutants: usize,
    /// The language that programs are in. The zoo is written in Python.
    pub language: Language,
    /// What one job may use up, fuel within a bound of our own.
    pub limits: Limits,
}

/// What a program of the audit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It cheats.
    Cheat,
    /// It is the reference with one thing changed.
    Mutant,
}

/// One program, and what it got.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// Id of the task.
    pub task: String,
    /// What it is.
    pub kind: Kind,
    /// Name of the cheat, or what was changed.
    pub name: String,
    /// What it tries; the same as `name` for a mutant.
    pub trick: String,
    /// Hidden tests that passed.
    pub passed: usize,
    /// Hidden tests there are.
    pub tests: usize,
    /// Its total reward.
    pub reward: f64,
    /// Whether that is too much: for a cheat, more than a program gets that returns nothing; for a mutant, as much as the
    /// reference gets, with all tests passed.
    pub accepted: bool,
    /// How it ended, or how the first test did that it did not pass.
    pub ending: String,
    /// The whole program.
    pub program: String,
}

/// What came of an audit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditReport {
    /// Tasks looked at.
    pub tasks: usize,
    /// Every program, task by task, cheats before mutants.
    pub trials: Vec<Trial>,
}

impl AuditReport {
    /// The programs of a kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Trial> {
        self.trials.iter().filter(move |trial| trial.kind == kind)
    }
}

/// Why an audit could not be done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The sandbox failed, which says nothing about the program.
    #[error("the sandbox cannot be used")]
    Sandbox(#[from] InfraError),
    /// A reward gave no score.
    #[error("a program cannot be scored")]
    Reward(#[from] RewardError),
    /// There is nothing to hold programs against.
    #[error("the reference of `{0}` does not pass its hidden tests; `rltrain tasks verify` says more")]
    Reference(String),
}

/// Runs and scores every cheat and mutant of every task.
///
/// # Errors
///
/// If the sandbox or a plug-in fails, or the reference of a task does not pass.
pub fn audit(
    executor: &Executor,
    rewards: &RewardSet,
    set: &TaskSet,
    config: AuditConfig,
) -> Result<AuditReport, AuditError> {
    let fuel = Fuel::try_from(config.limits.fuel.get().min(MOST_FUEL)).unwrap_or(config.limits.fuel);
    let bench = Bench { executor, limits: Limits { fuel, ..config.limits } };
    let mut report = AuditReport { tasks: set.len(), ..AuditReport::default() };
    let mut facts = Facts::default();
    let tasks: Vec<&Task> = set.iter().collect();
    for window in tasks.chunks(WINDOW) {
        facts.learn(Wanted::by(rewards), bench, window.iter().copied())?;
        let started: Vec<Started<'_>> =
            window.iter().map(|task| Started::new(bench, task, config.mutants)).collect();
        for started in started {
            report.trials.extend(started.finish(bench, rewards, &facts, config.language)?);
        }
    }
    Ok(report)
}

/// A program to be tried.
struct Candidate {
    kind: Kind,
    name: String,
    trick: String,
    program: String,
}

/// The programs of one task, under way; the first is one that does nothing, the second the reference.
struct Started<'a> {
    task: &'a Task,
    candidates: Vec<Candidate>,
    pending: Vec<(String, Pending)>,
}

impl<'a> Started<'a> {
    fn new(bench: Bench<'_>, task: &'a Task, most_mutants: usize) -> Started<'a> {
        let cheat = |Cheat { name, trick, program }| Candidate {
            kind: Kind::Cheat,
            name: name.to_owned(),
            trick: trick.to_owned(),
            program,
        };
        let mutant = |Mutant { change, program }| Candidate {
            kind: Kind::Mutant,
            name: change.clone(),
            trick: change,
            program,
        };
        let candidates: Vec<Candidate> = cheats(task)
            .into_iter()
            .map(cheat)
            .chain(mutants(&task.reference, most_mutants).into_iter().map(mutant))
            .collect();
        let idle = idle_program(task);
        let programs = candidates.iter().map(|candidate| candidate.program.clone());
        let submit = |program: String| {
            let job = Job::new(program.clone(), task.hidden_tests.iter().cloned(), bench.limits);
            (program, bench.executor.submit(job))
        };
        let pending = [idle, task.reference.clone()].into_iter().chain(programs).map(submit).collect();
        Started { task, candidates, pending }
    }

    fn finish(
        self,
        bench: Bench<'_>,
        rewards: &RewardSet,
        facts: &Facts,
        language: Language,
    ) -> Result<Vec<Trial>, AuditError> {
        let task = self.task;
        let mut judged: Vec<(String, Verdict, AttemptFacts)> = Vec::with_capacity(self.pending.len());
        for (program, pending) in self.pending {
            let verdict = pending.wait()?;
            let closer = Closer::look(Wanted::by(rewards), bench, task, &program, &verdict).wait()?;
            judged.push((program, verdict, closer));
        }
        let asked = Asked { task, language, facts: facts.of(task), history: None, prompt: &task.prompt };
        let attempts: Vec<Judged<'_>> = judged
            .iter()
            .map(|(program, verdict, facts)| Judged {
                completion: program.strip_prefix(&task.signature).unwrap_or(program),
                program,
                verdict,
                length: None,
                facts,
            })
            .collect();
        let scored =
            asked.score(rewards, &attempts).into_iter().collect::<Result<Vec<Scored>, RewardError>>()?;
        let [(idle, _), (reference, reference_verdict)] =
            [0, 1].map(|place| (scored[place].total, &judged[place].1));
        if !reference_verdict.all_passed() {
            return Err(AuditError::Reference(task.id.clone()));
        }
        let results = scored.iter().zip(judged).skip(2);
        let trial =
            |(candidate, (scored, (program, verdict, _))): (Candidate, (&Scored, (String, Verdict, _)))| {
                let accepted = match candidate.kind {
                    Kind::Cheat => scored.total > idle,
                    Kind::Mutant => verdict.all_passed() && scored.total >= reference,
                };
                let ending = verdict.endings().find(|ending| !ending.passed());
                Trial {
                    task: task.id.clone(),
                    kind: candidate.kind,
                    name: candidate.name,
                    trick: candidate.trick,
                    passed: verdict.passed(),
                    tests: verdict.total(),
                    reward: scored.total,
                    accepted,
                    ending: ending.map_or_else(|| "passed".to_owned(), |ending| ending.reason()),
                    program,
                }
            };
        Ok(self.candidates.into_iter().zip(results).map(trial).collect())
    }
}
