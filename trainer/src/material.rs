//! What a step learns from beside its attempts.

use crate::attempts::Attempts;
use crate::batch::Batch;
use crate::environment::Environment;
use crate::error::TrainError;
use crate::iteration::{Found, gather};
use crate::policy::Policy;
use crate::recipe::Recipe;
use crate::supervised::references;

/// What a step learns from beside its attempts. Made before it learns, from what attempts are made in.
#[derive(Default)]
pub struct Material {
    /// The references of its tasks, if they count.
    pub references: Option<Batch>,
    /// What its attempts came to, if that is gathered.
    pub found: Option<Found>,
}

impl Material {
    /// That of a step with these attempts.
    ///
    /// # Errors
    ///
    /// If the tokenizer refuses a text, or another process is gone.
    pub fn of(
        policy: &Policy,
        environment: &Environment,
        recipe: &Recipe,
        attempts: &Attempts,
    ) -> Result<Material, TrainError> {
        Ok(Material {
            references: references(policy, environment, recipe, &attempts.tasks)?,
            found: gather(policy, environment, recipe, attempts)?,
        })
    }
}
