//! `rltrain audit-reward TASKS --rewards RECIPE`: whether rewards can be had without solving the tasks.

use std::path::PathBuf;

use clap::Args;
use rltrain_rewards::{Language, RewardSet};

use super::failure::Failure;
use super::print_line;
use crate::audit::{AuditConfig, AuditError, AuditReport, Kind, Trial, audit};
use crate::execution::start_executor;
use crate::facts::language;
use crate::recipe::RewardsFile;
use crate::tasks::TaskSet;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The task file
    #[arg(value_name = "TASKS")]
    tasks: PathBuf,
    /// What is scored: a recipe, or a file with its sections `[rewards]` and `[executor]`
    #[arg(long, value_name = "RECIPE")]
    rewards: PathBuf,
    /// Mutants of each reference, at most
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    mutants: usize,
    /// Print every program and what it got, one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Cheats that are rewarded.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0} cheating programs are rewarded; mend the tests or the rewards")]
    Rewarded(usize),
    #[error("the zoo is written in Python, and the runtime `{0}` runs something else")]
    Language(&'static str),
}

/// Runs the audit. A cheat that is rewarded is bad input; a mutant that passes is for people to look at.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let file = RewardsFile::load(&arguments.rewards).map_err(Failure::input)?;
    let runtime = file.executor.runtime;
    let language = language(runtime).filter(|language| *language == Language::Python);
    let language = language.ok_or_else(|| Failure::plain_input(Refused::Language(runtime.name())))?;
    let set = TaskSet::load(&arguments.tasks).map_err(Failure::input)?;
    let rewards = RewardSet::build(&file.rewards).map_err(Failure::plain_input)?;
    let executor = start_executor(&file.executor).map_err(Failure::world)?;
    let config = AuditConfig { mutants: arguments.mutants, language, limits: file.executor.limits };
    let report = audit(&executor, &rewards, &set, config).map_err(|error| match error {
        AuditError::Reference(_) => Failure::plain_input(error),
        error => Failure::world(error),
    })?;
    if arguments.json {
        for trial in &report.trials {
            print_line(serde_json::to_string(trial).map_err(Failure::world)?);
        }
    } else {
        print(&set, &report);
    }
    match report.of(Kind::Cheat).filter(|trial| trial.accepted).count() {
        0 => Ok(()),
        rewarded => Err(Failure::plain_input(Refused::Rewarded(rewarded))),
    }
}

fn print(set: &TaskSet, report: &AuditReport) {
    let count = |kind| {
        let accepted = report.of(kind).filter(|trial| trial.accepted).count();
        (accepted, report.of(kind).count())
    };
    let ((rewarded, cheats), (passing, mutants)) = (count(Kind::Cheat), count(Kind::Mutant));
    print_line(format_args!("{}: {} tasks", set.path().display(), report.tasks));
    print_line(format_args!("cheating programs that are rewarded       {rewarded} of {cheats}"));
    print_line(format_args!("mutants of references that pass all tests {passing} of {mutants}"));
    report.trials.iter().filter(|trial| trial.accepted).for_each(print_trial);
}

fn print_trial(trial: &Trial) {
    let Trial { task, kind, name, trick, passed, tests, reward, program, .. } = trial;
    print_line("");
    print_line(match kind {
        Kind::Cheat => {
            format!("`{task}`: {name} ({trick}) earns {reward:.4}; {passed} of {tests} tests passed")
        }
        Kind::Mutant => {
            format!("`{task}`: the reference with {name} earns {reward:.4}, as much as the reference")
        }
    });
    program.lines().for_each(|line| print_line(format_args!("    {line}")));
}
