//! The clipped surrogate against PyTorch's autograd, token by token. What other trainers make of it is in `losses.rs`.

use tch::{Kind, Tensor};

use super::golden;
use super::packed::clipped;

const CLIP: (f64, f64) = (0.2, 0.28);

/// Log-ratios around 30 in f32 are rounded to 2e-6, and `exp` makes that a relative error; f64 is exact to its own 1e-14.
#[test]
fn loss_and_gradient_of_every_token_are_those_of_pytorch() {
    let golden = golden("clipped_surrogate.safetensors");
    for (kind, bound) in [(Kind::Double, 1e-13), (Kind::Float, 5e-6)] {
        let cast = |name: &str| golden[name].to_kind(kind).copy();
        let logprobs = cast("logprobs").set_requires_grad(true);
        let ours = clipped(&logprobs, &cast("sampled"), &cast("advantages"), CLIP);
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
    let ours = clipped(logprobs, sampled, advantages, CLIP);
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
                let ours = clipped(
                    &logprobs,
                    &Tensor::from_slice(&[sampled]),
                    &Tensor::from_slice(&[advantage]),
                    CLIP,
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
