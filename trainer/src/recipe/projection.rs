//! What `[projection]` says that cannot work.

use super::Recipe;
use super::problems::Problems;
use crate::projection::ProjectionConfig;

/// Reports impossible values, and combinations of values.
pub(super) fn check(recipe: &Recipe, problems: &mut Problems<'_>) {
    let Some(projection) = &recipe.projection else { return };
    let alpha = projection.alpha;
    let holds = alpha > 0.0 && alpha <= 1.0;
    problems.require_value(holds, "projection.alpha", alpha, "a number above 0, at most 1");
    problems.require(
        projection.is_in_loop() || projection.every == ProjectionConfig::default().every,
        &["projection.every", "projection.mode"],
        "`projection.every` is set, but with `mode = \"at-save\"` nothing reads it",
        "take it out, or set `projection.mode` to \"in-loop\" or \"both\"",
    );
    problems.require(
        recipe.model.lora.is_none(),
        &["projection", "model.lora"],
        "`[projection]` holds weights to their beginning, and with `[model.lora]` they never leave it",
        "remove one of the two",
    );
}
