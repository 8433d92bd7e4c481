//! Advantages against the tables of TRL and verl.
//!
//! `golden/rl-losses.json` is f64 and compared to 1e-9; `golden/trl-losses.json` is f32 and its own check allows 2e-5.
//! Every table of advantages is compared or named as not offered.

use std::collections::BTreeSet;

use rltrain::algorithm::{
    AdvantageEstimator, AlgorithmConfig, Outcomes, Scale, TokenOutcomes, advantages, penalised,
    token_advantages,
};
use serde_json::Value;

use super::golden_json;

const EXACT: f64 = 1e-9;
const F32: f64 = 2e-5;

/// TRL's constant, and verl's.
const TRL_EPSILON: f64 = 1e-4;
const VERL_EPSILON: f64 = 1e-6;

fn estimator(advantage: AdvantageEstimator, scale_epsilon: f64) -> AlgorithmConfig {
    AlgorithmConfig { advantage, scale_epsilon, ..AlgorithmConfig::default() }
}

fn scaled(scale: Scale) -> AlgorithmConfig {
    AlgorithmConfig { scale, ..estimator(AdvantageEstimator::Grpo, TRL_EPSILON) }
}

/// Numbers of a list; `None` for null.
fn numbers(json: &Value) -> Vec<Option<f64>> {
    json.as_array().unwrap().iter().map(Value::as_f64).collect()
}

/// Numbers of a list of lists, in groups of four.
fn groups_of_rows(json: &Value) -> Vec<Vec<Vec<Option<f64>>>> {
    let rows: Vec<_> = json.as_array().unwrap().iter().map(numbers).collect();
    rows.chunks(4).map(<[_]>::to_vec).collect()
}

fn groups(rewards: Vec<Option<f64>>) -> Vec<Vec<Option<f64>>> {
    rewards.chunks(4).map(<[_]>::to_vec).collect()
}

/// Weighted sums of the columns of a table. A column that says nothing counts as 0, unless none says anything.
fn totals(columns: &Value, weights: &Value) -> Vec<Option<f64>> {
    let weight = |index: usize| weights.get(index).map_or(1.0, |weight| weight.as_f64().unwrap());
    let total = |row: &Value| {
        let known = row.as_array().unwrap().iter().enumerate();
        let known: Vec<f64> = known.filter_map(|(i, reward)| Some(weight(i) * reward.as_f64()?)).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>())
    };
    columns.as_array().unwrap().iter().map(total).collect()
}

#[track_caller]
fn assert_close(what: &str, ours: &[f64], theirs: &[f64], bound: f64) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((ours - theirs).abs() <= bound, "{what}: {ours}, theirs {theirs}");
    }
}

/// The advantages of rewards in groups of four, end to end.
fn of_groups(config: &AlgorithmConfig, rewards: Vec<Option<f64>>) -> Vec<f64> {
    advantages(config, &Outcomes::of(&groups(rewards))).concat()
}

/// A table of TRL: its `gdpo` row, or sums of its columns.
#[track_caller]
fn check_trl(what: &str, case: &Value, weights: &Value, scale: Option<Scale>, bound: f64) {
    let ours = match scale {
        Some(scale) => of_groups(&scaled(scale), totals(&case["rewards_per_func"], weights)),
        None => {
            let parts = groups_of_rows(&case["rewards_per_func"]);
            let part_weights: Vec<f64> = numbers(weights).into_iter().flatten().collect();
            let outcomes = Outcomes { parts: &parts, part_weights: &part_weights, ..Outcomes::default() };
            advantages(&estimator(AdvantageEstimator::Gdpo, TRL_EPSILON), &outcomes).concat()
        }
    };
    let theirs: Vec<f64> = numbers(&case["advantages"]).into_iter().map(Option::unwrap_or_default).collect();
    assert_close(what, &ours, &theirs, bound);
}

#[test]
fn advantages_are_those_of_trl() {
    let table = golden_json("trl-losses.json");
    let cases = table["advantages"].as_array().unwrap();
    for case in cases {
        let scale = match case["config"]["scale_rewards"].as_str() {
            Some("group") => Some(Scale::Group),
            Some("batch") => Some(Scale::Batch),
            Some("none") => Some(Scale::None),
            _ => None,
        };
        let weights = &case["config"]["reward_weights"];
        check_trl(&case["name"].to_string(), case, weights, scale, F32);
    }
    assert_eq!(cases.len(), 10);
}

#[test]
fn advantages_are_those_of_an_earlier_trl() {
    let table = golden_json("rl-losses.json");
    let cases = table["trl"]["advantages"].as_object().unwrap();
    for (name, case) in cases {
        let scale = match name.as_str() {
            "one_func/scale=batch" => Some(Scale::Batch),
            "one_func/scale=none" => Some(Scale::None),
            "two_funcs/normalize_then_sum(gdpo)" => None,
            _ => Some(Scale::Group),
        };
        check_trl(name, case, &case["weights"], scale, EXACT);
    }
    assert_eq!(cases.len(), 6);
}

