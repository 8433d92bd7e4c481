//! The clipped surrogate: PyTorch's autograd, TRL, verl.

use rltrain::algorithm::clipped_surrogate;
use serde_json::Value;
use tch::{Kind, Tensor};

use super::{golden, parity, tensor};

const LOW: f64 = 0.2;
const HIGH: f64 = 0.28;

/// Log-ratios around 30 in f32 are rounded to 2e-6, and `exp` makes that a relative error; f64 is exact to its own 1e-14.
#[test]
fn loss_and_gradient_of_every_token_are_those_of_pytorch() {
    let golden = golden("clipped_surrogate.safetensors");
    for (kind, bound) in [(Kind::Double, 1e-13), (Kind::Float, 5e-6)] {
        let cast = |name: &str| golden[name].to_kind(kind).copy();
        let logprobs = cast("logprobs").set_requires_grad(true);
        let ours = clipped_surrogate(&logprobs, &cast("sampled"), &cast("advantages"), LOW, HIGH);
        ours.loss_n.sum(kind).backward();
        for (what, ours, theirs) in [
            ("loss", &ours.loss_n, &golden["loss"]),
            ("gradient", &logprobs.grad(), &golden["gradient"]),
            ("ratio", &ours.ratio_n, &golden["ratio"]),
        ] {
            let close = ours.to_kind(Kind::Double).allclose(theirs, bound, bound, false);
            assert!(close, "{what} in {kind:?}:\n{ours}\nPyTorch:\n{theirs}");
        }
    }
}

#[test]
fn the_clip_marks_are_on_exactly_the_tokens_whose_gradient_the_bounds_cut() {
    let golden = golden("clipped_surrogate.safetensors");
    let (logprobs, sampled, advantages) = (&golden["logprobs"], &golden["sampled"], &golden["advantages"]);
    let ours = clipped_surrogate(logprobs, sampled, advantages, LOW, HIGH);
    let list = |tensor: &Tensor| Vec::<f64>::try_from(tensor.to_kind(Kind::Double)).unwrap();
    let (low, high) = (list(&ours.clipped_low_n), list(&ours.clipped_high_n));
    let (gradient, log_ratio, advantages) =
        (list(&golden["gradient"]), list(&(logprobs - sampled)), list(advantages));
    let mut marked = [0, 0];
    for n in 0..gradient.len() {
        // Farther out the guard against overflow cuts as well.
        if log_ratio[n].abs() > 20.0 {
            continue;
        }
        let cut = gradient[n] == 0.0 && advantages[n] != 0.0;
        assert_eq!(
            low[n] == 1.0,
            cut && log_ratio[n] < 0.0,
            "log-ratio {}, advantage {}",
            log_ratio[n],
            advantages[n]
        );
        assert_eq!(
            high[n] == 1.0,
            cut && log_ratio[n] > 0.0,
            "log-ratio {}, advantage {}",
            log_ratio[n],
            advantages[n]
        );
        marked[0] += usize::from(low[n] == 1.0);
        marked[1] += usize::from(high[n] == 1.0);
    }
    assert_eq!(marked, [3, 3], "-19, -3 and -0.25 are below the bounds, 0.26, 3 and 19 above");
}

#[test]
fn whatever_the_logprobs_loss_and_gradient_stay_finite() {
    for logprob in [f32::MIN, -1e30, -1e4, 0.0] {
        for sampled in [f32::MIN, -1e30, -1e4, 0.0] {
            for advantage in [-1.0f32, 0.0, 1.0] {
                let logprobs = Tensor::from_slice(&[logprob]).set_requires_grad(true);
                let ours = clipped_surrogate(
                    &logprobs,
                    &Tensor::from_slice(&[sampled]),
                    &Tensor::from_slice(&[advantage]),
                    LOW,
                    HIGH,
                );
                ours.loss_n.sum(Kind::Float).backward();
                let (loss, gradient) = (ours.loss_n.double_value(&[0]), logprobs.grad().double_value(&[0]));
                assert!(
                    loss.is_finite() && gradient.is_finite(),
                    "{logprob} {sampled} {advantage}: {loss} {gradient}"
                );
            }
        }
    }
}

/// How a row of a table averages its tokens.
enum Mean {
    /// One mean over all tokens.
    Tokens,
    /// The mean over sequences of the mean over their tokens.
    Sequences,
}

/// One batch `[B, T]`, f64, as other trainers hold it: padded, with a mask.
struct Padded {
    logprobs: Tensor,
    sampled: Tensor,
    /// `[B]` or `[B, T]`.
    advantages: Tensor,
    mask: Tensor,
}

