//! `rltrain RECIPE` and `rltrain resume RUN`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Failure;
use super::{print_line, tell};
use crate::recipe::Recipe;
use crate::session::Start;
use crate::stop::StopFlag;
use crate::train::train;

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

#[derive(Debug, Args)]
pub(super) struct ResumeArguments {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    #[command(flatten)]
    start: StartArguments,
}

/// Trains, or goes on with an interrupted run, and prints the table at its end.
pub(super) fn run(path: &Path, start: StartArguments) -> Result<(), Failure> {
    let recipe = Recipe::load(path).map_err(Failure::input)?;
    follow(&recipe, start, &format!("rltrain {}", path.display()))
}

/// Goes on with a run as the recipe in its folder says.
pub(super) fn resume(arguments: ResumeArguments) -> Result<(), Failure> {
    let ResumeArguments { run, start } = arguments;
    let recipe = super::run_folder::recipe_of(&run)?;
    follow(&recipe, start, &format!("rltrain resume {}", run.display()))
}

/// Trains; `command` is how the user goes on after an interrupt.
fn follow(recipe: &Recipe, start: StartArguments, command: &str) -> Result<(), Failure> {
    let stop = StopFlag::new();
    let announce = || tell("\nfinishing this step and saving; Ctrl-C again stops at once");
    stop.listen(announce).map_err(Failure::world)?;
    let start = Start { from: start.from, allow_drift: start.allow_drift };
    match train(recipe, &start, &stop)? {
        Some(summary) => print_line(summary),
        None => tell(&format!("stopped and saved; `{command}` goes on from here")),
    }
    Ok(())
}
