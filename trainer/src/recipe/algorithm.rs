//! What `[algorithm]` says that cannot work.

use super::Recipe;
use super::problems::Problems;
use crate::algorithm::{AdvantageEstimator, AlgorithmConfig, KlEstimator, KlPlace, PolicyLoss};

/// Reports impossible values, and combinations of values.
pub(super) fn check(recipe: &Recipe, problems: &mut Problems<'_>) {
    numbers(&recipe.algorithm, problems);
    combinations(&recipe.algorithm, problems);
    with_rollout(recipe, problems);
}

/// Numbers with a range of their own.
fn numbers(algorithm: &AlgorithmConfig, problems: &mut Problems<'_>) {
    let above_0 = [
        ("scale_epsilon", Some(algorithm.scale_epsilon)),
        ("clip_high", Some(algorithm.clip_high)),
        ("ratio_cap", algorithm.ratio_cap),
        ("soft_clip_positive", Some(algorithm.soft_clip_positive)),
        ("soft_clip_negative", Some(algorithm.soft_clip_negative)),
        ("vespo_power_positive", Some(algorithm.vespo_power_positive)),
        ("vespo_decay_positive", Some(algorithm.vespo_decay_positive)),
        ("vespo_power_negative", Some(algorithm.vespo_power_negative)),
        ("vespo_decay_negative", Some(algorithm.vespo_decay_negative)),
        ("preference_beta", Some(algorithm.preference_beta)),
        ("tier_width", Some(algorithm.tier_width)),
        ("dueling_alpha", Some(algorithm.dueling_alpha)),
        ("kl_target", Some(algorithm.kl_target)),
        ("kl_horizon", Some(algorithm.kl_horizon)),
        ("correction_high", Some(algorithm.correction_high)),
        ("value_clip", algorithm.value_clip),
    ];
    let from_0 = [
        ("entropy_shaping", Some(algorithm.entropy_shaping)),
        ("drift_coefficient", Some(algorithm.drift_coefficient)),
        ("covariance_coefficient", Some(algorithm.covariance_coefficient)),
        ("off_policy_threshold", algorithm.off_policy_threshold),
        ("kl_coefficient", Some(algorithm.kl_coefficient)),
        ("entropy_coefficient", Some(algorithm.entropy_coefficient)),
        ("z_loss_coefficient", Some(algorithm.z_loss_coefficient)),
        ("correction_low", Some(algorithm.correction_low)),
        ("overlong_penalty", Some(algorithm.overlong_penalty)),
        ("reference_gap", Some(algorithm.reference_gap)),
    ];
    let above_1 = [
        ("entropy_shaping_limit", Some(algorithm.entropy_shaping_limit)),
        ("dual_clip", algorithm.dual_clip),
    ];
    let shares = [
        ("discount", Some(algorithm.discount)),
        ("covariance_share", Some(algorithm.covariance_share)),
        ("top_entropy_share", Some(algorithm.top_entropy_share)),
    ];
    let from_0_to_1 = [
        ("gae_lambda", Some(algorithm.gae_lambda)),
        ("probability_low", Some(algorithm.probability_low)),
        ("probability_high", Some(algorithm.probability_high)),
        ("overlong_buffer", Some(algorithm.overlong_buffer)),
    ];
    let any = [("accept_from", Some(algorithm.accept_from))];
    range(problems, &any, f64::is_finite, "a finite number");
    range(problems, &above_0, |x| x > 0.0 && x.is_finite(), "a finite number above 0");
    range(problems, &from_0, |x| x >= 0.0 && x.is_finite(), "a finite number from 0");
    range(problems, &above_1, |x| x > 1.0 && x.is_finite(), "a finite number above 1");
    range(problems, &shares, |x| x > 0.0 && x <= 1.0, "a number above 0, at most 1");
    range(problems, &from_0_to_1, |x| (0.0..=1.0).contains(&x), "a number from 0 to 1");
    let clip_low = [("clip_low", Some(algorithm.clip_low))];
    range(problems, &clip_low, |x| x > 0.0 && x < 1.0, "a number above 0 and below 1");
    let decay = [("reference_decay", Some(algorithm.reference_decay))];
    range(problems, &decay, |x| (0.0..1.0).contains(&x), "a number from 0, below 1");
}

