//! Which attempts are imitated.

use std::num::NonZeroUsize;

/// Whether an attempt's reward is enough.
pub(super) fn is_accepted(reward: Option<f64>, from: f64) -> bool {
    reward.is_some_and(|reward| reward >= from)
}

/// 1 for the accepted attempts of a group, at most `most` of them, the best first and of equals the first; 0 for the others.
pub(super) fn rejection(rewards: &[Option<f64>], from: f64, most: Option<NonZeroUsize>) -> Vec<f64> {
    let mut accepted: Vec<(usize, f64)> = rewards
        .iter()
        .enumerate()
        .filter(|(_, reward)| is_accepted(**reward, from))
        .filter_map(|(place, reward)| Some((place, (*reward)?)))
        .collect();
    accepted.sort_by(|one, other| other.1.total_cmp(&one.1));
    let mut advantages = vec![0.0; rewards.len()];
    for (place, _) in accepted.into_iter().take(most.map_or(usize::MAX, NonZeroUsize::get)) {
        advantages[place] = 1.0;
    }
    advantages
}

#[cfg(test)]
mod tests {
    use super::*;

    const REWARDS: [Option<f64>; 6] = [Some(0.5), Some(1.0), None, Some(1.5), Some(1.0), Some(-1.0)];

    #[test]
    fn what_is_good_enough_is_imitated_and_the_rest_is_not() {
        assert_eq!(rejection(&REWARDS, 1.0, None), [0.0, 1.0, 0.0, 1.0, 1.0, 0.0]);
        assert_eq!(rejection(&REWARDS, 2.0, None), [0.0; 6]);
    }

    #[test]
    fn of_more_than_are_wanted_the_best_are_imitated_and_of_equals_the_first() {
        let of = |most| rejection(&REWARDS, 1.0, NonZeroUsize::new(most));
        assert_eq!(of(1), [0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(of(2), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(of(9), [0.0, 1.0, 0.0, 1.0, 1.0, 0.0]);
    }
}
