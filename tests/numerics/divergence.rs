//! Estimators of divergence against verl's and OpenRLHF's.

use rltrain::algorithm::KlEstimator::{Abs, K1, K2, K3};
use rltrain::algorithm::{kl, kl_with_gradient_of};
use tch::{Kind, Tensor};

use super::{golden_json, tensor};

#[test]
fn estimators_and_their_gradients_are_those_of_verl() {
    let table = golden_json("rl-losses.json");
    let inputs = &table["inputs"];
    let mask = tensor(&inputs["mask_mt"]).to_kind(Kind::Bool);
    let reference = tensor(&inputs["ref_logp"]);
    let rows = table["verl"]["kl"].as_object().unwrap();
    let mut compared = 0;
    for (name, row) in rows.iter().filter(|(_, row)| row.is_object()) {
        // `k3+` is what verl means to offer: its own function raises.
        let (value, gradient) = match name.as_str() {
            "k1" => (K1, K1),
            "k2" => (K2, K2),
            "k3" => (K3, K3),
            "abs" => (Abs, Abs),
            "k3+" => (K3, K2),
            other => panic!("verl's `{other}` is neither compared nor named as not offered"),
        };
        let logprobs = tensor(&inputs["logp"]).set_requires_grad(true);
        let ours = kl_with_gradient_of(value, gradient, &logprobs, &reference).masked_select(&mask);
        let theirs = tensor(&row["per_token"]).masked_select(&mask);
        let mean = ours.mean(Kind::Double);
        mean.backward();
        let difference = |ours: &Tensor, theirs: &Tensor| (ours - theirs).abs().max().double_value(&[]);
        // verl's k3 was evaluated on f32 differences for the table of tokens; its mean is f64.
        assert!(difference(&ours.detach(), &theirs) <= 1e-7, "{name}: per token");
        assert!(
            (mean.double_value(&[]) - row["masked_mean"].as_f64().unwrap()).abs() <= 1e-9,
            "{name}: mean"
        );
        assert!(difference(&logprobs.grad(), &tensor(&row["dlogp"])) <= 1e-8, "{name}: gradient");
        compared += 1;
    }
    assert_eq!(compared, 5);
}

/// The tables are of f32 logprobs, whose magnitude is up to 5.
#[test]
fn estimators_are_those_of_openrlhf() {
    let table = golden_json("rl-losses.json");
    let (logprobs, reference) = (tensor(&table["inputs"]["logp"]), tensor(&table["inputs"]["ref_logp"]));
    for (name, estimator) in [("k1", K1), ("k2", K2), ("k3", K3)] {
        let theirs = tensor(&table["openrlhf"]["kl"][name]);
        let difference = (kl(estimator, &logprobs, &reference) - theirs).abs().max().double_value(&[]);
        assert!(difference <= 5e-7, "{name} differs by {difference:e}");
    }
}
