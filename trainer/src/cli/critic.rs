//! `rltrain critic RECIPE`: a verifier out of logged attempts.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::{print_line, tell};
use crate::critic::verifier::train_offline;
use crate::recipe::Recipe;
use crate::stop::StopFlag;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The recipe, with a section `[verifier]`; its run folder has the attempts. A verifier that was interrupted goes on
    #[arg(value_name = "RECIPE")]
    recipe: PathBuf,
}

/// Trains, or goes on, and prints how good the verifier is.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let recipe = Recipe::load(&arguments.recipe).map_err(Failure::input)?;
    let stop = StopFlag::new();
    let announce = || tell("\nfinishing this update and saving; Ctrl-C again stops at once");
    stop.listen(announce).map_err(Failure::world)?;
    match train_offline(&recipe, &stop)? {
        Some(report) => print_line(report),
        None => {
            let recipe = arguments.recipe.display();
            tell(&format!("stopped and saved; `rltrain critic {recipe}` goes on from here"));
        }
    }
    Ok(())
}
