//! `rltrain replay RUN --step N` and `rltrain diff A B`: what runs have recorded of their steps.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::changes::Changes;
use super::failure::Failure;
use super::print_line;
use super::run_folder::{Unknown, recipe_of};
use crate::recipe::Recipe;
use crate::record::{NotReplayed, Parting, RecordError, Replay, part, recorded_steps, replay};

#[derive(Debug, Args)]
pub(super) struct ReplayArguments {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// The step whose update is done again, from 1
    #[arg(long, value_name = "STEP")]
    step: u64,
    #[command(flatten)]
    changes: Changes,
    /// Print everything as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct DiffArguments {
    /// Folder of a run
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Folder of another one
    #[arg(value_name = "B")]
    b: PathBuf,
    /// Print everything as one JSON object
    #[arg(long)]
    json: bool,
}

/// Does the update again and prints its numbers beside the recorded ones.
pub(super) fn run(arguments: &ReplayArguments) -> Result<(), Failure> {
    let recorded = recipe_of(&arguments.run)?;
    let text = recorded.resolved();
    let here = std::env::current_dir().map_err(Failure::world)?;
    let changed = Recipe::read("the recipe of the run", &text, &here, &arguments.changes.set)
        .map_err(Failure::input)?;
    let folder = tempfile::tempdir().map_err(Failure::world)?;
    let replayed =
        replay(&recorded, &changed, arguments.step, folder.path()).map_err(|error| match error {
            NotReplayed::Train(error) => error.into(),
            NotReplayed::Record(RecordError::Damaged { .. }) => Failure::world(error),
            error => Failure::plain_input(error),
        })?;
    if arguments.json {
        print_line(serde_json::to_string(&replayed).map_err(Failure::world)?);
    } else {
        print(&replayed);
    }
    Ok(())
}

fn print(replay: &Replay) {
    let Replay {
        step,
        changed,
        same_gradients,
        recorded_gradients,
        replayed_gradients,
        first_tensor,
        metrics,
    } = replay;
    print_line(format_args!(
        "step {step}, done again from the checkpoint before it and the recorded attempts"
    ));
    changed.iter().for_each(|difference| print_line(format_args!("  {difference}")));
    print_line(format_args!("\n{:<32}{:>16}{:>16}{:>16}", "", "recorded", "replayed", "difference"));
    for metric in metrics {
        let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.6}"));
        let difference = metric.recorded.zip(metric.replayed).map(|(old, new)| new - old);
        let difference = match difference {
            Some(0.0) => "=".to_owned(),
            Some(difference) => format!("{difference:+.2e}"),
            None => "-".to_owned(),
        };
        let name = &metric.name;
        print_line(format_args!(
            "{name:<32}{:>16}{:>16}{difference:>16}",
            shown(metric.recorded),
            shown(metric.replayed)
        ));
    }
    let hashes = |hashes: &[String]| {
        let short: Vec<&str> = hashes.iter().map(|hash| &hash[..16]).collect();
        if short.is_empty() { "none".to_owned() } else { short.join(" ") }
    };
    print_line(format_args!("\ngradients recorded: {}", hashes(recorded_gradients)));
    print_line(format_args!("gradients replayed: {}", hashes(replayed_gradients)));
    print_line(match (same_gradients, first_tensor) {
        (true, _) => "the same gradients, bit for bit".to_owned(),
        (false, Some(tensor)) => format!("other gradients, from `{tensor}` on"),
        (false, None) => "another number of updates".to_owned(),
    });
}

/// Prints where two runs part. That they do is no failure.
pub(super) fn diff(arguments: &DiffArguments) -> Result<(), Failure> {
    for run in [&arguments.a, &arguments.b] {
        if !run.join("recipe.toml").is_file() {
            return Err(Failure::plain_input(Unknown::Run { path: run.clone() }));
        }
        if recorded_steps(run).is_empty() {
            return Err(Failure::plain_input(NoRecord(run.clone())));
        }
    }
    let (steps, parting) = part(&arguments.a, &arguments.b).map_err(Failure::world)?;
    if steps == 0 {
        return Err(Failure::plain_input(NothingShared));
    }
    if arguments.json {
        print_line(json!({ "steps": steps, "parting": parting }));
        return Ok(());
    }
    match parting {
        None => print_line(format_args!("{steps} steps in both, all alike")),
        Some(parting) => print_parting(&parting),
    }
    Ok(())
}

fn print_parting(parting: &Parting) {
    let Parting { step, task, group, sample, field, at, a, b } = parting;
    let mut place = format!("step {step}");
    if let (Some(task), Some(group)) = (task, group) {
        place.push_str(&format!(", task `{task}` (group {group})"));
    }
    if let Some(sample) = sample {
        place.push_str(&format!(", sample {sample}"));
    }
    let at = at.map_or_else(String::new, |at| format!(" {at}"));
    print_line(format_args!("the runs part at {place}: {field}{at}"));
    for (name, value) in [("first", a), ("second", b)] {
        print_line(format_args!("  {name:<7} {value}"));
    }
}

/// A run without records.
#[derive(Debug, thiserror::Error)]
#[error("`{}` has no record of any step; `telemetry.record` says how many steps a run keeps", .0.display())]
struct NoRecord(PathBuf);

/// Runs whose records are of different steps.
#[derive(Debug, thiserror::Error)]
#[error("the two runs have no recorded step in common; `telemetry.record` says how many steps a run keeps")]
struct NothingShared;
