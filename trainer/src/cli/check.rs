//! `rltrain check RECIPE`.

use std::path::PathBuf;

use clap::Args;

use super::changes::Changes;
use super::failure::Failure;
use super::print_line;
use crate::recipe::Recipe;
use crate::tasks::{TaskSet, TasksError};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The recipe
    #[arg(value_name = "RECIPE")]
    recipe: PathBuf,
    /// Print the recipe with every default filled in
    #[arg(long)]
    resolved: bool,
    #[command(flatten)]
    changes: Changes,
}

/// Reads the recipe and its task files; loads no model and makes no folder.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (recipe, _) = arguments.changes.load(&arguments.recipe)?;
    let (train, heldout) = tasks(&recipe)?;
    if arguments.resolved {
        print_line(recipe.resolved().trim_end());
    } else {
        let path = arguments.recipe.display();
        print_line(format_args!("{path}: no problem found ({train} training tasks, {heldout} held out)"));
    }
    Ok(())
}

/// Reads the task files: how many tasks are trained on, and how many held out.
pub(super) fn tasks(recipe: &Recipe) -> Result<(usize, usize), Failure> {
    let load = |path| TaskSet::load(path).map_err(|error: TasksError| Failure::input(error));
    Ok((load(&recipe.tasks.train)?.len(), load(&recipe.tasks.heldout)?.len()))
}
