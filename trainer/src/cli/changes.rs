//! `--set KEY=VALUE`: what the command line says over a recipe.

use std::fmt;
use std::path::Path;

use clap::Args;

use super::failure::Failure;
use crate::recipe::Recipe;

/// Changes of a recipe.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Changes {
    /// A key of the recipe and its value, such as `optimizer.learning_rate=1e-5`; without a value, the key is taken out. May be given
    /// several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
}

impl Changes {
    /// The recipe at `path` with them, and what it is made of.
    pub(super) fn load(&self, path: &Path) -> Result<(Recipe, Vec<String>), Failure> {
        Recipe::load_with(path, &self.set).map_err(Failure::input)
    }
}

/// As they are typed, with a space before each.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.set.iter().try_for_each(|set| write!(f, " --set '{}'", set.replace('\'', r"'\''")))
    }
}
