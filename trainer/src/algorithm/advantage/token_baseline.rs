//! The baseline of least variance, at each place of a group's attempts.
//!
//! "Optimal token baseline", as verl has it. The variance of the policy gradient at a place is least for the mean return
//! weighted by how much the attempts up to there move the weights.

use std::collections::BTreeMap;

/// Keeps a place that nobody's tokens move from dividing by 0.
const EPSILON: f64 = 1e-8;

/// ```text
/// W_t = sum over s <= t of energy_s                  energy_t = 1 - 2 p_t + sum over the vocabulary of p^2
/// B_t = sum_i G_it W_it / (sum_i W_it + 1e-8)        over the attempts of the group that are at least t long
/// A_t = G_t - B_t                                    exactly 0 if no other attempt of the group reaches t
/// ```
///
/// `energy_t` is the squared norm of the gradient of a token's logprob towards the logits; `returns` are returns to go.
/// Flat lists, attempts one after the other, `groups` ascending. A place is the number of a token among the trained ones,
/// so that, unlike in verl's table with gaps for environment tokens, the third trained token of one attempt is compared
/// with the third of another. If all returns at a place are equal the advantage there is exactly 0.
pub(super) fn optimal_token_baseline(
    returns: &[f64],
    energy: &[f64],
    lengths: &[usize],
    groups: &[usize],
) -> Vec<f64> {
    assert_eq!(returns.len(), energy.len(), "returns and energies of tokens");
    assert_eq!(lengths.len(), groups.len(), "lengths and groups of attempts");
    // For each group and place: (return, weight) of every attempt that reaches it.
    let mut places: BTreeMap<(usize, usize), Vec<(f64, f64)>> = BTreeMap::new();
    let of_token = || {
        let places =
            lengths.iter().zip(groups).flat_map(|(length, group)| (0..*length).map(move |t| (*group, t)));
        places.zip(returns)
    };
    let mut weight = 0.0;
    for ((place, value), energy) in of_token().zip(energy) {
        weight = if place.1 == 0 { *energy } else { weight + energy };
        places.entry(place).or_default().push((*value, weight));
    }
    let baseline = |at: &[(f64, f64)]| {
        let weights: f64 = at.iter().map(|(_, weight)| weight).sum();
        at.iter().map(|(value, weight)| value * weight).sum::<f64>() / (weights + EPSILON)
    };
    let advantage = |(place, value): ((usize, usize), &f64)| {
        let at = &places[&place];
        if at.iter().all(|(other, _)| other == value) { 0.0 } else { value - baseline(at) }
    };
    of_token().map(advantage).collect()
}
