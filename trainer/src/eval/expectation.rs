//! What the best, the chosen or the filtered of `k` attempts is worth, expected over every way to draw them from `n`.
//!
//! Each is an average over subsets in closed form, so that no draw of subsets adds noise of its own (Rao and Blackwell).

use super::pass_at_k;

/// The probability that, of `n` numbers in ascending order, that of each rank is the largest of `k` drawn without replacement:
///
/// ```text
/// weight_r = C(r - 1, k - 1) / C(n, k)        weight_n = k / n,  weight_{r-1} = weight_r (1 - (k - 1) / (r - 1))
/// ```
///
/// Ranks count from 1. Qiu et al. 2024 (arXiv:2406.06647), section 3.3.
///
/// # Panics
///
/// If `k` is 0 or more than `n`.
pub fn rank_weights(n: usize, k: usize) -> Vec<f64> {
    assert!(0 < k && k <= n, "the best of {k} cannot be estimated from {n}");
    let mut weights = vec![0.0; n];
    let mut weight = k as f64 / n as f64;
    for rank in (k..=n).rev() {
        weights[rank - 1] = weight;
        weight *= 1.0 - (k - 1) as f64 / (rank - 1).max(1) as f64;
    }
    weights
}

/// eff@k: the largest of `k` of these scores, expected over every way to draw them.
///
/// # Panics
///
/// As [`rank_weights`].
pub fn best_at_k(scores: &[f64], k: usize) -> f64 {
    let ranked: Vec<(f64, f64)> = scores.iter().map(|score| (*score, *score)).collect();
    chosen_at_k(&ranked, k)
}

/// The value of the highest-ranked of `k` attempts, expected over every way to draw them; `attempts` are pairs of rank and value.
/// Among equal ranks each is as likely to be taken as the others.
///
/// # Panics
///
/// As [`rank_weights`].
pub fn chosen_at_k(attempts: &[(f64, f64)], k: usize) -> f64 {
    let weights = rank_weights(attempts.len(), k);
    let mut sorted = attempts.to_vec();
    sorted.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut expected, mut place) = (0.0, 0);
    for equals in sorted.chunk_by(|one, other| one.0 == other.0) {
        let share: f64 = weights[place..place + equals.len()].iter().sum();
        expected += share * equals.iter().map(|(_, value)| value).sum::<f64>() / equals.len() as f64;
        place += equals.len();
    }
    expected
}

/// Filtered pass@k: whether any of `k` is right of those that pass the public tests, `correct` of `passing`; of all, `all_correct`
/// of `all`, where none does. Where fewer than `k` pass, all of them are taken.
///
/// CodeRL's `k@n` (Le et al. 2022, arXiv:2207.01780).
///
/// # Panics
///
/// If `k` is more than `all`, or more are correct than there are.
pub fn filtered_at_k(
    (all, all_correct): (usize, usize),
    (passing, correct): (usize, usize),
    k: usize,
) -> f64 {
    if passing == 0 { pass_at_k(all, all_correct, k) } else { pass_at_k(passing, correct, k.min(passing)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Mean of `worth` over every subset of `k` places of `n`.
    fn over_subsets(n: usize, k: usize, worth: impl Fn(&[usize]) -> f64) -> f64 {
        let subsets = (0u32..1 << n).filter(|bits| bits.count_ones() as usize == k);
        let places = subsets.map(|bits| (0..n).filter(|place| bits >> place & 1 == 1).collect::<Vec<_>>());
        let worths: Vec<f64> = places.map(|places| worth(&places)).collect();
        worths.iter().sum::<f64>() / worths.len() as f64
    }

    #[test]
    fn it_equals_the_example_of_the_paper() {
        for (k, wanted) in [(1, 0.46), (2, 0.74), (3, 0.89), (5, 1.0)] {
            assert!((best_at_k(&[0.0, 0.0, 0.5, 0.8, 1.0], k) - wanted).abs() < 1e-12, "{k}");
        }
    }

    /// Few different numbers, so that many are equal.
    fn attempts() -> impl Strategy<Value = (Vec<(f64, f64)>, usize)> {
        let attempt = (0..4u8, 0..3u8).prop_map(|(rank, value)| (f64::from(rank), f64::from(value) / 2.0));
        prop::collection::vec(attempt, 1..10).prop_flat_map(|all| {
            let most = all.len();
            (Just(all), 1..=most)
        })
    }

    proptest! {
        #[test]
        fn the_best_of_k_equals_the_mean_over_subsets(
            (scores, k) in prop::collection::vec(-1.0..2.0f64, 1..12).prop_flat_map(|scores| {
                let most = scores.len();
                (Just(scores), 1..=most)
            })
        ) {
            let best = |places: &[usize]| places.iter().map(|place| scores[*place]).fold(f64::MIN, f64::max);
            let brute = over_subsets(scores.len(), k, best);
            prop_assert!((best_at_k(&scores, k) - brute).abs() < 1e-12, "{} {brute}", best_at_k(&scores, k));
        }

        #[test]
        fn the_chosen_of_k_equals_the_mean_over_subsets_and_ties((attempts, k) in attempts()) {
            let chosen = |places: &[usize]| {
                let highest = places.iter().map(|place| attempts[*place].0).fold(f64::MIN, f64::max);
                let tied: Vec<f64> = places
                    .iter()
                    .filter(|place| attempts[**place].0 == highest)
                    .map(|place| attempts[*place].1)
                    .collect();
                tied.iter().sum::<f64>() / tied.len() as f64
            };
            let brute = over_subsets(attempts.len(), k, chosen);
            prop_assert!((chosen_at_k(&attempts, k) - brute).abs() < 1e-12);
        }

        #[test]
        fn the_best_of_rights_and_wrongs_is_pass_at_k(rights in prop::collection::vec(any::<bool>(), 1..40), k in 1..40usize) {
            let k = k.min(rights.len());
            let scores: Vec<f64> = rights.iter().map(|right| f64::from(u8::from(*right))).collect();
            let correct = rights.iter().filter(|right| **right).count();
            prop_assert!((best_at_k(&scores, k) - pass_at_k(rights.len(), correct, k)).abs() < 1e-12);
        }
    }

    #[test]
    fn a_filter_keeps_what_passes_and_all_where_nothing_does() {
        assert_eq!(filtered_at_k((10, 3), (4, 3), 1), 0.75);
        assert_eq!(filtered_at_k((10, 3), (2, 1), 5), 1.0, "both of the two are taken");
        assert_eq!(filtered_at_k((10, 1), (0, 0), 1), pass_at_k(10, 1, 1));
    }
}
