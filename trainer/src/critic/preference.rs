//! Losses of a verifier: one number for a whole program, higher for a right one.
//!
//! A linear layer reads the number off the hidden state after the program's last token, as in muCode (Jain et al. 2025,
//! arXiv:2502.20380).

use tch::Tensor;

use crate::rng::{Stream, uniform};

/// How much the mean of squared scores counts beside Bradley and Terry's loss, which only knows differences: it keeps scores
/// near 0. muCode's.
const SQUARE: f64 = 1e-3;

/// A right and a wrong program for the same task, as places in a list of scores.
pub type Pair = (usize, usize);

/// The loss of Bradley and Terry over `pairs`, a scalar:
///
/// ```text
/// mean over pairs of  -log sigmoid(r+ - r-)   +   0.001 · mean of r²
/// ```
///
/// the square over all scores that are in a pair, once for each pair. `score_s` is `[S]`. `None` without pairs.
pub fn bradley_terry(score_s: &Tensor, pairs: &[Pair]) -> Option<Tensor> {
    if pairs.is_empty() {
        return None;
    }
    let side = |place: fn(&Pair) -> usize| {
        let places: Vec<i64> = pairs.iter().map(|pair| place(pair) as i64).collect();
        score_s.index_select(0, &Tensor::from_slice(&places).to_device(score_s.device()))
    };
    let (right_p, wrong_p) = (side(|pair| pair.0), side(|pair| pair.1));
    let square = Tensor::cat(&[&right_p, &wrong_p], 0).square().mean(score_s.kind());
    Some((wrong_p - right_p).softplus().mean(score_s.kind()) + square * SQUARE)
}

/// Binary cross entropy `[S]` of `sigmoid(score)` with `passed_s` (1 for a program that passes all tests, else 0), in nats.
pub fn binary(score_s: &Tensor, passed_s: &Tensor) -> Tensor {
    score_s.softplus() - score_s * passed_s
}

/// At most `most` pairs of a right and a wrong program, drawn with replacement from `passed`, the programs of one task; all of
/// them, in order, if there are no more. `counters` say what the draw is for.
pub fn pairs(passed: &[bool], most: usize, seed: u64, counters: [u64; 2]) -> Vec<Pair> {
    let places = |wanted: bool| -> Vec<usize> {
        passed.iter().enumerate().filter(|(_, passed)| **passed == wanted).map(|(place, _)| place).collect()
    };
    let (right, wrong) = (places(true), places(false));
    let all = right.len() * wrong.len();
    let pair = |number: usize| (right[number / wrong.len()], wrong[number % wrong.len()]);
    if all <= most {
        return (0..all).map(pair).collect();
    }
    let draw = |number: usize| {
        let counters = [counters[0], counters[1], number as u64];
        (uniform(seed, Stream::VerifierPairs, &counters) * all as f64) as usize
    };
    (0..most).map(|number| pair(draw(number).min(all - 1))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::Kind;

    use super::*;

    fn value(tensor: &Tensor) -> f64 {
        tensor.double_value(&[])
    }

    /// The worked examples of muCode.
    #[test]
    fn losses_are_those_of_the_paper() {
        let scores = Tensor::from_slice(&[1.2, -0.3]);
        assert!((value(&bradley_terry(&scores, &[(0, 1)]).unwrap()) - 0.2021783).abs() < 5e-8);
        let scores = Tensor::from_slice(&[2.0, -1.0]);
        let without_square = value(&bradley_terry(&scores, &[(0, 1)]).unwrap()) - 0.001 * 2.5;
        assert!((without_square - 0.0485874).abs() < 5e-8, "{without_square}");
        let loss_s = binary(&scores, &Tensor::from_slice(&[1.0, 0.0]));
        assert!((value(&loss_s.mean(Kind::Double)) - 0.2200948).abs() < 5e-8);
        assert!(bradley_terry(&scores, &[]).is_none());
    }

    #[test]
    fn losses_of_extreme_scores_are_numbers() {
        let scores = Tensor::from_slice(&[-1e4f32, 1e4]).set_requires_grad(true);
        let loss = bradley_terry(&scores, &[(0, 1)]).unwrap()
            + binary(&scores, &Tensor::from_slice(&[1.0f32, 0.0])).sum(Kind::Float);
        loss.backward();
        assert!(value(&loss).is_finite() && value(&scores.grad().sum(Kind::Double)).is_finite());
    }

    proptest! {
        #[test]
        fn pairs_are_of_a_right_and_a_wrong_program(
            passed in prop::collection::vec(any::<bool>(), 0..12), most in 1..40usize, seed: u64,
        ) {
            let found = pairs(&passed, most, seed, [3, 4]);
            let right = passed.iter().filter(|passed| **passed).count();
            prop_assert_eq!(found.len(), most.min(right * (passed.len() - right)));
            prop_assert!(found.iter().all(|(better, worse)| passed[*better] && !passed[*worse]));
            prop_assert_eq!(&found, &pairs(&passed, most, seed, [3, 4]));
        }

        /// What only knows differences does not change when all scores move together.
        #[test]
        fn the_loss_of_pairs_knows_differences(better in -5.0..5.0f64, worse in -5.0..5.0f64, shift in -3.0..3.0f64) {
            let loss = |shift: f64| {
                let scores = [better + shift, worse + shift];
                let square = (scores[0].powi(2) + scores[1].powi(2)) / 2.0;
                value(&bradley_terry(&Tensor::from_slice(&scores), &[(0, 1)]).unwrap()) - SQUARE * square
            };
            prop_assert!((loss(0.0) - loss(shift)).abs() < 1e-9);
        }
    }
}
