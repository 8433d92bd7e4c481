//! B-Coder's targets (Yu et al. 2024, arXiv:2310.03173): temporal differences whose next token is the first policy's likeliest.
//!
//! With `V_t` the critic's value before token `t`, `g_t <= 0` how far the token is below the likeliest one, and `f_t <= 0` how far the
//! first policy's likeliest token is below the policy's:
//!
//! ```text
//! target_t    = r_t + discount (V_(t+1) + alpha f_(t+1))       nothing behind the last token
//! advantage_t = target_t - V_t                                 what alpha g_t is trained towards
//! return_t    = target_t - alpha g_t                           what V_t is trained towards
//! ```
//!
//! Either is one factor of `(target - (V + alpha g))^2` with the other held. While only the critic learns, `f` is 0, for both policies are
//! one: the paper's first stage.

use super::gae::{ValueTargets, each_sequence};
use super::{AlgorithmConfig, TokenOutcomes};

/// The targets of tokens with these rewards.
pub(super) fn targets(
    config: &AlgorithmConfig,
    rewards: &[f64],
    outcomes: &TokenOutcomes<'_>,
) -> ValueTargets {
    let TokenOutcomes { lengths, values, gaps, fixed_gaps, .. } = *outcomes;
    let numbers = [values.len(), gaps.len(), fixed_gaps.len()];
    assert_eq!(numbers, [rewards.len(); 3], "`conservative` needs values and gaps of every token");
    let (alpha, mut targets) = (config.dueling_alpha, ValueTargets::default());
    let of_fixed = values.iter().zip(fixed_gaps).map(|(value, gap)| value + alpha * gap);
    let of_fixed: Vec<f64> = of_fixed.collect();
    let parts = each_sequence(rewards, lengths).zip(each_sequence(&of_fixed, lengths));
    let parts = parts.zip(each_sequence(values, lengths)).zip(each_sequence(gaps, lengths));
    for (((rewards, of_fixed), values), gaps) in parts {
        for (t, reward) in rewards.iter().enumerate() {
            let target = reward + config.discount * of_fixed.get(t + 1).copied().unwrap_or(0.0);
            targets.advantages.push(target - values[t]);
            targets.returns.push(target - alpha * gaps[t]);
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 3.3 of the method notes: V = 0.3, V' = 0.5, A = -1, discount 0.999: the loss of the first token is 1.4388003, and that of a
    /// last one with reward 1 is 2.89.
    #[test]
    fn what_is_left_to_learn_is_the_temporal_difference() {
        let config = AlgorithmConfig { discount: 0.999, ..AlgorithmConfig::default() };
        let outcomes = TokenOutcomes {
            lengths: &[2, 1],
            values: &[0.3, 0.5, 0.3],
            gaps: &[-1.0, 0.0, -1.0],
            fixed_gaps: &[0.0; 3],
            ..TokenOutcomes::default()
        };
        let found = targets(&config, &[0.0, 1.0, 1.0], &outcomes);
        for (place, loss) in [(0, 1.438_800_25), (2, 2.89)] {
            let of_policy = (found.advantages[place] - outcomes.gaps[place]).powi(2);
            let of_critic = (found.returns[place] - outcomes.values[place]).powi(2);
            assert!((of_policy - loss).abs() < 1e-9 && (of_critic - loss).abs() < 1e-9, "{found:?}");
        }
    }

    #[test]
    fn the_next_token_is_the_first_policys() {
        let config = AlgorithmConfig { discount: 1.0, dueling_alpha: 2.0, ..AlgorithmConfig::default() };
        let outcomes = TokenOutcomes {
            lengths: &[2],
            values: &[0.0, 1.0],
            gaps: &[0.0, 0.0],
            fixed_gaps: &[-9.0, -0.25],
            ..TokenOutcomes::default()
        };
        assert_eq!(targets(&config, &[0.0, 0.0], &outcomes).advantages, [0.5, -1.0]);
    }
}
