//! `rltrain RECIPE` and `rltrain resume RUN`.

use std::path::{Path, PathBuf};

use clap::Args;
use tch::Device;

use super::changes::Changes;
use super::failure::Failure;
use super::{print_line, tell};
use crate::error::TrainError;
use crate::ranks::{Fate, Place, Ranks, RanksError};
use crate::recipe::Recipe;
use crate::session::Start;
use crate::stop::{StopFlag, end_at_once};
use crate::train::train_among;

/// How a run that is there already is taken up.
#[derive(Debug, Default, Args)]
pub(super) struct StartArguments {
    /// Go on from the checkpoint of this step, and from no other; later ones are set aside
    #[arg(long, value_name = "STEP")]
    from: Option<u64>,
    /// Go on although this key, or section, changed and the run would be another; may be given several times
    #[arg(long, value_name = "KEY")]
    allow_drift: Vec<String>,
}

/// How a recipe is trained.
#[derive(Debug, Default, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    start: StartArguments,
    #[command(flatten)]
    changes: Changes,
    /// Print the recipe with every default filled in, and start nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct ResumeArguments {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    #[command(flatten)]
    start: StartArguments,
}

/// Trains, or goes on with an interrupted run, and prints the table at its end.
pub(super) fn run(path: &Path, arguments: Arguments) -> Result<(), Failure> {
    let Arguments { start, changes, dry_run } = arguments;
    let (recipe, layers) = changes.load(path)?;
    if dry_run {
        super::check::tasks(&recipe)?;
        print_line(recipe.resolved().trim_end());
        return Ok(());
    }
    let command = format!("rltrain {}{changes}", path.display());
    follow(&recipe, start, layers, &command)
}

/// Goes on with a run as the recipe in its folder says.
pub(super) fn resume(arguments: ResumeArguments) -> Result<(), Failure> {
    let ResumeArguments { run, start } = arguments;
    let recipe = super::run_folder::recipe_of(&run)?;
    follow(&recipe, start, Vec::new(), &format!("rltrain resume {}", run.display()))
}

/// Trains; `layers` is what the recipe was made of, and `command` how the user goes on after an interrupt.
fn follow(recipe: &Recipe, start: StartArguments, layers: Vec<String>, command: &str) -> Result<(), Failure> {
    let stop = StopFlag::new();
    let announce = || tell("\nfinishing this step and saving; Ctrl-C again stops at once");
    stop.listen(announce).map_err(Failure::world)?;
    let start = Start { from: start.from, allow_drift: start.allow_drift, layers };
    let ranks = join(recipe)?;
    match train_among(&ranks, recipe, &start, &stop)? {
        _ if !ranks.is_first() => {}
        Some(summary) => print_line(summary),
        None => tell(&format!("stopped and saved; `{command}` goes on from here")),
    }
    Ok(())
}

/// Joins the processes that torchrun or Slurm has started beside this one, if it has.
fn join(recipe: &Recipe) -> Result<Ranks, TrainError> {
    let Some(place) = Place::from_environment().map_err(RanksError::from)? else { return Ok(Ranks::alone()) };
    let device = if recipe.model.device.is_cuda() { Device::Cuda(place.local_rank) } else { Device::Cpu };
    Ok(Ranks::join(place, device, tell, end)?)
}

/// Ends a process that waits for others in a run that has ended.
fn end(fate: &Fate) -> ! {
    tell(&format!("Error: the run ended: {fate}"));
    // Destructors would wait for collectives that nobody completes.
    end_at_once(1)
}