/// The divergence in the reward: `beta` times the sum over a completion of `logp_old - logp_reference`.
fn divergence(old: &Value, reference: &Value, mask: &Value, beta: f64) -> (Vec<f64>, Vec<usize>) {
    let (mut flat, mut lengths) = (Vec::new(), Vec::new());
    for row in 0..mask.as_array().unwrap().len() {
        let [old, reference, mask] = [old, reference, mask].map(|table| numbers(&table[row]));
        let trained = (0..mask.len()).filter(|t| mask[*t] == Some(1.0));
        let before = flat.len();
        flat.extend(trained.map(|t| beta * (old[t].unwrap() - reference[t].unwrap())));
        lengths.push(flat.len() - before);
    }
    (flat, lengths)
}

#[test]
fn advantages_are_those_of_trls_rloo() {
    let table = golden_json("trl-losses.json");
    let rloo = estimator(AdvantageEstimator::Rloo, TRL_EPSILON);
    let (mut compared, mut left_out) = (0, BTreeSet::new());
    for case in table["rloo_advantages"].as_array().unwrap() {
        let (name, config) = (case["name"].as_str().unwrap(), &case["config"]);
        if config["normalize_advantages"] == true || !config["reward_clip_range"].is_null() {
            left_out.insert(name);
            continue;
        }
        let beta = config["beta"].as_f64().unwrap();
        let (penalty, lengths) =
            divergence(&case["old_logprobs"], &case["ref_logprobs"], &case["completion_mask"], beta);
        let rewards = penalised(&totals(&case["rewards_per_func"], &Value::Null), &penalty, &lengths);
        let theirs: Vec<f64> = numbers(&case["advantages"]).into_iter().flatten().collect();
        assert_close(name, &of_groups(&rloo, rewards), &theirs, 1e-6);
        compared += 1;
    }
    // RLOO's sum over a group is 0 already; clipping rewards is the reward function's business.
    assert_eq!((compared, left_out), (3, BTreeSet::from(["beta0.05_norm", "clip"])));
}

#[test]
fn advantages_are_those_of_an_earlier_trls_rloo() {
    let table = golden_json("rl-losses.json");
    let (inputs, tables) = (&table["inputs"], &table["trl"]["rloo"]);
    let rloo = estimator(AdvantageEstimator::Rloo, TRL_EPSILON);
    for (name, beta) in [("advantages/beta=0", 0.0), ("advantages/beta=0.05", 0.05)] {
        let (penalty, lengths) = divergence(&inputs["old_logp"], &inputs["ref_logp"], &inputs["mask"], beta);
        let rewards = penalised(&numbers(&inputs["score"]), &penalty, &lengths);
        let theirs: Vec<f64> = numbers(&tables[name]).into_iter().flatten().collect();
        assert_close(name, &of_groups(&rloo, rewards), &theirs, EXACT);
    }
}

/// verl's tables are `[12, 8]`; this takes the trained slots out of one, row by row.
fn trained(inputs: &Value, table: &Value) -> Vec<Vec<f64>> {
    let rows = table.as_array().unwrap().iter().zip(inputs["mask_mt"].as_array().unwrap());
    rows.map(|(row, mask)| {
        let slots = numbers(row).into_iter().zip(numbers(mask));
        slots.filter(|(_, mask)| *mask == Some(1.0)).map(|(value, _)| value.unwrap()).collect()
    })
    .collect()
}

fn lengths(inputs: &Value) -> Vec<usize> {
    trained(inputs, &inputs["logp"]).iter().map(Vec::len).collect()
}

#[test]
fn advantages_of_attempts_are_those_of_verl() {
    let table = golden_json("rl-losses.json");
    let (inputs, verl) = (&table["inputs"], &table["verl"]["advantages"]);
    let rewards = groups(numbers(&inputs["score"]));
    let lengths: Vec<Vec<usize>> = lengths(inputs).chunks(4).map(<[_]>::to_vec).collect();
    let greedy = vec![Some(0.5); 3];
    let outcomes = Outcomes { rewards: &rewards, lengths: &lengths, greedy: &greedy, ..Outcomes::default() };
    let mut compared = 0;
    for (name, advantage) in [
        ("grpo_std", AdvantageEstimator::Grpo),
        ("grpo_nostd(dr_grpo)", AdvantageEstimator::DrGrpo),
        ("grpo_passk_std", AdvantageEstimator::PassAtK),
        ("rloo", AdvantageEstimator::Rloo),
        ("opo", AdvantageEstimator::Opo),
        ("remax(baseline=0.5)", AdvantageEstimator::Remax),
    ] {
        let ours = advantages(&estimator(advantage, VERL_EPSILON), &outcomes).concat();
        // One advantage at all tokens of a row.
        for (ours, theirs) in ours.iter().zip(trained(inputs, &verl[name]["advantages"])) {
            assert_close(name, &vec![*ours; theirs.len()], &theirs, EXACT);
            compared += 1;
        }
    }
    assert_eq!(compared, 6 * 12);
}

