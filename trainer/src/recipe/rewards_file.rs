//! Rewards by themselves: what is scored with where nothing is trained.

use std::path::Path;

use fs_err as fs;
use rltrain_executor::ExecutorConfig;
use rltrain_rewards::RewardsConfig;

use super::layers::Layers;
use super::problems::Problems;
use super::{Recipe, RecipeError, check, reading};

/// `[rewards]` and `[executor]` of a file, which may be a whole recipe or no more than these: its other sections are not read.
#[derive(Clone, Debug, PartialEq)]
pub struct RewardsFile {
    /// What is scored.
    pub rewards: RewardsConfig,
    /// How programs are run.
    pub executor: ExecutorConfig,
}

impl RewardsFile {
    /// Reads and checks the file at `path`, and makes its paths absolute.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or with every problem in the two sections.
    pub fn load(path: &Path) -> Result<RewardsFile, RecipeError> {
        let unreadable = |source| RecipeError::Read { path: path.to_owned(), source };
        let layers = Layers::read(path, &[])?;
        let folder = fs::canonicalize(path).map_err(unreadable)?;
        let folder = folder.parent().expect("a file that was read has a folder");
        let mut problems = Problems::new(&layers);
        let recipe = reading::read_only(&mut problems, &["rewards", "executor"]).map(|recipe| {
            check::rewards(&recipe, &mut problems);
            let Recipe { rewards, executor, .. } = recipe.resolve(folder);
            RewardsFile { rewards, executor }
        });
        problems.finish(recipe)
    }
}
