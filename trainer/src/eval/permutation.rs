//! Whether a mean of paired differences is more than chance explains.

use crate::rng::{Stream, uniform};

/// Differences other than zero up to which every combination of signs is tried.
const EXACT_UP_TO: usize = 16;

/// Combinations that are drawn where there are more.
const DRAWN: u64 = 10_000;

/// The two-sided p-value of the paired permutation test: how often the mean is at least as far from zero if the sign of each
/// difference is left to chance, as it would be if the two things compared were the same (Fisher 1935, section 21).
///
/// Exact where at most 16 differences are not zero; of 10,000 draws, which derive from `seed`, otherwise: `(1 + as far) / (1 + draws)`, so
/// that it is never 0 (Phipson and Smyth 2010).
pub fn p_value(differences: &[f64], seed: u64) -> f64 {
    let differences: Vec<f64> = differences.iter().copied().filter(|difference| *difference != 0.0).collect();
    let observed = differences.iter().sum::<f64>().abs();
    // Sums in another order differ in their last bits.
    let as_far = |sum: f64| sum.abs() >= observed * (1.0 - 1e-9);
    let flipped = |flip: &dyn Fn(usize) -> bool| -> f64 {
        differences.iter().enumerate().map(|(place, value)| if flip(place) { -value } else { *value }).sum()
    };
    if differences.len() <= EXACT_UP_TO {
        let all = 1u32 << differences.len();
        let far = (0..all).filter(|signs| as_far(flipped(&|place| signs >> place & 1 == 1))).count();
        return far as f64 / f64::from(all);
    }
    let far = (0..DRAWN).filter(|draw| {
        as_far(flipped(&|place| uniform(seed, Stream::SignFlips, &[*draw, place as u64]) < 0.5))
    });
    (1.0 + far.count() as f64) / (1.0 + DRAWN as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_exact_for_few_differences() {
        // Both all plus and all minus are as far: 2 of 2^5.
        assert_eq!(p_value(&[0.1, 0.2, 0.3, 0.1, 0.4], 1), 2.0 / 32.0);
        assert_eq!(p_value(&[0.5, -0.5, 0.0], 1), 1.0);
        assert_eq!(p_value(&[0.0, 0.0], 1), 1.0, "nothing differs");
    }

    #[test]
    fn drawn_permutations_agree_with_all_of_them() {
        let differences: Vec<f64> = (1..=17).map(|n| f64::from(n) / 20.0 - 0.3).collect();
        let (mut far, all) = (0, 1u32 << 17);
        let observed: f64 = differences.iter().sum::<f64>().abs();
        for signs in 0..all {
            let signed = differences.iter().enumerate();
            let sum: f64 =
                signed.map(|(place, value)| if signs >> place & 1 == 1 { -value } else { *value }).sum();
            far += u32::from(sum.abs() >= observed - 1e-12);
        }
        let exact = f64::from(far) / f64::from(all);
        let drawn = p_value(&differences, 5);
        assert!(
            (drawn - exact).abs() < 4.0 * (exact * (1.0 - exact) / 10_000.0).sqrt() + 1e-4,
            "{drawn} {exact}"
        );
    }
}
