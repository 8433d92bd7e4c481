//! The unbiased estimator of pass@k.

use serde::{Deserialize, Serialize};

/// How often one task was tried, and how often that went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskCounts {
    /// Samples drawn, `n`.
    pub samples: usize,
    /// Samples that passed every hidden test, `c`.
    pub correct: usize,
}

impl TaskCounts {
    /// The task's pass@k, in `[0, 1]`.
    ///
    /// # Panics
    ///
    /// As [`pass_at_k`].
    pub fn pass_at_k(self, k: usize) -> f64 {
        pass_at_k(self.samples, self.correct, k)
    }
}

/// The probability that at least one of `k` samples, drawn without replacement from `n` of which `c` are correct, is
/// correct: an unbiased estimate of pass@k.
///
/// ```text
/// pass@k = 1 - C(n - c, k) / C(n, k) = 1 - prod_{i = n-c+1..n} (1 - k / i)
/// ```
///
/// Chen et al. 2021, section 2.1 and figure 3 (arXiv:2107.03374); the product form does not overflow.
///
/// # Panics
///
/// If `k` is 0 or more than `n`, or `c` is more than `n`. The recipe is checked for the first two, so this is a bug.
pub fn pass_at_k(n: usize, c: usize, k: usize) -> f64 {
    assert!(0 < k && k <= n, "pass@{k} cannot be estimated from {n} samples");
    assert!(c <= n, "{c} of {n} samples are correct");
    if n - c < k {
        return 1.0;
    }
    1.0 - (n - c + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `1 - C(n-c, k) / C(n, k)` by counting, for n small enough to be exact.
    fn by_counting(n: usize, c: usize, k: usize) -> f64 {
        let choose =
            |n: usize, k: usize| (0..k).fold(1u128, |acc, i| acc * (n - i) as u128 / (i + 1) as u128);
        if n - c < k { 1.0 } else { 1.0 - choose(n - c, k) as f64 / choose(n, k) as f64 }
    }

    // import numpy as np                                           (figure 3 of the paper, numpy 2)
    // p = lambda n, c, k: 1.0 if n - c < k else 1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1))
    // print([p(*x) for x in [(8, 1, 1), (8, 3, 4), (20, 5, 10), (200, 13, 100), (200, 1, 100), (8, 8, 8), (8, 0, 8)]])
    #[test]
    fn it_equals_the_numpy_of_the_paper() {
        let golden = [
            ((8, 1, 1), 0.125),
            ((8, 3, 4), 0.9285714285714286),
            ((20, 5, 10), 0.9837461300309598),
            ((200, 13, 100), 0.9999194971988055),
            ((200, 1, 100), 0.5),
            ((8, 8, 8), 1.0),
            ((8, 0, 8), 0.0),
        ];
        for ((n, c, k), wanted) in golden {
            let found = pass_at_k(n, c, k);
            assert!((found - wanted).abs() < 1e-14, "pass@{k} of {c}/{n}: {found}, wanted {wanted}");
        }
    }

    fn counts() -> impl Strategy<Value = (usize, usize, usize)> {
        (1..24usize).prop_flat_map(|n| (Just(n), 0..=n, 1..=n))
    }

    proptest! {
        #[test]
        fn it_equals_the_count_of_subsets((n, c, k) in counts()) {
            prop_assert!((pass_at_k(n, c, k) - by_counting(n, c, k)).abs() < 1e-12);
        }

        #[test]
        fn pass_at_1_is_the_share_of_correct_samples((n, c, _) in counts()) {
            prop_assert!((pass_at_k(n, c, 1) - c as f64 / n as f64).abs() < 1e-12);
        }

        #[test]
        fn more_samples_or_more_correct_ones_never_hurt((n, c, k) in counts()) {
            let found = pass_at_k(n, c, k);
            prop_assert!((0.0..=1.0).contains(&found));
            prop_assert!(k == n || found <= pass_at_k(n, c, k + 1) + 1e-12);
            prop_assert!(c == n || found <= pass_at_k(n, c + 1, k) + 1e-12);
        }
    }
}
