//! `rltrain rescore RUN --rewards RECIPE`: the logged attempts of a run with other rewards.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use fs_err as fs;
use rltrain_rewards::RewardSet;

use super::failure::Failure;
use super::print_line;
use crate::execution::start_executor;
use crate::facts::language;
use crate::recipe::{Recipe, RewardsFile};
use crate::rescore::{Rescore, RescoreError, Rescored, Rescorer, logged_steps, needs_sandbox, read_step};
use crate::tasks::TaskSet;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// What to score with: a recipe, or a file with its section `[rewards]`
    #[arg(long, value_name = "RECIPE")]
    rewards: PathBuf,
    /// Where every attempt goes with its old and new score, one JSON object a line [default: RUN/rescored.jsonl]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Scores the run, prints the means of every step, and writes every attempt.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let refused = |error| match error {
        RescoreError::Reward(_) | RescoreError::Sandbox(_) => Failure::world(error),
        error => Failure::input(error),
    };
    let file = RewardsFile::load(&arguments.rewards).map_err(Failure::input)?;
    let steps = logged_steps(&arguments.run).map_err(refused)?;
    let recipe = Recipe::load_pinned(&arguments.run.join("recipe.toml")).map_err(Failure::input)?;
    let tasks = TaskSet::load(&recipe.tasks.train).map_err(Failure::input)?;
    let rewards = RewardSet::build(&file.rewards).map_err(Failure::plain_input)?;
    let executor = if needs_sandbox(&rewards) {
        Some(start_executor(&recipe.executor).map_err(Failure::world)?)
    } else {
        None
    };
    let with = Rescore {
        rewards: &rewards,
        tasks: &tasks,
        language: language(recipe.executor.runtime).unwrap_or_default(),
        limits: recipe.executor.limits,
    };
    let mut rescorer = Rescorer::new(with, executor.as_ref());
    let output = arguments.output.clone().unwrap_or_else(|| arguments.run.join("rescored.jsonl"));
    let mut lines = BufWriter::new(fs::File::create(&output).map_err(Failure::world)?);
    print_line(format_args!("{:>8}{:>10}{:>12}{:>12}", "step", "attempts", "old mean", "new mean"));
    for (step, path) in steps {
        let rescored = rescorer.step(step, &path, &read_step(&path).map_err(refused)?).map_err(refused)?;
        for attempt in &rescored {
            let line = serde_json::to_string(attempt).map_err(Failure::world)?;
            writeln!(lines, "{line}").map_err(Failure::world)?;
        }
        let (old, new) = (mean(&rescored, |attempt| attempt.old), mean(&rescored, |attempt| attempt.new));
        print_line(format_args!("{step:>8}{:>10}{old:>12}{new:>12}", rescored.len()));
    }
    lines.flush().map_err(Failure::world)?;
    print_line(format_args!("every attempt is in {}", output.display()));
    Ok(())
}

/// The mean of those that have a number, for people.
fn mean(rescored: &[Rescored], value: impl Fn(&Rescored) -> Option<f64>) -> String {
    let values: Vec<f64> = rescored.iter().filter_map(value).collect();
    match values.len() {
        0 => "none".to_owned(),
        count => format!("{:.4}", values.iter().sum::<f64>() / count as f64),
    }
}
