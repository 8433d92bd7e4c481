//! What `[iteration]` says that cannot work.

use super::Recipe;
use super::problems::Problems;
use crate::algorithm::AdvantageEstimator;
use crate::iteration::{IterationConfig, Relabel};

/// Reports impossible values, and combinations of values.
pub(super) fn check(recipe: &Recipe, problems: &mut Problems<'_>) {
    let Some(iteration) = &recipe.iteration else { return };
    for (key, value) in [("reward_weight", iteration.reward_weight), ("score_weight", iteration.score_weight)]
    {
        let holds = value >= 0.0 && value.is_finite();
        problems.require_value(holds, &format!("iteration.{key}"), value, "a finite number from 0");
    }
    unread(iteration, problems);
    with_algorithm(recipe, problems);
    problems.require(
        recipe.supervised.coefficient == 0.0,
        &["supervised.coefficient", "iteration"],
        "`[iteration]` fine-tunes on what was gathered, and nothing reads `[supervised]`",
        "take `[supervised]` out; references come in with `iteration.relabel = \"bootstrap\"`",
    );
    let shows =
        [&recipe.tasks.prompt, &recipe.tasks.prefill].iter().any(|text| text.contains("public_tests"));
    problems.require(
        iteration.relabel != Relabel::Hindsight || shows || recipe.tasks.scaffold.is_some(),
        &["iteration.relabel", "tasks.prompt"],
        "`relabel = \"hindsight\"` gives tasks other examples, and the prompt shows none",
        "show `task.public_tests` in `tasks.prompt`, or choose another way to relabel",
    );
}

/// Keys that only some ways to relabel read.
fn unread(iteration: &IterationConfig, problems: &mut Problems<'_>) {
    let default = IterationConfig::default();
    let weights = iteration.reward_weight == default.reward_weight;
    for (key, is_default) in [
        ("reward_weight", weights),
        ("score_weight", iteration.score_weight == default.score_weight),
        ("most_failures", iteration.most_failures.is_none()),
        ("most_per_task", iteration.most_per_task.is_none()),
    ] {
        let reason = iteration.unread(key);
        problems.require(
            is_default || reason.is_none(),
            &[&format!("iteration.{key}"), "iteration.relabel"],
            format!("`iteration.{key}` is set, but with `{}` nothing reads it", reason.unwrap_or_default()),
            "take it out, or set `iteration.relabel` to something that does",
        );
    }
}

/// Fine-tuning is a cross entropy: it has no place for what else the algorithm could do.
fn with_algorithm(recipe: &Recipe, problems: &mut Problems<'_>) {
    let algorithm = &recipe.algorithm;
    problems.require(
        algorithm.advantage == AdvantageEstimator::Rejection,
        &["algorithm.advantage", "algorithm.preset", "iteration"],
        "`[iteration]` learns from attempts that are good enough, and the algorithm compares attempts",
        "set `algorithm.preset = \"rejection-sampling\"`",
    );
    for (key, is_default) in [
        ("epochs", algorithm.epochs.get() == 1),
        ("mini_batches", algorithm.mini_batches.get() == 1),
        ("accept_most", algorithm.accept_most.is_none()),
        ("kl_coefficient", algorithm.kl_coefficient == 0.0),
        ("entropy_coefficient", algorithm.entropy_coefficient == 0.0),
        ("z_loss_coefficient", algorithm.z_loss_coefficient == 0.0),
    ] {
        problems.require(
            is_default,
            &[&format!("algorithm.{key}"), "iteration"],
            format!("`algorithm.{key}` is set, but with `[iteration]` nothing reads it"),
            "take it out; `iteration.epochs` and `iteration.batch_size` say how the data set is learnt from",
        );
    }
}