impl Padded {
    /// Compares loss and gradient with a row of a table; `bound` is absolute, at magnitudes of about 1.
    #[track_caller]
    fn check(&self, what: &str, mean: &Mean, clip: (f64, f64), loss: &Value, gradient: &Value, bound: f64) {
        let (b, t) = self.mask.size2().unwrap();
        let advantages_b =
            if self.advantages.dim() == 1 { self.advantages.unsqueeze(1) } else { self.advantages.copy() };
        let weight_bt = match mean {
            Mean::Tokens => &self.mask / self.mask.sum(Kind::Double),
            Mean::Sequences => &self.mask / self.mask.sum_dim_intlist(1, true, Kind::Double) / b as f64,
        };
        let trained = self.mask.to_kind(Kind::Bool);
        let pick = |tensor: &Tensor| tensor.masked_select(&trained);
        let logprobs = self.logprobs.copy().set_requires_grad(true);
        let advantages_n = pick(&advantages_b.expand([b, t], false));
        let surrogate =
            clipped_surrogate(&pick(&logprobs), &pick(&self.sampled), &advantages_n, clip.0, clip.1);
        let ours = (surrogate.loss_n * pick(&weight_bt)).sum(Kind::Double);
        ours.backward();
        let difference = (ours.double_value(&[]) - loss.as_f64().unwrap()).abs();
        assert!(difference <= bound, "{what}: the loss differs by {difference:e}");
        let difference = (logprobs.grad() - tensor(gradient)).abs().max().double_value(&[]);
        assert!(difference <= bound, "{what}: the gradient differs by {difference:e}");
    }
}

/// The table is f32; its own check, `verify_trl_losses.py`, allows 2e-6.
#[test]
fn losses_and_gradients_are_those_of_trl() {
    let Some(table) = parity("trl-losses.json") else { return };
    let inputs = &table["inputs"];
    let mut rows = 0;
    for case in table["grpo"].as_array().unwrap() {
        let config = &case["config"];
        let mean = match config["loss_type"].as_str().unwrap() {
            "grpo" => Mean::Sequences,
            "dapo" => Mean::Tokens,
            _ => continue,
        };
        // What else TRL can add to the loss is not part of this algorithm.
        let plain = config["importance_sampling_level"] == "token"
            && config["delta"].is_null()
            && config["off_policy_mask_threshold"].is_null()
            && ["beta", "entropy_coef"].iter().all(|key| config[*key] == 0.0)
            && config["top_entropy_quantile"] == 1.0
            && config["gradient_accumulation_steps"] == 1;
        if !plain {
            continue;
        }
        let input = |key: &Value| tensor(&inputs[key.as_str().unwrap()]);
        assert!(case["uses_old_logprobs"].as_bool().unwrap());
        let batch = Padded {
            logprobs: tensor(&inputs["logprobs"]),
            sampled: tensor(&inputs["old_logprobs"]),
            advantages: input(&case["advantages"]),
            mask: input(&case["mask"]),
        };
        let clip = (config["epsilon_low"].as_f64().unwrap(), config["epsilon_high"].as_f64().unwrap());
        batch.check(case["name"].as_str().unwrap(), &mean, clip, &case["loss"], &case["grad_logprobs"], 2e-6);
        rows += 1;
    }
    assert_eq!(rows, 7, "two loss types with two clips and with per-token advantages, and the DAPO paper's");
}

/// These tables are f64.
#[test]
fn losses_and_gradients_are_those_of_an_earlier_trl_and_of_verl() {
    let Some(table) = parity("rl-losses.json") else { return };
    let (trl, verl, inputs) = (&table["trl"], &table["verl"]["policy_loss"], &table["inputs"]);
    let batch = |mask: &str, advantages: &Value| Padded {
        logprobs: tensor(&inputs["logp"]),
        sampled: tensor(&inputs["old_logp"]),
        advantages: tensor(advantages),
        mask: tensor(&inputs[mask]),
    };
    let grouped = batch("mask", &trl["advantages"]["one_func/scale=group"]["advantages"]);
    let with_holes = batch("mask_mt", &inputs["advantages_for_losses"]);
    for (what, batch, mean, row) in [
        ("TRL grpo", &grouped, Mean::Sequences, &trl["loss"]["grpo"]),
        ("TRL dapo", &grouped, Mean::Tokens, &trl["loss"]["dapo"]),
        ("verl token-mean", &with_holes, Mean::Tokens, &verl["vanilla/token-mean"]),
        ("verl seq-mean-token-mean", &with_holes, Mean::Sequences, &verl["vanilla/seq-mean-token-mean"]),
    ] {
        batch.check(what, &mean, (LOW, HIGH), &row["loss"], &row["dlogp"], 1e-9);
    }
}
