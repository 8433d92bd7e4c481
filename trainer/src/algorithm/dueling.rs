//! B-Coder: a language model's logits as the advantages of a dueling Q-function, and what it is trained towards.
//!
//! Yu et al. 2024, "B-Coder: Value-Based Deep Reinforcement Learning for Program Synthesis" (arXiv:2310.03173). A state is a prompt with
//! the tokens so far, an action the next token, and the reward comes at the end.
//!
//! ```text
//! A(s, a)  = alpha (l(s, a) - max_a' l(s, a'))  <= 0             l the logits
//! Q(s, a)  = V(s) + A(s, a)                                      softmax(Q / alpha) is the language model, whatever V is
//! target   = r + gamma Q(s', argmax_a' q(a' | s'))               q a policy that never changes: targets stay where it has been
//! L_Q      = (stopgrad(target) - Q(s, a))^2
//! L_adv    = sum_t |A(s_t, a_t)|  on references                  0 where every token of a reference is the likeliest
//! r~(s, a) = Q(s, a) - gamma V(s')                               recovered rewards; their sum ranks programs
//! ```
//!
//! Columns `_n` have one entry per token, sequence after sequence; `logits_nv` are those that predict each token. Pure functions, in the
//! dtype of their arguments.

use tch::{Kind, Tensor};

/// `A(s, a)` of every action, `[N, V]`: never above 0, and 0 for the likeliest.
pub fn action_advantages(logits_nv: &Tensor, alpha: f64) -> Tensor {
    (logits_nv - logits_nv.amax([-1i64].as_slice(), true)) * alpha
}

/// `Q(s, a)` of every action, `[N, V]`, with `value_n` the value of each state.
pub fn action_values(logits_nv: &Tensor, value_n: &Tensor, alpha: f64) -> Tensor {
    action_advantages(logits_nv, alpha) + value_n.unsqueeze(-1)
}

/// `[N]`: the entry of each row of `values_nv` that `action_n` (i64) names.
pub fn of_actions(values_nv: &Tensor, action_n: &Tensor) -> Tensor {
    values_nv.gather(-1, &action_n.unsqueeze(-1), false).squeeze_dim(-1)
}

/// `[N]`, i64: the action that the fixed policy finds likeliest in each state. Of equal ones, which is libtorch's to say.
pub fn likeliest(logits_nv: &Tensor) -> Tensor {
    logits_nv.argmax(-1, false)
}

/// What `Q` of each token is trained towards, `[N]`, without gradient: its reward, and `gamma` times the Q of the next token that the
/// fixed policy would have taken. `next_n` has that Q for the state *of* each token; it is read one token later. Behind the last token
/// of a sequence there is no state.
pub fn conservative_targets(reward_n: &Tensor, next_n: &Tensor, lengths: &[usize], gamma: f64) -> Tensor {
    let _no_gradient = tch::no_grad_guard();
    reward_n + shifted(&next_n.detach(), lengths) * gamma
}

/// The entry behind each one within its sequence, 0 behind the last.
fn shifted(column_n: &Tensor, lengths: &[usize]) -> Tensor {
    let lengths: Vec<i64> = lengths.iter().map(|length| *length as i64).collect();
    let behind = |part: &Tensor| {
        let count = part.size()[0];
        let last = Tensor::zeros([1], (part.kind(), part.device()));
        Tensor::cat(&[part.narrow(0, 1, count - 1), last], 0)
    };
    let parts: Vec<Tensor> = column_n.split_with_sizes(&lengths[..], 0).iter().map(behind).collect();
    Tensor::cat(&parts, 0)
}

/// Squared difference of `Q` from its targets, `[N]`.
pub fn temporal_difference(action_value_n: &Tensor, target_n: &Tensor) -> Tensor {
    (target_n.detach() - action_value_n).square()
}

/// `|A|` of the tokens of references, `[N]`: what keeps a reference's token from being the likeliest.
pub fn advantage_gap(logits_nv: &Tensor, action_n: &Tensor, alpha: f64) -> Tensor {
    of_actions(&action_advantages(logits_nv, alpha), action_n).abs()
}

/// The residual value of the second stage, `[N]`: exactly 0 while the head that learns is the one that does not.
pub fn residual_value(learning_n: &Tensor, frozen_n: &Tensor) -> Tensor {
    learning_n - frozen_n.detach()
}

