//! PRIME's implicit process reward: a language model that was only ever told outcomes says how good each token is.
//!
//! ```text
//! r_t  = log p(y_t) - log p_ref(y_t)                      of token t
//! loss = binary cross entropy(sigmoid(beta · sum_t r_t), passed)
//! ```
//!
//! Cui et al. 2025, "Process Reinforcement through Implicit Rewards" (arXiv:2502.01456), and its code.

use tch::Tensor;

use super::preference::binary;
use crate::algorithm::Sequences;

/// `beta · (log p - log p_ref)`, `[N]`: the reward of each token, in units of the logit of passing.
pub fn process_rewards(logprobs_n: &Tensor, reference_n: &Tensor, beta: f64) -> Tensor {
    (logprobs_n - reference_n) * beta
}

/// Binary cross entropy `[S]` of each program's summed rewards with whether it passed (1 or 0), in nats.
pub fn implicit_loss(reward_n: &Tensor, sequences: Sequences<'_>, passed_s: &Tensor) -> Tensor {
    binary(&sequences.total_s(reward_n), passed_s)
}

/// What process rewards add to the advantages of tokens: each token's reward less the mean reward of a token of the other
/// attempts at its task, summed from the token to the end of its attempt (discount 1).
///
/// `rewards` are end to end, sequence after sequence of `lengths`; `groups` says which task each sequence is at. An attempt
/// that is alone at its task has no baseline, and adds nothing.
pub fn process_advantages(rewards: &[f64], lengths: &[usize], groups: &[usize]) -> Vec<f64> {
    let mut first = 0;
    let sequences: Vec<&[f64]> = lengths
        .iter()
        .map(|length| {
            let sequence = &rewards[first..first + length];
            first += length;
            sequence
        })
        .collect();
    let mean = |sequence: &[f64]| sequence.iter().sum::<f64>() / sequence.len().max(1) as f64;
    let means: Vec<f64> = sequences.iter().map(|sequence| mean(sequence)).collect();
    let mut advantages = Vec::with_capacity(rewards.len());
    for (own, sequence) in sequences.iter().enumerate() {
        let others: Vec<f64> = (0..sequences.len())
            .filter(|other| *other != own && groups[*other] == groups[own])
            .map(|other| means[other])
            .collect();
        let start = advantages.len();
        if others.is_empty() {
            advantages.resize(start + sequence.len(), 0.0);
            continue;
        }
        let baseline = mean(&others);
        let mut sum = 0.0;
        advantages.extend(sequence.iter().rev().map(|reward| {
            sum += reward - baseline;
            sum
        }));
        advantages[start..].reverse();
    }
    advantages
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::Kind;

    use super::*;
    use crate::algorithm::sequence_of_tokens;

    /// The worked example of PRIME.
    #[test]
    fn the_loss_is_that_of_the_paper() {
        let of_token_n = sequence_of_tokens(&[3]);
        let sequences = Sequences { of_token_n: &of_token_n, count: 1 };
        let log_ratio = Tensor::from_slice(&[0.2, -0.1, 0.4]);
        let reward_n = process_rewards(&log_ratio, &log_ratio.zeros_like(), 0.05);
        assert!((reward_n.sum(Kind::Double).double_value(&[]) - 0.025).abs() < 1e-12);
        let loss_s = implicit_loss(&reward_n, sequences, &Tensor::from_slice(&[1.0]));
        assert!((loss_s.double_value(&[0]) - 0.6807253).abs() < 5e-8);
    }

    /// By hand: the baseline of the first attempt is the mean of the second, 0.5, and the other way around it is 1.
    #[test]
    fn advantages_are_sums_of_what_is_above_the_others_mean() {
        let found = process_advantages(&[1.0, 2.0, 0.0, 0.5, 7.0], &[3, 1, 1], &[0, 0, 1]);
        assert_eq!(found, [1.5, 1.0, -0.5, -0.5, 0.0]);
    }

    proptest! {
        /// A reward that every token has tells attempts of one length nothing.
        #[test]
        fn a_reward_of_all_tokens_changes_nothing(
            rewards in prop::collection::vec(-2.0..2.0f64, 12), shift in -3.0..3.0f64,
        ) {
            let (lengths, groups) = ([4, 4, 4], [0, 0, 0]);
            let moved: Vec<f64> = rewards.iter().map(|reward| reward + shift).collect();
            let (one, other) =
                (process_advantages(&rewards, &lengths, &groups), process_advantages(&moved, &lengths, &groups));
            prop_assert!(one.iter().zip(&other).all(|(one, other)| (one - other).abs() < 1e-9));
        }
    }
}
