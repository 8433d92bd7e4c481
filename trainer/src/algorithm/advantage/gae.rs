//! Rewards of tokens to returns, and to advantages over a critic's values.
//!
//! Lists are flat: the trained tokens of one attempt after those of the other, `lengths` tells them apart. Tokens of an
//! environment are not in them, so that credit passes over them as if they were not there. OpenRLHF 0.11 treats them as
//! states; verl's REINFORCE++ (commit b178a3cd) sets the running return to 0 at them, so that every turn but the last
//! learns from a return of 0.

/// What a rollout teaches policy and critic, one number per trained token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValueTargets {
    /// Advantages.
    pub advantages: Vec<f64>,
    /// What the critic's values should have been: advantage before whitening, plus value.
    pub returns: Vec<f64>,
}

/// Generalised advantage estimation, Schulman et al. 2015, eq. 16 (arXiv:1506.02438), with `V = 0` behind the last token:
///
/// ```text
/// delta_t = r_t + discount V_(t+1) - V_t
/// A_t     = delta_t + discount lambda A_(t+1)
/// R_t     = A_t + V_t
/// ```
///
/// # Panics
///
/// If the lists do not have as many numbers as `lengths` says.
pub fn gae(rewards: &[f64], values: &[f64], lengths: &[usize], discount: f64, lambda: f64) -> ValueTargets {
    assert_eq!(rewards.len(), values.len(), "rewards and values of tokens");
    let mut targets = ValueTargets::default();
    for (rewards, values) in each_sequence(rewards, lengths).zip(each_sequence(values, lengths)) {
        let (mut next_value, mut next) = (0.0, 0.0);
        let mut backwards = Vec::with_capacity(rewards.len());
        for (reward, value) in rewards.iter().zip(values).rev() {
            next = reward + discount * next_value - value + discount * lambda * next;
            next_value = *value;
            backwards.push(next);
        }
        targets
            .returns
            .extend(backwards.iter().rev().zip(values).map(|(advantage, value)| advantage + value));
        targets.advantages.extend(backwards.into_iter().rev());
    }
    targets
}

/// `R_t = r_t + discount R_(t+1)`, within each attempt.
pub(super) fn returns_to_go(rewards: &[f64], lengths: &[usize], discount: f64) -> Vec<f64> {
    let mut returns = rewards.to_vec();
    let mut start = 0;
    for length in lengths {
        for t in (start..start + length.saturating_sub(1)).rev() {
            returns[t] += discount * returns[t + 1];
        }
        start += length;
    }
    returns
}

/// The reward of each attempt on its last token, less what each token costs.
pub(super) fn token_rewards(sequence: &[f64], penalty: &[f64], lengths: &[usize]) -> Vec<f64> {
    let tokens = lengths.iter().sum();
    let mut rewards: Vec<f64> = match penalty {
        [] => vec![0.0; tokens],
        penalty => penalty.iter().map(|penalty| -penalty).collect(),
    };
    assert_eq!(rewards.len(), tokens, "a penalty for each token");
    let mut end = 0;
    for (reward, length) in sequence.iter().zip(lengths) {
        end += length;
        if *length > 0 {
            rewards[end - 1] += reward;
        }
    }
    rewards
}

/// The part of a flat list that belongs to each attempt.
pub(super) fn each_sequence<'a>(flat: &'a [f64], lengths: &'a [usize]) -> impl Iterator<Item = &'a [f64]> {
    assert_eq!(flat.len(), lengths.iter().sum::<usize>(), "a number for each token");
    lengths.iter().scan(flat, |rest, length| {
        let (part, behind) = rest.split_at(*length);
        *rest = behind;
        Some(part)
    })
}
