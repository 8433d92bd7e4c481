//! GAE, whitening and the value loss against verl, OpenRLHF and TRL.

use rltrain::algorithm::{
    AdvantageEstimator, AlgorithmConfig, KlEstimator, TokenOutcomes, centre_and_scale, explained_variance,
    gae, kl, token_advantages, value_loss,
};
use serde_json::Value;
use tch::{Kind, Tensor};

use super::packed::clipped;
use super::{golden_json, tensor};

fn list(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Kind::Double).flatten(0, -1)).unwrap()
}

/// The slots of a table `[B, T]` that `mask` has: flat.
fn picked(table: &Tensor, mask: &Tensor) -> Tensor {
    table.masked_select(&mask.to_kind(Kind::Bool))
}

fn lengths(mask: &Tensor) -> Vec<usize> {
    list(&mask.sum_dim_intlist(1, false, Kind::Double)).into_iter().map(|length| length as usize).collect()
}

#[track_caller]
fn assert_close(what: &str, ours: &[f64], theirs: &[f64], bound: f64) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (place, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert!((ours - theirs).abs() <= bound, "{what}, {place}: {ours}, theirs {theirs}");
    }
}

#[test]
fn advantages_and_returns_are_those_of_verl() {
    let table = golden_json("rl-losses.json");
    let inputs = &table["inputs"];
    let mask = tensor(&inputs["mask_mt"]);
    let lengths = lengths(&mask);
    let values = list(&picked(&tensor(&inputs["values"]), &mask));
    for (name, discount, gae_lambda) in
        [("gae_g1_l1", 1.0, 1.0), ("gae_g1_l0.95", 1.0, 0.95), ("gae_g0.99_l0.95", 0.99, 0.95)]
    {
        let config = AlgorithmConfig {
            advantage: AdvantageEstimator::Gae,
            discount,
            gae_lambda,
            ..AlgorithmConfig::default()
        };
        let sequence = list(&tensor(&inputs["score"]));
        let outcomes = TokenOutcomes {
            sequence: &sequence,
            lengths: &lengths,
            values: &values,
            ..TokenOutcomes::default()
        };
        let ours = token_advantages(&config, &outcomes);
        let theirs = &table["verl"]["advantages"][name];
        let theirs = |key: &str| list(&picked(&tensor(&theirs[key]), &mask));
        assert_close(name, &ours.advantages, &theirs("advantages"), 1e-9);
        assert_close(name, &ours.returns, &theirs("returns"), 1e-9);
    }
}

/// OpenRLHF gives tokens of an environment a value of their own, so that rows with gaps (4 and 9) differ before the gap.
#[test]
fn returns_are_those_of_openrlhf_where_no_row_has_gaps() {
    let table = golden_json("rl-losses.json");
    let inputs = &table["inputs"];
    let (mask, values) = (tensor(&inputs["mask_mt"]), tensor(&inputs["values"]));
    let rewards = tensor(&inputs["token_level_rewards"]);
    let theirs = &table["openrlhf"]["gae"]["g1_l0.95 (un-whitened; env tokens NOT skipped)"];
    for row in 0..12 {
        let of_row = |table: &Tensor| list(&picked(&table.get(row), &mask.get(row)));
        let (rewards, values) = (of_row(&rewards), of_row(&values));
        let ours = gae(&rewards, &values, &[values.len()], 1.0, 0.95);
        for (ours, theirs) in [
            (ours.advantages, of_row(&tensor(&theirs["advantages"]))),
            (ours.returns, of_row(&tensor(&theirs["returns"]))),
        ] {
            let same = ours.iter().zip(&theirs).all(|(ours, theirs)| (ours - theirs).abs() <= 1e-9);
            assert_eq!(same, ![4, 9].contains(&row), "row {row}: {ours:?}, OpenRLHF {theirs:?}");
        }
    }
}

#[test]
fn whitening_is_that_of_trl() {
    let table = golden_json("rl-losses.json");
    let wanted = &table["trl"]["ppo_masked_whiten"];
    let inputs = &table["inputs"];
    // The table is of entropies, over the slots of the single-turn mask.
    let mask = tensor(&inputs["mask"]);
    let values = list(&picked(&tensor(&inputs["entropy"]), &mask));
    let theirs = |name: &str| list(&picked(&tensor(&wanted[name]), &mask));
    assert_close("shift_mean", &centre_and_scale(&values), &theirs("shift_mean"), 1e-9);
}

#[test]
fn value_losses_are_those_of_verl_and_openrlhf() {
    let table = golden_json("rl-losses.json");
    let inputs = &table["inputs"];
    let mask = tensor(&inputs["mask_mt"]);
    let old_n = picked(&tensor(&inputs["values"]), &mask);
    let returns_n = picked(&tensor(&table["verl"]["advantages"]["gae_g1_l0.95"]["returns"]), &mask);
    for (name, row, clip) in [
        ("verl", &table["verl"]["value_loss"]["clip0.2"], Some(0.2)),
        ("OpenRLHF", &table["openrlhf"]["value_loss"]["clip=0.2"], Some(0.2)),
        ("OpenRLHF, no clip", &table["openrlhf"]["value_loss"]["clip=None"], None),
    ] {
        let values = tensor(&inputs["vpreds"]).set_requires_grad(true);
        let config = AlgorithmConfig { value_clip: clip, ..AlgorithmConfig::default() };
        let ours = value_loss(&config, &picked(&values, &mask), &old_n, &returns_n);
        let loss = ours.loss_n.mean(Kind::Double);
        loss.backward();
        assert!((loss.double_value(&[]) - row["loss"].as_f64().unwrap()).abs() <= 1e-9, "{name}");
        assert_close(name, &list(&values.grad()), &list(&tensor(&row["dvpred"])), 1e-8);
        if let Some(share) = row["clipfrac"].as_f64() {
            let ours = ours.clipped_n.mean(Kind::Double).double_value(&[]);
            assert!((ours - share).abs() <= 1e-9, "{name}: {ours} clipped, theirs {share}");
        }
    }
}

