//! Estimators that compare an attempt with its siblings alone.

/// What is known of a group.
pub(super) struct Known {
    /// Number of rewards.
    pub(super) n: f64,
    /// Their mean.
    mean: f64,
}

/// Whether a group teaches anything: at least two rewards, not all equal.
pub fn has_signal(rewards: &[Option<f64>]) -> bool {
    let mut known = rewards.iter().flatten();
    let first = known.next();
    known.any(|reward| Some(reward) != first)
}

/// `(r - mean) * factor`, exactly 0 without a signal.
pub(super) fn centred(rewards: &[Option<f64>], factor: impl Fn(&Known) -> f64) -> Vec<f64> {
    if !has_signal(rewards) {
        return vec![0.0; rewards.len()];
    }
    let n = rewards.iter().flatten().count() as f64;
    let known = Known { n, mean: rewards.iter().flatten().sum::<f64>() / n };
    let factor = factor(&known);
    rewards.iter().map(|reward| reward.map_or(0.0, |r| (r - known.mean) * factor)).collect()
}

/// `(r - mean) / mean`, and 0 where the mean is not above 0.
pub(super) fn max_rl(rewards: &[Option<f64>]) -> Vec<f64> {
    let n = rewards.iter().flatten().count().max(1) as f64;
    let mean = rewards.iter().flatten().sum::<f64>() / n;
    if mean > 0.0 { centred(rewards, |known| 1.0 / known.mean) } else { vec![0.0; rewards.len()] }
}

/// The best attempt gets what it is ahead of the second best; a tie for the best is no lead.
pub(super) fn pass_at_k(rewards: &[Option<f64>], divisor: f64) -> Vec<f64> {
    let mut ranked: Vec<(usize, f64)> =
        rewards.iter().enumerate().filter_map(|(place, reward)| Some((place, (*reward)?))).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut advantages = vec![0.0; rewards.len()];
    if let [(best, first), (_, second), ..] = ranked[..] {
        advantages[best] = (first - second) / divisor;
    }
    advantages
}

/// Sample standard deviation, `n - 1` in the denominator; 0 of fewer than two numbers.
pub(super) fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
}
