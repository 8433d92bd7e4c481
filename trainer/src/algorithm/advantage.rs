//! Rewards to advantages: how much better an attempt did than its siblings.
//!
//! Pure functions on numbers. An attempt whose execution failed for reasons of the infrastructure has no reward
//! (`None`), takes part in no statistic and gets advantage 0.

use super::config::AdvantageEstimator;

/// The advantages of one group, in the order of its rewards.
///
/// With `r` the rewards that exist, `n` their number, `m` their mean and `s` their sample standard deviation
/// (`n - 1` in the denominator, as TRL and verl):
///
/// ```text
/// GRPO      A_i = (r_i - m) / (s + epsilon)       Shao et al. 2024, section 4.1 (arXiv:2402.03300)
/// Dr. GRPO  A_i = r_i - m                         Liu et al. 2025, section 3 (arXiv:2503.20783)
/// RLOO      A_i = r_i - mean of the others        Ahmadian et al. 2024, eq. 8 (arXiv:2402.14740)
///               = (r_i - m) n / (n - 1)
/// ```
///
/// A group whose rewards are all equal gets exactly 0 everywhere, whatever rounding does to its mean; so does a group
/// with fewer than two rewards, which has nobody to compare with.
pub fn advantages(rewards: &[Option<f64>], estimator: AdvantageEstimator, epsilon: f64) -> Vec<f64> {
    let known: Vec<f64> = rewards.iter().flatten().copied().collect();
    if !has_signal(rewards) {
        return vec![0.0; rewards.len()];
    }
    let n = known.len() as f64;
    let mean = known.iter().sum::<f64>() / n;
    let scale = match estimator {
        AdvantageEstimator::Grpo => {
            let variance = known.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (n - 1.0);
            1.0 / (variance.sqrt() + epsilon)
        }
        AdvantageEstimator::DrGrpo => 1.0,
        AdvantageEstimator::Rloo => n / (n - 1.0),
    };
    rewards.iter().map(|reward| reward.map_or(0.0, |r| (r - mean) * scale)).collect()
}

/// Whether a group teaches anything: at least two rewards, not all equal.
pub fn has_signal(rewards: &[Option<f64>]) -> bool {
    let mut known = rewards.iter().flatten();
    let first = known.next();
    known.any(|reward| Some(reward) != first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use AdvantageEstimator::{DrGrpo, Grpo, Rloo};

    const EVERY: [AdvantageEstimator; 3] = [Grpo, DrGrpo, Rloo];

    fn some(rewards: &[f64]) -> Vec<Option<f64>> {
        rewards.iter().copied().map(Some).collect()
    }

    #[test]
    fn a_worked_example_of_each_estimator() {
        // numpy: r = [0, 0, 1, 1]; (r - r.mean()) / (r.std(ddof=1) + 1e-4)
        let rewards = some(&[0.0, 0.0, 1.0, 1.0]);
        let grpo = advantages(&rewards, Grpo, 1e-4);
        assert!((grpo[3] - 0.865_875_4).abs() < 1e-6, "{grpo:?}");
        assert_eq!(advantages(&rewards, DrGrpo, 1e-4), [-0.5, -0.5, 0.5, 0.5]);
        let rloo = advantages(&rewards, Rloo, 1e-4);
        assert!((rloo[3] - 2.0 / 3.0).abs() < 1e-12 && (rloo[0] + 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_missing_reward_is_left_out_of_the_statistics() {
        let with_gap = [Some(0.0), None, Some(1.0)];
        let without = advantages(&some(&[0.0, 1.0]), Grpo, 1e-4);
        assert_eq!(advantages(&with_gap, Grpo, 1e-4), [without[0], 0.0, without[1]]);
        assert_eq!(advantages(&[Some(1.0), None], Grpo, 1e-4), [0.0, 0.0]);
    }

    proptest! {
        #[test]
        fn advantages_sum_to_zero(rewards in prop::collection::vec(-1.0..1.0f64, 0..64)) {
            for estimator in EVERY {
                let total: f64 = advantages(&some(&rewards), estimator, 1e-4).iter().sum();
                prop_assert!(total.abs() < 1e-9, "sum was {total}");
            }
        }

        #[test]
        fn equal_rewards_give_exactly_zero(reward in -1e6..1e6f64, n in 1usize..64) {
            for estimator in EVERY {
                prop_assert!(advantages(&vec![Some(reward); n], estimator, 1e-4).iter().all(|a| *a == 0.0));
            }
        }

        #[test]
        fn shifting_every_reward_changes_nothing(
            rewards in prop::collection::vec(-1.0..1.0f64, 2..32), shift in -10.0..10.0f64,
        ) {
            let shifted: Vec<f64> = rewards.iter().map(|r| r + shift).collect();
            for estimator in EVERY {
                let before = advantages(&some(&rewards), estimator, 1e-2);
                let after = advantages(&some(&shifted), estimator, 1e-2);
                for (a, b) in before.iter().zip(&after) {
                    prop_assert!((a - b).abs() < 1e-9);
                }
            }
        }
    }
}