/// verl scales by 12 attempts over 5 rewards other than 0, we by 12 attempts over 8 in groups with a signal: a reward of 0
/// in a group that disagrees teaches as much as another.
#[test]
fn gpg_makes_up_for_groups_without_a_signal_and_not_for_rewards_of_zero() {
    let table = golden_json("rl-losses.json");
    let (inputs, verl) = (&table["inputs"], &table["verl"]["advantages"]["gpg"]["advantages"]);
    let ours = of_groups(&estimator(AdvantageEstimator::Gpg, VERL_EPSILON), numbers(&inputs["score"]));
    for (ours, theirs) in ours.iter().zip(trained(inputs, verl)) {
        let other_scale = ours / (12.0 / 8.0) * (12.0 / 5.0);
        assert_close("gpg", &vec![other_scale; theirs.len()], &theirs, EXACT);
    }
}

/// What the estimators of tokens are given: verl's rewards on the last trained token.
fn token_table(advantage: AdvantageEstimator, inputs: &Value, penalty: &[f64]) -> Vec<f64> {
    let config = estimator(advantage, VERL_EPSILON);
    let sequence = of_groups(&config, numbers(&inputs["score"]));
    let energy: Vec<f64> = trained(inputs, &inputs["old_logp"])
        .concat()
        .iter()
        .zip(trained(inputs, &inputs["sum_pi_squared"]).concat())
        .map(|(logprob, squares)| 1.0 - 2.0 * logprob.exp() + squares)
        .collect();
    let outcomes = TokenOutcomes {
        sequence: &sequence,
        lengths: &lengths(inputs),
        groups: &[0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2],
        penalty,
        energy: &energy,
        values: &[],
        gaps: &[],
        fixed_gaps: &[],
    };
    token_advantages(&config, &outcomes).advantages
}

#[test]
fn the_baseline_form_of_reinforce_plus_plus_is_that_of_verl() {
    let table = golden_json("rl-losses.json");
    let inputs = &table["inputs"];
    let ours = token_table(AdvantageEstimator::ReinforcePlusPlusBaseline, inputs, &[]);
    let theirs = &table["verl"]["advantages"]["reinforce_plus_plus_baseline"]["advantages"];
    assert_close("verl reinforce_plus_plus_baseline", &ours, &trained(inputs, theirs).concat(), EXACT);
}

/// verl sets the running return to 0 at tokens of an environment, so that the first two tokens of row 4 have return 0 where
/// the attempt has 0.25. Whitening undone, the other rows agree.
#[test]
fn reinforce_plus_plus_is_that_of_verl_but_for_turns_before_the_last() {
    let table = golden_json("rl-losses.json");
    let inputs = &table["inputs"];
    let verl = &table["verl"]["advantages"]["reinforce_plus_plus"];
    let returns = trained(inputs, &verl["returns"]);
    let scores: Vec<f64> = numbers(&inputs["score"]).into_iter().flatten().collect();
    for (row, (returns, score)) in returns.iter().zip(&scores).enumerate() {
        let differs = returns.iter().filter(|value| *value != score).count();
        assert_eq!(differs, if row == 4 { 2 } else { 0 }, "row {row}");
    }
    let ours = token_table(AdvantageEstimator::ReinforcePlusPlus, inputs, &[]);
    let theirs = rltrain::algorithm::centre_and_scale(&returns.concat());
    assert_close("whitening", &theirs, &trained(inputs, &verl["advantages"]).concat(), EXACT);
    assert!(ours.iter().zip(&theirs).any(|(ours, theirs)| (ours - theirs).abs() > 0.1), "row 4 differs");
    let repeated: Vec<f64> =
        scores.iter().zip(lengths(inputs)).flat_map(|(score, n)| std::iter::repeat_n(*score, n)).collect();
    assert_close("ours", &ours, &rltrain::algorithm::centre_and_scale(&repeated), EXACT);
}

/// Groups without gaps agree with verl; in group 1 a gap in one row moves its later tokens to other places.
#[test]
fn the_optimal_token_baseline_is_that_of_verl_where_no_row_has_gaps() {
    let table = golden_json("rl-losses.json");
    let inputs = &table["inputs"];
    let ours = token_table(AdvantageEstimator::OptimalTokenBaseline, inputs, &[]);
    let theirs = trained(inputs, &table["verl"]["advantages"]["optimal_token_baseline"]["advantages"]);
    let first: usize = theirs[..4].iter().map(Vec::len).sum();
    let last: usize = theirs[8..].iter().map(Vec::len).sum();
    assert_close("group 0", &ours[..first], &theirs[..4].concat(), 1e-8);
    assert_close("group 2", &ours[ours.len() - last..], &theirs[8..].concat(), EXACT);
    // The first two places of group 1 lie before the gap.
    let starts = [first, first + 5, first + 13, first + 15];
    for (row, start) in (4..8).zip(starts) {
        assert_close("group 1", &ours[start..start + 2], &theirs[row][..2], 1e-8);
    }
}
