//! `rltrain check RECIPE`.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::print_line;
use crate::recipe::Recipe;
use crate::tasks::{TaskSet, TasksError, fit};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The recipe
    #[arg(value_name = "RECIPE")]
    recipe: PathBuf,
    /// Print the recipe with every default filled in
    #[arg(long)]
    resolved: bool,
}

/// Reads the recipe and its task files; loads no model and makes no folder.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let recipe = Recipe::load(&arguments.recipe).map_err(Failure::input)?;
    let load = |path| TaskSet::load(path).map_err(|error: TasksError| Failure::input(error));
    let (train, heldout) = (load(&recipe.tasks.train)?, load(&recipe.tasks.heldout)?);
    for set in [&train, &heldout] {
        fit(&recipe, set).map_err(Failure::input)?;
    }
    if arguments.resolved {
        print_line(recipe.resolved().trim_end());
    } else {
        let (train, heldout) = (train.len(), heldout.len());
        let path = arguments.recipe.display();
        print_line(format_args!("{path}: no problem found ({train} training tasks, {heldout} held out)"));
    }
    Ok(())
}
