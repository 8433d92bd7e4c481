//! What `[verifier]` says that cannot work.

use super::Recipe;
use super::problems::Problems;
use crate::critic::verifier::{Objective, VerifierConfig};

/// Reports impossible values, and combinations of values.
pub(super) fn check(recipe: &Recipe, problems: &mut Problems<'_>) {
    let Some(verifier) = &recipe.verifier else { return };
    numbers(verifier, problems);
    combinations(verifier, problems);
    uses(recipe, verifier, problems);
}

fn numbers(verifier: &VerifierConfig, problems: &mut Problems<'_>) {
    let mut require = |name: &str, value: f64, holds: bool, wanted: &str| {
        problems.require_value(holds && value.is_finite(), &format!("verifier.{name}"), value, wanted);
    };
    let weight = verifier.reward_weight;
    require("reward_weight", weight, weight.abs() <= 1e6, "a number from -1000000 to 1000000");
    let coefficient = verifier.process_coefficient;
    require("process_coefficient", coefficient, coefficient >= 0.0, "a finite number from 0");
    require("beta", verifier.beta, verifier.beta > 0.0, "a finite number above 0");
    let share = verifier.feedback_share;
    require("feedback_share", share, (0.0..=1.0).contains(&share), "a number from 0 to 1");
    let accept = &verifier.accept;
    for (name, value) in [
        ("heldout_share", verifier.heldout_share),
        ("accept.error", accept.error),
        ("accept.doubt", accept.doubt),
    ] {
        require(name, value, value > 0.0 && value < 1.0, "a number above 0, below 1");
    }
}

/// Keys that only one objective reads, and what a frozen model cannot learn.
fn combinations(verifier: &VerifierConfig, problems: &mut Problems<'_>) {
    let default = VerifierConfig::default();
    for (name, is_default, reader) in [
        ("token_weights", !verifier.token_weights, Objective::Outcome),
        ("process_coefficient", verifier.process_coefficient == 0.0, Objective::Implicit),
        ("beta", verifier.beta == default.beta, Objective::Implicit),
        ("pairs", verifier.pairs == default.pairs, Objective::BradleyTerry),
        ("feedback_share", verifier.feedback_share == 0.0, Objective::Fault),
    ] {
        let (objective, reader_name) = (verifier.objective.name(), reader.name());
        problems.require(
            is_default || verifier.objective == reader,
            &[&format!("verifier.{name}"), "verifier.objective"],
            format!("`verifier.{name}` is set, but with `objective = \"{objective}\"` nothing reads it"),
            format!("take it out, or set `verifier.objective` to \"{reader_name}\""),
        );
    }
    let speaks = verifier.objective == Objective::Implicit || verifier.feedback_share > 0.0;
    problems.require(
        !verifier.frozen || !speaks,
        &["verifier.frozen", "verifier.objective"],
        "a verifier whose model is frozen learns no other words than it has",
        "remove `verifier.frozen`; only objectives with a head on the model can do without the rest of it",
    );
}

/// Uses in a run of the policy.
fn uses(recipe: &Recipe, verifier: &VerifierConfig, problems: &mut Problems<'_>) {
    let shapes =
        verifier.token_weights || verifier.process_coefficient > 0.0 || verifier.reward_weight != 0.0;
    problems.require(
        !shapes || !recipe.supervised.is_alone(),
        &["verifier", "supervised.mode"],
        "`supervised.mode = \"alone\"` makes no attempts that a verifier could shape the rewards of",
        "remove one of the two",
    );
    let patience = crate::optim::OptimizerConfig::default().max_skipped;
    problems.require(
        verifier.optimizer.max_skipped == patience,
        &["verifier.optimizer.max_skipped"],
        "`verifier.optimizer.max_skipped` is set, but nothing reads it",
        "take it out: updates of a verifier without a finite gradient are counted, and stop nothing",
    );
}