/// TRL puts the score one slot behind the last token and goes on over padding whose values are 0, so that a row of the
/// table is a sequence as long as the padding. f32; its own check allows 1e-5.
#[test]
fn ppo_is_that_of_trl() {
    let table = golden_json("trl-losses.json");
    let (inputs, cases) = (&table["ppo"]["inputs"], table["ppo"]["cases"].as_array().unwrap());
    let input = |name: &str| tensor(&inputs[name]);
    for case in cases {
        let (name, args) = (case["name"].as_str().unwrap(), &case["args"]);
        let number = |key: &str| args[key].as_f64().unwrap();
        let trained = 1.0 - flags(&case["padding_mask"]);
        let valued = 1.0 - flags(&case["padding_mask_p1"]);
        let of_trained = |table: &Tensor| picked(table, &trained);
        let of_valued = |table: &Tensor| picked(table, &valued);
        let (values, rewards) = (tensor(&case["values_masked"]), tensor(&case["rewards"]));
        let (rows, length) = values.size2().unwrap();
        let lengths = vec![length as usize; rows as usize];
        let targets = gae(&list(&rewards), &list(&values), &lengths, number("gamma"), number("lam"));
        let returns = Tensor::from_slice(&targets.returns).view([rows, length]);
        let advantages = Tensor::from_slice(&targets.advantages).view([rows, length]);
        assert_close(name, &targets.returns, &list(&tensor(&case["returns"])), 1e-5);
        let whitened = centre_and_scale(&list(&of_trained(&advantages)));
        assert_close(name, &whitened, &list(&of_trained(&tensor(&case["advantages"]))), 1e-5);

        let logprobs = input("new_logprobs").set_requires_grad(true);
        let clip = number("cliprange");
        let old_n = of_trained(&input("rollout_logprobs"));
        let policy = clipped(&of_trained(&logprobs), &old_n, &Tensor::from_slice(&whitened), (clip, clip));
        let predicted = input("vpred").set_requires_grad(true);
        let config =
            AlgorithmConfig { value_clip: Some(number("cliprange_value")), ..AlgorithmConfig::default() };
        let critic = value_loss(&config, &of_valued(&predicted), &of_valued(&values), &of_valued(&returns));
        let loss = policy.loss_n.mean(Kind::Double) + critic.loss_n.mean(Kind::Double) * number("vf_coef");
        loss.backward();
        assert!((loss.double_value(&[]) - case["loss"].as_f64().unwrap()).abs() <= 1e-5, "{name}");
        assert_close(name, &list(&logprobs.grad()), &list(&tensor(&case["grad_new_logprobs"])), 1e-5);
        assert_close(name, &list(&predicted.grad()), &list(&tensor(&case["grad_vpred"])), 1e-5);

        // The divergence in the reward of each token, where nothing whitens it.
        if args["whiten_rewards"] == false {
            let estimator = if args["kl_estimator"] == "k1" { KlEstimator::K1 } else { KlEstimator::K3 };
            let kl_n = kl(estimator, &old_n, &of_trained(&input("ref_logprobs"))) * -number("kl_coef");
            let inside = of_trained(&rewards);
            let ends =
                list(&inside).iter().zip(list(&kl_n)).filter(|(r, kl)| (**r - kl).abs() > 1e-5).count();
            assert!(ends <= rows as usize, "{name}: {ends} rewards are more than the divergence");
        }
    }
    assert_eq!(cases.len(), 4);
}

/// A mask of booleans or numbers.
fn flags(json: &Value) -> Tensor {
    let row = |row: &Value| -> Tensor {
        let values: Vec<f64> = row
            .as_array()
            .unwrap()
            .iter()
            .map(|flag| flag.as_bool().map_or_else(|| flag.as_f64().unwrap(), f64::from))
            .collect();
        Tensor::from_slice(&values)
    };
    Tensor::stack(&json.as_array().unwrap().iter().map(row).collect::<Vec<_>>(), 0)
}

#[test]
fn a_critic_explains_what_it_predicts() {
    let returns = Tensor::from_slice(&[0.0f32, 1.0, 2.0, 3.0]);
    assert_eq!(explained_variance(&returns, &returns), Some(1.0));
    assert_eq!(explained_variance(&(returns.zeros_like() + 1.5), &returns), Some(0.0));
    assert_eq!(explained_variance(&-&returns, &returns), Some(-3.0));
    assert_eq!(explained_variance(&returns, &returns.ones_like()), None);
}
