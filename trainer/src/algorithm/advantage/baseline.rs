//! Estimators whose baseline or scale is more than the group's mean.

use super::group::{centred, deviation, has_signal};

/// `r - sum(length r) / sum(length)`, exactly 0 without a signal.
pub(super) fn opo(rewards: &[Vec<Option<f64>>], lengths: &[Vec<usize>]) -> Vec<Vec<f64>> {
    assert_eq!(rewards.len(), lengths.len(), "`opo` needs the length of every attempt");
    let of_group = |(rewards, lengths): (&Vec<Option<f64>>, &Vec<usize>)| {
        let known = || rewards.iter().zip(lengths).filter_map(|(r, length)| Some(((*r)?, *length as f64)));
        let tokens: f64 = known().map(|(_, length)| length).sum();
        if !has_signal(rewards) || tokens == 0.0 {
            return vec![0.0; rewards.len()];
        }
        let baseline = known().map(|(reward, length)| reward * length).sum::<f64>() / tokens;
        rewards.iter().map(|reward| reward.map_or(0.0, |r| r - baseline)).collect()
    };
    rewards.iter().zip(lengths).map(of_group).collect()
}

/// `r - greedy`; 0 for a group whose greedy attempt has no reward.
pub(super) fn remax(rewards: &[Vec<Option<f64>>], greedy: &[Option<f64>]) -> Vec<Vec<f64>> {
    assert_eq!(rewards.len(), greedy.len(), "`remax` needs the greedy attempt of every group");
    let of_group = |(rewards, greedy): (&Vec<Option<f64>>, &Option<f64>)| {
        rewards.iter().map(|reward| reward.zip(*greedy).map_or(0.0, |(r, greedy)| r - greedy)).collect()
    };
    rewards.iter().zip(greedy).map(of_group).collect()
}

/// GPG's `a`: attempts with a reward over those of them in groups with a signal; 1 if there are none.
pub(super) fn gpg_scale(rewards: &[Vec<Option<f64>>]) -> f64 {
    let known = |rewards: &&Vec<Option<f64>>| rewards.iter().flatten().count();
    let all: usize = rewards.iter().map(|group| known(&group)).sum();
    let teaching: usize = rewards.iter().filter(|group| has_signal(group)).map(|group| known(&group)).sum();
    if teaching == 0 { 1.0 } else { all as f64 / teaching as f64 }
}

/// Each part of the reward centred and scaled on its own: one list per attempt.
pub(super) fn part_by_part(parts: &[Vec<Option<f64>>], epsilon: f64) -> Vec<Vec<f64>> {
    let count = parts.first().map_or(0, Vec::len);
    let mut by_attempt = vec![Vec::with_capacity(count); parts.len()];
    for part in 0..count {
        let column: Vec<Option<f64>> = parts.iter().map(|attempt| attempt[part]).collect();
        let known: Vec<f64> = column.iter().flatten().copied().collect();
        let scaled = centred(&column, |_| 1.0 / (deviation(&known) + epsilon));
        for (attempt, value) in by_attempt.iter_mut().zip(scaled) {
            attempt.push(value);
        }
    }
    by_attempt
}
