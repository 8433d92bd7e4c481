//! `rltrain plan RECIPE`: how much memory a run takes, before it starts.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use super::changes::Changes;
use super::failure::Failure;
use super::print_line;
use crate::memory::Report;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The recipe
    #[arg(value_name = "RECIPE")]
    recipe: PathBuf,
    /// Mean length of an attempt that the estimate is for, in tokens, all turns together; without it, what the run's longest
    /// step had, if it has run, else the longest there can be
    #[arg(long, value_name = "TOKENS", value_parser = positive)]
    mean_tokens: Option<f64>,
    /// Processes that train together; the plan is that of each
    #[arg(long, value_name = "COUNT", default_value = "1")]
    processes: NonZeroUsize,
    #[command(flatten)]
    changes: Changes,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err("wanted a finite number above 0".to_owned()),
    }
}

/// Reads the recipe, the task files, and of the model its configuration and tokenizer; prints the plan.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (recipe, _) = arguments.changes.load(&arguments.recipe)?;
    let report = Report::of(&recipe, arguments.mean_tokens, arguments.processes.get())?;
    print_line(&report);
    if report.fits() { Ok(()) } else { Err(Failure::world(DoesNotFit).with_help(Some(WAYS_OUT))) }
}

/// What makes a run smaller, the cheapest first.
const WAYS_OUT: &str = "lower `optimizer.micro_batch_tokens` or `rollout.max_batch`, set `model.gradient_checkpointing = true`, lower \
     `rollout.max_tokens`, or train `[model.lora]`";

/// The bound is more than there is.
#[derive(Debug, thiserror::Error)]
#[error("the run needs more memory than there is if all attempts get as long as they may")]
struct DoesNotFit;