/// A value that is never above 1: `1 - softabs(v)`, with `softabs(v) = (softplus(v) + softplus(-v)) / 2 - ln 2`, which is 0 at 0.
///
/// The paper prints `+ ln 2`, with which a value of 0 would be capped to -0.386: trap 14. Both keep `Q` at or below 1.
pub fn capped_value(value_n: &Tensor) -> Tensor {
    let softabs = (value_n.softplus() + (-value_n).softplus()) * 0.5 - std::f64::consts::LN_2;
    1.0 - softabs
}

/// The reward of each token that explains `Q` and `V`, `[N]`: `Q(s, a) - gamma V(s')`, with `V` 0 behind the last token of a sequence.
pub fn recovered_rewards(action_value_n: &Tensor, value_n: &Tensor, lengths: &[usize], gamma: f64) -> Tensor {
    action_value_n - shifted(value_n, lengths) * gamma
}

/// The sum of a column over each sequence: with recovered rewards, the scores of programs.
pub fn scores(column_n: &Tensor, lengths: &[usize]) -> Vec<f64> {
    let numbers = Vec::<f64>::try_from(column_n.detach().to_kind(Kind::Double))
        .expect("a column is a vector of numbers");
    let mut first = 0;
    let sum = |length: &usize| {
        let own = &numbers[first..first + length];
        first += length;
        own.iter().sum()
    };
    lengths.iter().map(sum).collect()
}

