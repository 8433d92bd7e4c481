//! `rltrain check RECIPE`.

use std::path::PathBuf;

use clap::Args;

use super::changes::Changes;
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

/// Reads the task files and looks whether the recipe can run them: how many tasks are trained on, and how many held out.
pub(super) fn tasks(recipe: &Recipe) -> Result<(usize, usize), Failure> {
    let count = |path| -> Result<usize, TasksError> {
        let set = TaskSet::load(path)?;
        fit(recipe, &set)?;
        Ok(set.len())
    };
    let counts = count(&recipe.tasks.train).and_then(|train| Ok((train, count(&recipe.tasks.heldout)?)));
    counts.map_err(Failure::input)
}
