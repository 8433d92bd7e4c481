//! Online DPO: of two attempts at one task, the better one should gain on the reference more than the worse one.
//!
//! Guo et al. 2024 (arXiv:2402.04792), after DPO, Rafailov et al. 2023, eq. 7 (arXiv:2305.18290), with these differences
//! from the paper: rewards, not a judge, say which attempt is better; of a larger group, the best and the worst are the
//! pair; and DPO is written as what its gradient is. With the log-ratios of whole attempts,
//! `h = sum over the tokens of (logp - logp_reference)`:
//!
//! ```text
//! z    = beta (h_best - h_worst)
//! L    = -log sigmoid(z)
//! dL   = -w (d h_best - d h_worst)      w = beta sigmoid(-z)
//! ```
//!
//! This is the gradient of `reinforce` with sums over sequences and advantages `+w` and `-w`, so that the two attempts
//! need not be in one micro-batch. `w` is of the policy at the start of the rollout: exact for the first optimizer step.
//!
//! With tiers of reward, attempts of different tiers are the pairs, all of them, and those of one tier are never compared: a reward that
//! only some judge gives says nothing of two programs that it judges alike. The loss of a group is the mean over its `P` pairs:
//!
//! ```text
//! tier_i = floor(r_i / width)
//! A_i    = 1/P ( sum over j below of w_ij  -  sum over j above of w_ji )      w_ij = beta sigmoid(-beta (h_i - h_j))
//! ```
//!
//! A group whose attempts are all in one tier has no pair, and teaches nothing.

use super::group::has_signal;

/// What a group's attempts gain and lose by its pairs: the best and the worst, or with the width of tiers all pairs across them; exactly
/// 0 without a pair. Of attempts that tie, the first is the best or the worst.
pub(super) fn online_dpo(
    rewards: &[Vec<Option<f64>>],
    log_ratios: &[Vec<f64>],
    beta: f64,
    tier_width: Option<f64>,
) -> Vec<Vec<f64>> {
    assert_eq!(rewards.len(), log_ratios.len(), "`online-dpo` needs the log-ratio of every attempt");
    let of_group = |(rewards, log_ratios): (&Vec<Option<f64>>, &Vec<f64>)| {
        let pairs = match tier_width {
            Some(width) => across_tiers(rewards, width),
            None => best_and_worst(rewards),
        };
        let mut advantages = vec![0.0; rewards.len()];
        for (better, worse) in &pairs {
            let gained = beta * (log_ratios[*better] - log_ratios[*worse]);
            let weight = beta / (1.0 + gained.exp()) / pairs.len() as f64;
            advantages[*better] += weight;
            advantages[*worse] -= weight;
        }
        advantages
    };
    rewards.iter().zip(log_ratios).map(of_group).collect()
}

/// Whether there is a pair across tiers of this width.
pub(super) fn has_tiers(rewards: &[Option<f64>], width: f64) -> bool {
    !across_tiers(rewards, width).is_empty()
}

/// Places of the best and the worst attempt, if they differ.
fn best_and_worst(rewards: &[Option<f64>]) -> Vec<(usize, usize)> {
    if !has_signal(rewards) {
        return Vec::new();
    }
    vec![(first_largest(rewards, 1.0), first_largest(rewards, -1.0))]
}

/// Places of every two attempts in different tiers, the better one first.
fn across_tiers(rewards: &[Option<f64>], width: f64) -> Vec<(usize, usize)> {
    // A sum of weighted rewards that makes up a whole tier may be a rounding below it.
    let tier = |reward: f64| (reward / width + 1e-9).floor();
    let tiers: Vec<(usize, f64)> =
        rewards.iter().enumerate().filter_map(|(place, reward)| Some((place, tier((*reward)?)))).collect();
    let above = |(better, tier): &(usize, f64)| {
        let (better, tier) = (*better, *tier);
        tiers.iter().filter(move |(_, other)| *other < tier).map(move |(worse, _)| (better, *worse))
    };
    tiers.iter().flat_map(above).collect()
}

/// Index of the first of the largest rewards times `sign`; 0 if there is none.
fn first_largest(rewards: &[Option<f64>], sign: f64) -> usize {
    let mut best: Option<(usize, f64)> = None;
    for (place, reward) in rewards.iter().enumerate() {
        if let Some(reward) = reward.map(|reward| reward * sign)
            && best.is_none_or(|(_, most)| reward > most)
        {
            best = Some((place, reward));
        }
    }
    best.map_or(0, |(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    /// Section 3.6 of the method notes: beta 0.1, log-ratios 1 and -0.5: z = 0.15, loss 0.6209570.
    #[test]
    fn the_weight_is_the_slope_of_the_loss() {
        let advantages = online_dpo(&[vec![Some(1.0), Some(0.0)]], &[vec![1.0, -0.5]], 0.1, None);
        let loss = |z: f64| -sigmoid(z).ln();
        assert!((loss(0.15) - 0.620_957_0).abs() < 1e-7);
        let slope = 0.1 * (loss(0.15 + 1e-6) - loss(0.15 - 1e-6)) / 2e-6;
        assert!((advantages[0][0] + slope).abs() < 1e-9 && (advantages[0][1] - slope).abs() < 1e-9);
    }

    /// Three tiers: right, compiles, does not. Attempts of one tier are never compared, and every pair counts alike.
    #[test]
    fn pairs_are_across_tiers_alone() {
        let rewards = [Some(1.0), Some(0.5), Some(0.6), Some(0.0), None];
        let pairs = across_tiers(&rewards, 0.5);
        assert_eq!(pairs, [(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)]);
        let advantages = online_dpo(&[rewards.to_vec()], &[vec![0.0; 5]], 0.1, Some(0.5));
        let weight = 0.1 * 0.5 / 5.0;
        let wanted = [3.0 * weight, 0.0, 0.0, -3.0 * weight, 0.0];
        for (found, wanted) in advantages[0].iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-12, "{advantages:?}");
        }
    }

    #[test]
    fn a_group_of_one_tier_has_no_pair() {
        let rewards = vec![Some(0.5), Some(0.9), Some(0.7)];
        assert!(!has_tiers(&rewards, 0.5) && has_tiers(&rewards, 0.2));
        assert_eq!(online_dpo(&[rewards], &[vec![0.0; 3]], 0.1, Some(0.5)), [[0.0; 3]]);
        // 0.1 + 0.2 + 0.2 is half a unit less a rounding.
        assert!(has_tiers(&[Some(0.1 + 0.2 + 0.2 - 1e-12), Some(0.4)], 0.5));
    }

    /// With two attempts, tiers are the best and the worst.
    #[test]
    fn two_attempts_are_one_pair_either_way() {
        let (rewards, log_ratios) = (vec![vec![Some(0.0), Some(1.0)]], vec![vec![0.3, -0.4]]);
        let of = |tiers| online_dpo(&rewards, &log_ratios, 0.2, tiers);
        assert_eq!(of(None), of(Some(0.5)));
    }
}