/// Reports the values outside of what `holds` of; absent ones are fine.
fn range(
    problems: &mut Problems<'_>,
    values: &[(&str, Option<f64>)],
    holds: impl Fn(f64) -> bool,
    wanted: &str,
) {
    for (name, value) in values {
        if let Some(value) = value {
            problems.require_value(holds(*value), &format!("algorithm.{name}"), value, wanted);
        }
    }
}

fn combinations(algorithm: &AlgorithmConfig, problems: &mut Problems<'_>) {
    problems.require(
        algorithm.policy_loss != PolicyLoss::CispoCapped || algorithm.ratio_cap.is_some(),
        &["algorithm.ratio_cap", "algorithm.policy_loss"],
        "`cispo-capped` has nothing to cap the ratio at",
        "set `algorithm.ratio_cap`, to 5 for example",
    );
    let (low, high) = (algorithm.correction_low, algorithm.correction_high);
    problems.require(
        low < high,
        &["algorithm.correction_high", "algorithm.correction_low"],
        format!("no ratio is between {low} and {high}"),
        "`correction_high` is the larger one; the bounds are on the ratio itself, so 1 is between them",
    );
    dueling(algorithm, problems);
    let teaches = algorithm.kl != KlEstimator::K1
        || algorithm.kl_place == KlPlace::Reward
        || algorithm.kl_gradient.is_some_and(|gradient| gradient != KlEstimator::K1)
        || algorithm.kl_importance
        || algorithm.kl_coefficient == 0.0;
    problems.require(
        teaches,
        &["algorithm.kl", "algorithm.kl_coefficient"],
        "the gradient of `k1` in the loss has mean zero: it holds nothing back",
        "take `kl = \"k2\"` or `\"k3\"`, add `kl_gradient = \"k2\"`, or put it into the reward with `kl_place = \"reward\"`",
    );
}

/// What is an advantage of a dueling Q-function is learnt as one, and what is a function of gaps has no place for divergences and entropies.
fn dueling(algorithm: &AlgorithmConfig, problems: &mut Problems<'_>) {
    let (is_target, is_learnt) = (
        algorithm.advantage == AdvantageEstimator::Conservative,
        algorithm.policy_loss == PolicyLoss::Dueling,
    );
    problems.require(
        is_target == is_learnt,
        &["algorithm.advantage", "algorithm.policy_loss"],
        "`advantage = \"conservative\"` and `policy_loss = \"dueling\"` are two halves of one thing",
        "set both, or neither",
    );
    for (key, value) in [
        ("kl_coefficient", algorithm.kl_coefficient),
        ("entropy_coefficient", algorithm.entropy_coefficient),
        ("z_loss_coefficient", algorithm.z_loss_coefficient),
    ] {
        problems.require(
            value == 0.0 || !algorithm.policy_loss.reads_gaps(),
            &[&format!("algorithm.{key}"), "algorithm.policy_loss"],
            format!("`algorithm.{key}` is set, and a loss of gaps has no place for it"),
            "take it out, or take another `policy_loss`",
        );
    }
}

fn with_rollout(recipe: &Recipe, problems: &mut Problems<'_>) {
    problems.require(
        recipe.rollout.group_size.get() >= 2 || !recipe.algorithm.advantage.needs_siblings(),
        &["rollout.group_size"],
        "a group of one has no siblings to compare with",
        "with one attempt per task every advantage is zero; use 8 or more",
    );
    problems.require(
        recipe.algorithm.reference_gap == 0.0 || recipe.supervised.coefficient > 0.0,
        &["algorithm.reference_gap", "supervised.coefficient"],
        "`algorithm.reference_gap` is set, but with `supervised.coefficient = 0` nothing reads it",
        "take it out, or set `supervised.coefficient`",
    );
    let (parts, tasks) = (recipe.algorithm.mini_batches.get(), recipe.rollout.tasks_per_step.get());
    problems.require(
        parts <= tasks,
        &["algorithm.mini_batches", "rollout.tasks_per_step"],
        format!("{tasks} tasks cannot be divided into {parts} mini-batches"),
        "a group is never split: set `algorithm.mini_batches` to `rollout.tasks_per_step` or less",
    );
}
