//! Advantages: TRL's tables.

use rltrain::algorithm::AdvantageEstimator::{self, DrGrpo, Grpo, Rloo};
use rltrain::algorithm::advantages;
use serde_json::Value;

use super::parity;

/// TRL's constant.
const EPSILON: f64 = 1e-4;

/// Compares a table of weighted reward functions, in groups of four, with its advantages; `bound` is absolute.
#[track_caller]
fn check(
    what: &str,
    estimator: AdvantageEstimator,
    rewards: &Value,
    weights: &Value,
    wanted: &Value,
    bound: f64,
) {
    let weight = |index: usize| weights.get(index).map_or(1.0, |weight| weight.as_f64().unwrap());
    // A reward function that says nothing counts as 0, unless none says anything.
    let total = |row: &Value| {
        let known = row.as_array().unwrap().iter().enumerate();
        let known: Vec<f64> = known.filter_map(|(i, reward)| Some(weight(i) * reward.as_f64()?)).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>())
    };
    let rewards: Vec<Option<f64>> = rewards.as_array().unwrap().iter().map(total).collect();
    let ours: Vec<f64> = rewards.chunks(4).flat_map(|group| advantages(group, estimator, EPSILON)).collect();
    let theirs: Vec<f64> = wanted.as_array().unwrap().iter().map(|a| a.as_f64().unwrap_or(0.0)).collect();
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!((ours - theirs).abs() <= bound, "{what}: {ours}, TRL has {theirs}");
    }
}

/// The table is f32; `verify_trl_losses.py` allows 2e-5.
#[test]
fn advantages_are_those_of_trl() {
    let Some(table) = parity("trl-losses.json") else { return };
    let mut rows = 0;
    for case in table["advantages"].as_array().unwrap() {
        let estimator = match case["config"]["scale_rewards"].as_str() {
            Some("group") => Grpo,
            Some("none") => DrGrpo,
            _ => continue,
        };
        let weights = &case["config"]["reward_weights"];
        check(
            &case["name"].to_string(),
            estimator,
            &case["rewards_per_func"],
            weights,
            &case["advantages"],
            2e-5,
        );
        rows += 1;
    }
    for case in table["rloo_advantages"].as_array().unwrap() {
        if ["plain", "nan"].iter().any(|name| case["name"] == *name) {
            check(
                &case["name"].to_string(),
                Rloo,
                &case["rewards_per_func"],
                &Value::Null,
                &case["advantages"],
                1e-6,
            );
            rows += 1;
        }
    }
    assert_eq!(rows, 8, "three reward tables scaled and unscaled, two of RLOO");
}

/// These tables are f64.
#[test]
fn advantages_are_those_of_an_earlier_trl() {
    let Some(table) = parity("rl-losses.json") else { return };
    let (grouped, rloo) = (&table["trl"]["advantages"], &table["trl"]["rloo"]["advantages/beta=0"]);
    for (name, estimator) in [
        ("one_func/scale=group", Grpo),
        ("one_func/scale=none", DrGrpo),
        ("two_funcs/sum_then_normalize", Grpo),
        ("two_funcs_with_None/sum_then_normalize", Grpo),
    ] {
        let case = &grouped[name];
        check(name, estimator, &case["rewards_per_func"], &case["weights"], &case["advantages"], 1e-9);
    }
    let rewards = &grouped["one_func/scale=group"]["rewards_per_func"];
    check("rloo", Rloo, rewards, &Value::Null, rloo, 1e-9);
}