/// Places of the `most` best scores, the best first and of equal ones the first.
pub fn ranked(scores: &[f64], most: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|one, other| scores[*other].total_cmp(&scores[*one]).then(one.cmp(other)));
    order.truncate(most);
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn column(numbers: &[f64]) -> Tensor {
        Tensor::from_slice(numbers)
    }

    fn list(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.flatten(0, -1)).unwrap()
    }

    fn near(found: &[f64], wanted: &[f64], within: f64) {
        let is_near = found.iter().zip(wanted).all(|(one, other)| (one - other).abs() <= within);
        assert!(found.len() == wanted.len() && is_near, "{found:?}, wanted {wanted:?}");
    }

    /// Sections 3.3 and 11 of the method notes: logits (2, 1, 0).
    #[test]
    fn advantages_are_logits_below_the_likeliest() {
        let logits_nv = column(&[2.0, 1.0, 0.0]).unsqueeze(0);
        assert_eq!(list(&action_advantages(&logits_nv, 1.0)), [0.0, -1.0, -2.0]);
        let q_nv = action_values(&logits_nv, &column(&[0.3]), 1.0);
        let wanted = [0.665_241_0, 0.244_728_5, 0.090_030_6];
        near(&list(&q_nv.softmax(-1, Kind::Double)), &wanted, 5e-8);
    }

    /// V = 0.3, V' = 0.5, the action of A = -1: Q = -0.7. Not at the end the loss is 1.4388003, at the end with reward 1 it is 2.89, and
    /// the recovered reward is -1.1995.
    #[test]
    fn targets_losses_and_recovered_rewards_are_those_of_the_notes() {
        let gamma = 0.999;
        // Two tokens; at the second, the fixed policy takes the likeliest, so that Q there is V.
        let logits_nv = Tensor::stack(&[column(&[2.0, 1.0, 0.0]), column(&[0.0, 3.0, 1.0])], 0);
        let value_n = column(&[0.3, 0.5]);
        let q_nv = action_values(&logits_nv, &value_n, 1.0);
        let taken_n = Tensor::from_slice(&[1i64, 1]);
        let q_n = of_actions(&q_nv, &taken_n);
        near(&list(&q_n), &[-0.7, 0.5], 1e-12);
        let next_n = of_actions(&q_nv, &likeliest(&logits_nv));
        let target_n = conservative_targets(&column(&[0.0, 1.0]), &next_n, &[2], gamma);
        near(&list(&target_n), &[0.4995, 1.0], 1e-12);
        near(&list(&temporal_difference(&q_n, &target_n))[..1], &[1.438_800_25], 1e-9);
        let ended_n = conservative_targets(&column(&[1.0]), &next_n.narrow(0, 0, 1), &[1], gamma);
        near(&list(&temporal_difference(&q_n.narrow(0, 0, 1), &ended_n)), &[2.89], 1e-12);
        near(&list(&recovered_rewards(&q_n, &value_n, &[2], gamma)), &[-1.1995, 0.5], 1e-12);
    }

    /// The fixed policy, and not Q itself, chooses the next action.
    #[test]
    fn targets_follow_the_fixed_policy() {
        let q_nv = Tensor::stack(&[column(&[0.0, 0.0]), column(&[5.0, -1.0])], 0);
        let fixed_nv = Tensor::stack(&[column(&[1.0, 0.0]), column(&[0.0, 1.0])], 0);
        let next_n = of_actions(&q_nv, &likeliest(&fixed_nv));
        let target_n = conservative_targets(&column(&[0.0, 0.0]), &next_n, &[2], 1.0);
        assert_eq!(
            list(&target_n),
            [-1.0, 0.0],
            "the larger Q is of an action that the fixed policy does not take"
        );
    }

    /// Trap 14: the sign of ln 2 in the printed formula.
    #[test]
    fn trap_14_a_value_of_nothing_is_capped_at_one() {
        near(&list(&capped_value(&column(&[0.0, 1.0, -3.0]))), &[1.0, 0.8799, 0.1446], 5e-5);
        let printed = list(&(capped_value(&column(&[0.0, 1.0, -3.0])) - 2.0 * std::f64::consts::LN_2));
        near(&printed, &[-0.386_294_4, -0.5064, -1.2417], 5e-5);
    }

    #[test]
    fn the_residual_starts_at_zero_and_only_one_head_learns() {
        let head = |learns| column(&[0.4, -1.2]).set_requires_grad(learns);
        let (learning, frozen) = (head(true), head(true));
        let residual_n = residual_value(&learning, &frozen);
        assert_eq!(list(&residual_n.detach()), [0.0, 0.0]);
        residual_n.sum(Kind::Double).backward();
        assert_eq!(list(&learning.grad()), [1.0, 1.0]);
        assert!(!frozen.grad().defined());
    }

    /// References whose tokens are the likeliest cost nothing; others cost what they lack.
    #[test]
    fn references_want_to_be_the_likeliest() {
        let logits_nv = Tensor::stack(&[column(&[2.0, 1.0, 0.0]), column(&[0.0, 3.0, 1.0])], 0);
        let gap = |actions: [i64; 2]| list(&advantage_gap(&logits_nv, &Tensor::from_slice(&actions), 1.0));
        assert_eq!(gap([0, 1]), [0.0, 0.0]);
        assert_eq!(gap([2, 0]), [2.0, 3.0]);
    }

    #[test]
    fn programs_are_ranked_by_the_sum_of_their_recovered_rewards() {
        let rewards_n = column(&[1.0, -3.0, 0.5, 0.25, 0.25, -1.0]);
        let scores = scores(&rewards_n, &[2, 1, 2, 1]);
        assert_eq!(scores, [-2.0, 0.5, 0.5, -1.0]);
        assert_eq!(ranked(&scores, 3), [1, 2, 3]);
    }

    proptest! {
        /// softmax(Q / alpha) is the language model, whatever the values are.
        #[test]
        fn q_is_the_language_model_at_the_start(
            logits in proptest::collection::vec(-30.0f64..30.0, 12),
            values in proptest::collection::vec(-5.0f64..5.0, 3),
            alpha in 0.1f64..4.0,
        ) {
            let logits_nv = column(&logits).view([3, 4]);
            let model = list(&logits_nv.softmax(-1, Kind::Double));
            let q_nv = action_values(&logits_nv, &column(&values), alpha);
            let found = list(&(q_nv / alpha).softmax(-1, Kind::Double));
            prop_assert!(model.iter().zip(&found).all(|(one, other)| (one - other).abs() < 1e-12));
        }

        /// The operator brings two Q-functions together by gamma: where they differ by at most d, their targets differ by at most gamma d.
        #[test]
        fn targets_contract(
            one in proptest::collection::vec(-5.0f64..5.0, 8),
            other in proptest::collection::vec(-5.0f64..5.0, 8),
            gamma in 0.0f64..1.0,
        ) {
            let reward_n = column(&[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -0.6]);
            let target = |q: &[f64]| list(&conservative_targets(&reward_n, &column(q), &[4, 4], gamma));
            let most = |one: &[f64], other: &[f64]| {
                one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f64::max)
            };
            prop_assert!(most(&target(&one), &target(&other)) <= gamma * most(&one, &other) + 1e-12);
        }

        /// Q never exceeds 1 with capped values.
        #[test]
        fn a_capped_value_is_at_most_one(value in -50.0f64..50.0) {
            prop_assert!(list(&capped_value(&column(&[value])))[0] <= 1.0 + 1e-12);
        }
    }
}
