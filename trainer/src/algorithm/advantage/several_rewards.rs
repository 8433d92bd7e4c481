//! GDPO: several rewards, each compared with its siblings before they are added up.
//!
//! Liu et al. 2026 (arXiv:2601.05242), as TRL's `normalize_then_sum`. A sum that is normalised afterwards hears only the
//! reward that varies most; here each has a say as large as its weight.

use super::baseline::part_by_part;
use super::group::deviation;

/// ```text
/// z_ik = (R_ik - m_k) / (s_k + epsilon)           over the group, for each part k
/// A_i  = (sum_k weight_k z_ik - m) / (s + epsilon)    m and s over all attempts of the step
/// ```
///
/// A part that does not apply to an attempt adds nothing; an attempt without any has advantage 0 and no place in the
/// statistics of the step. All equal sums, such as of a step without any signal, give exactly 0.
pub(super) fn gdpo(parts: &[Vec<Vec<Option<f64>>>], weights: &[f64], epsilon: f64) -> Vec<Vec<f64>> {
    let sum = |(z, known): (Vec<f64>, &Vec<Option<f64>>)| {
        let total = z.iter().zip(weights).map(|(z, weight)| z * weight).sum::<f64>();
        known.iter().any(Option::is_some).then_some(total)
    };
    let sums: Vec<Vec<Option<f64>>> = parts
        .iter()
        .map(|group| part_by_part(group, epsilon).into_iter().zip(group).map(sum).collect())
        .collect();
    let known: Vec<f64> = sums.iter().flatten().flatten().copied().collect();
    let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
    let constant = known.iter().all(|total| *total == known[0]);
    let divisor = deviation(&known) + epsilon;
    let scaled = |total: &Option<f64>| match total {
        Some(total) if !constant => (total - mean) / divisor,
        _ => 0.0,
    };
    sums.iter().map(|group| group.iter().map(scaled).collect()).collect()
}
