//! CodeRL's critic: which of four things will come of a program, as seen from each of its tokens.
//!
//! ```text
//! e_t   = MLP(h_t)                     logits of the four classes, after token t
//! E     = max_t e_t                    element by element: those of the whole program
//! loss  = cross entropy(E, u)          u is what came of it
//! q_t   = softmax(e_t)[u]              how much token t is to do with that: its weight in the policy's loss
//! ```
//!
//! Le et al. 2022, section 3.2 (arXiv:2207.01780), and the authors' code.

use rltrain_executor::OutcomeClass;
use tch::{Kind, Tensor};

/// The classes in the order of the logits.
pub const CLASSES: [OutcomeClass; 4] = [
    OutcomeClass::CompileError,
    OutcomeClass::RuntimeError,
    OutcomeClass::FailedTest,
    OutcomeClass::PassedAll,
];

/// Place of [`OutcomeClass::PassedAll`] in [`CLASSES`].
const PASSED: i64 = 3;

/// Place of a class in [`CLASSES`].
pub fn place(class: OutcomeClass) -> i64 {
    match class {
        OutcomeClass::CompileError => 0,
        OutcomeClass::RuntimeError => 1,
        OutcomeClass::FailedTest => 2,
        OutcomeClass::PassedAll => PASSED,
    }
}

/// Logits `[S, C]` of whole programs: the largest over the tokens of each, class by class. `logits_nc` are those of tokens,
/// `[N, C]`, sequence after sequence of `lengths`, at least one each.
pub fn pooled(logits_nc: &Tensor, lengths: &[usize]) -> Tensor {
    let largest: Vec<Tensor> =
        split(logits_nc, lengths).iter().map(|part| part.amax([0i64].as_slice(), false)).collect();
    Tensor::stack(&largest, 0)
}

/// What belongs to each sequence.
fn split(logits_nc: &Tensor, lengths: &[usize]) -> Vec<Tensor> {
    let lengths: Vec<i64> = lengths.iter().map(|length| *length as i64).collect();
    logits_nc.split_with_sizes(&lengths[..], 0)
}

/// Cross entropy `[S]` of each program's pooled logits with its class (i64, `[S]`, a place in [`CLASSES`]), in nats.
pub fn outcome_loss(logits_nc: &Tensor, lengths: &[usize], class_s: &Tensor) -> Tensor {
    let log_probability = pooled(logits_nc, lengths).log_softmax(-1, Kind::Float);
    -log_probability.gather(-1, &class_s.unsqueeze(-1), false).squeeze_dim(-1)
}

/// The weight of each token in the policy's loss, `[N]`, from 0 to 1: the probability, after the token, of what came of its
/// program. `class_n` (i64, `[N]`) is the place of that class.
pub fn token_weights(logits_nc: &Tensor, class_n: &Tensor) -> Tensor {
    let probability = logits_nc.softmax(-1, Kind::Float);
    probability.gather(-1, &class_n.unsqueeze(-1), false).squeeze_dim(-1)
}

/// The probability, `[N]`, that a program passes all tests, as if it ended after each of its tokens: pooled over the tokens up
/// to it. After the last token it is that of the whole program. `lengths` are the sequences' numbers of tokens.
///
/// Critical sampling cuts a program where this is highest, and goes on from there.
pub fn pass_by_prefix(logits_nc: &Tensor, lengths: &[usize]) -> Tensor {
    let pooled: Vec<Tensor> = split(logits_nc, lengths).iter().map(|part| part.cummax(0).0).collect();
    Tensor::cat(&pooled, 0).softmax(-1, Kind::Float).select(-1, PASSED)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.to_kind(Kind::Double).flatten(0, -1)).unwrap()
    }

    fn logits(values: &[f64]) -> Tensor {
        Tensor::from_slice(values).view([-1, 4])
    }

    #[test]
    fn the_largest_logit_of_each_class_counts_wherever_it_is() {
        let logits_nc = logits(&[1.0, 0.0, -5.0, 2.0, -1.0, 3.0, -6.0, 1.0, 9.0, 9.0, 9.0, 9.0]);
        let pooled = pooled(&logits_nc, &[2, 1]);
        assert_eq!(list(&pooled), [1.0, 3.0, -5.0, 2.0, 9.0, 9.0, 9.0, 9.0]);
    }

    #[test]
    fn a_critic_that_knows_nothing_loses_the_logarithm_of_four() {
        let logits_nc = logits(&[0.0; 12]).set_requires_grad(true);
        let loss_s = outcome_loss(&logits_nc, &[3], &Tensor::from_slice(&[2i64]));
        assert!((list(&loss_s)[0] - 4f64.ln()).abs() < 1e-6);
        assert_eq!(list(&token_weights(&logits_nc, &Tensor::from_slice(&[0i64, 1, 2]))), [0.25; 3]);
    }

    /// The worked example of CodeRL's loss: weights of 0.7, 0.5 and 0.9, a return of 0.3.
    #[test]
    fn weights_of_tokens_give_the_loss_of_the_paper() {
        let observed: [f64; 3] = [0.7, 0.5, 0.9];
        let row = |q: &f64| [((1.0 - q) / 3.0).ln(), ((1.0 - q) / 3.0).ln(), ((1.0 - q) / 3.0).ln(), q.ln()];
        let rows: Vec<f64> = observed.iter().flat_map(row).collect();
        let weights = list(&token_weights(&logits(&rows), &Tensor::from_slice(&[PASSED; 3])));
        let logprobs = [-1.0, -2.0, -0.5];
        let loss: f64 =
            weights.iter().zip(logprobs).map(|(q, logprob)| -q * 0.3 * logprob).sum::<f64>() / 3.0;
        assert!((loss - 0.215).abs() < 1e-7, "{loss}");
    }

    fn programs() -> impl Strategy<Value = (Vec<usize>, Vec<f64>)> {
        prop::collection::vec(1..5usize, 1..4).prop_flat_map(|lengths| {
            let count = 4 * lengths.iter().sum::<usize>();
            (Just(lengths), prop::collection::vec(-8.0..8.0f64, count))
        })
    }

    proptest! {
        #[test]
        fn after_the_last_token_the_prefix_is_the_program((lengths, values) in programs()) {
            let logits_nc = logits(&values);
            let whole = list(&pooled(&logits_nc, &lengths).softmax(-1, Kind::Float).select(-1, PASSED));
            let prefixes = list(&pass_by_prefix(&logits_nc, &lengths));
            let mut end = 0;
            for (length, whole) in lengths.iter().zip(whole) {
                end += length;
                prop_assert!((prefixes[end - 1] - whole).abs() < 1e-6);
            }
            prop_assert!(prefixes.iter().all(|p| (0.0..=1.0).contains(p)));
        }

        #[test]
        fn the_gradient_reaches_at_most_one_token_a_class_and_sums_to_zero((lengths, values) in programs()) {
            let logits_nc = logits(&values).set_requires_grad(true);
            let class_s = Tensor::zeros([lengths.len() as i64], (Kind::Int64, tch::Device::Cpu));
            outcome_loss(&logits_nc, &lengths, &class_s).sum(Kind::Double).backward();
            let gradient = logits_nc.grad();
            let moved = gradient.ne(0.0).to_kind(Kind::Int64).sum(Kind::Int64).int64_value(&[]);
            prop_assert!(moved <= 4 * lengths.len() as i64, "{moved} entries have a gradient");
            prop_assert!(gradient.sum(Kind::Double).double_value(&[]).abs() < 1e-5);
        }
    }
}
