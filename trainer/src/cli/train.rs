//! `rltrain RECIPE`.

use std::path::Path;

use super::failure::Failure;
use super::{print_line, tell};
use crate::recipe::Recipe;
use crate::stop::StopFlag;
use crate::train::train;

/// Trains, or goes on with an interrupted run, and prints the table at its end.
pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let recipe = Recipe::load(path).map_err(Failure::input)?;
    let stop = StopFlag::new();
    let announce = || tell("\nfinishing this step and saving; Ctrl-C again stops at once");
    stop.listen(announce).map_err(Failure::world)?;
    match train(&recipe, &stop)? {
        Some(summary) => print_line(summary),
        None => tell(&format!("stopped and saved; `rltrain {}` goes on from here", path.display())),
    }
    Ok(())
}
