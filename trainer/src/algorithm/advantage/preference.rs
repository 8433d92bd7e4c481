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

use super::group::has_signal;

/// `+w` for the best attempt of each group, `-w` for the worst, 0 for the others; exactly 0 without a signal. Of attempts
/// that tie, the first counts.
pub(super) fn online_dpo(rewards: &[Vec<Option<f64>>], log_ratios: &[Vec<f64>], beta: f64) -> Vec<Vec<f64>> {
    assert_eq!(rewards.len(), log_ratios.len(), "`online-dpo` needs the log-ratio of every attempt");
    rewards.iter().zip(log_ratios).map(|(rewards, log_ratios)| of_group(rewards, log_ratios, beta)).collect()
}

fn of_group(rewards: &[Option<f64>], log_ratios: &[f64], beta: f64) -> Vec<f64> {
    let mut advantages = vec![0.0; rewards.len()];
    if has_signal(rewards) {
        let (best, worst) = (first_largest(rewards, 1.0), first_largest(rewards, -1.0));
        let weight = beta / (1.0 + (beta * (log_ratios[best] - log_ratios[worst])).exp());
        advantages[best] = weight;
        advantages[worst] = -weight;
    }
    advantages
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
