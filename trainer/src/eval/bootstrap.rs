//! Percentile bootstrap over tasks.

use serde::{Deserialize, Serialize};

use super::pass_at_k::TaskCounts;

/// Resamples enough for the ends of a 95 % interval to be stable to about a tenth of a standard error.
pub const RESAMPLES: usize = 10_000;

/// The ends of a 95 % interval, as shares of the sorted resamples.
const ENDS: [f64; 2] = [0.025, 0.975];

/// Mean pass@k over tasks with its 95 % interval, all in `[0, 1]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassAtK {
    /// Samples that one success is sought in.
    pub k: usize,
    /// Mean over tasks.
    pub mean: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// Mean of after − before over the same tasks with its 95 % interval, all in `[-1, 1]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairedDifference {
    /// Mean over tasks.
    pub mean: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl PairedDifference {
    /// Whether the interval leaves zero out, so that the change is more than chance explains.
    pub fn excludes_zero(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// Mean pass@k over `tasks` with a 95 % percentile bootstrap interval of `resamples` resamples.
///
/// Efron 1979 (percentile method); ends by linear interpolation, as `numpy.percentile`. `uniform` yields independent
/// numbers in `[0, 1)`, of which `resamples * tasks.len()` are drawn; the same numbers give the same interval.
///
/// The interval tells how far another draw of tasks could have moved the mean. With one task it has no width.
///
/// # Panics
///
/// If there are no tasks or no resamples, or as [`super::pass_at_k`].
pub fn measure(tasks: &[TaskCounts], k: usize, resamples: usize, uniform: impl FnMut() -> f64) -> PassAtK {
    let values: Vec<f64> = tasks.iter().map(|task| task.pass_at_k(k)).collect();
    let (mean, [low, high]) = mean_and_interval(&values, resamples, uniform);
    PassAtK { k, mean, low, high }
}

/// Mean difference in pass@k, `after` − `before`, over the same tasks in the same order, with a 95 % paired bootstrap
/// interval: whole tasks are resampled, so that what makes a task hard cancels.
///
/// # Panics
///
/// If the two have different lengths, or as [`measure`].
pub fn paired_difference(
    before: &[TaskCounts],
    after: &[TaskCounts],
    k: usize,
    resamples: usize,
    uniform: impl FnMut() -> f64,
) -> PairedDifference {
    assert_eq!(before.len(), after.len(), "before and after are of different tasks");
    let values: Vec<f64> = before.iter().zip(after).map(|(b, a)| a.pass_at_k(k) - b.pass_at_k(k)).collect();
    let (mean, [low, high]) = mean_and_interval(&values, resamples, uniform);
    PairedDifference { mean, low, high }
}

/// The mean of `values`; rounded as numpy rounds it, so that means agree with other scorers' to the last digit. NaN of nothing.
pub fn mean(values: &[f64]) -> f64 {
    sum(values) / values.len() as f64
}

/// numpy's pairwise sum: eight partial sums up to 128 numbers, halves above that.
fn sum(values: &[f64]) -> f64 {
    const LANES: usize = 8;
    match values.len() {
        0..LANES => values.iter().sum(),
        LANES..=128 => {
            let (whole, rest) = values.as_chunks::<LANES>();
            let mut lanes = whole[0];
            for chunk in &whole[1..] {
                lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += value);
            }
            let [a, b, c, d, e, f, g, h] = lanes;
            rest.iter().fold(((a + b) + (c + d)) + ((e + f) + (g + h)), |sum, value| sum + value)
        }
        count => {
            let half = count / 2 - count / 2 % LANES;
            sum(&values[..half]) + sum(&values[half..])
        }
    }
}

/// The mean of `values`, and the interval of the means of their resamples.
pub(super) fn mean_and_interval(
    values: &[f64],
    resamples: usize,
    mut uniform: impl FnMut() -> f64,
) -> (f64, [f64; 2]) {
    assert!(!values.is_empty() && resamples > 0, "nothing to resample");
    let count = values.len() as f64;
    let mut pick = || values[((uniform() * count) as usize).min(values.len() - 1)];
    let mut resample = || (0..values.len()).map(|_| pick()).sum::<f64>() / count;
    let mut means: Vec<f64> = (0..resamples).map(|_| resample()).collect();
    means.sort_unstable_by(f64::total_cmp);
    (mean(values), ENDS.map(|share| quantile(&means, share)))
}

/// The `share` quantile of sorted values, by linear interpolation.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = place.ceil() as usize;
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A sequence that Python reproduces to the last bit: multiples of the golden ratio, modulo one.
    fn weyl() -> impl FnMut() -> f64 {
        let mut index = 0.0;
        move || {
            index += 1.0;
            (index * 0.618_033_988_749_894_9_f64).fract()
        }
    }

    fn counts(pairs: &[(usize, usize)]) -> Vec<TaskCounts> {
        pairs.iter().map(|&(samples, correct)| TaskCounts { samples, correct }).collect()
    }

    const BEFORE: [(usize, usize); 7] = [(8, 0), (8, 1), (8, 8), (8, 3), (8, 0), (8, 5), (8, 2)];
    const AFTER: [(usize, usize); 7] = [(8, 2), (8, 1), (8, 8), (8, 6), (8, 0), (8, 4), (8, 5)];

    type Interval = [f64; 3];
    const GOLDEN: [(usize, Interval, Interval, Interval); 2] = [
        (
            1,
            [0.3392857142857143, 0.1964285714285714, 0.48214285714285715],
            [0.4642857142857143, 0.32142857142857145, 0.6071428571428571],
            [0.125, 0.053571428571428555, 0.19642857142857142],
        ),
        (
            4,
            [0.6020408163265306, 0.45918367346938777, 0.7448979591836735],
            [0.753061224489796, 0.610204081632653, 0.8959183673469387],
            [0.1510204081632653, 0.03673469387755103, 0.2653061224489796],
        ),
    ];

    // import numpy as np
    // p = lambda n, c, k: 1.0 if n - c < k else 1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1))
    // before, after = [0, 1, 8, 3, 0, 5, 2], [2, 1, 8, 6, 0, 4, 5]
    // def interval(x, resamples=1000):
    //     x = np.array(x); n = len(x)
    //     u = (np.arange(1, resamples * n + 1) * 0.6180339887498949) % 1.0
    //     means = x[np.floor(u * n).astype(int)].reshape(resamples, n).mean(axis=1)
    //     return [x.mean(), *np.percentile(means, [2.5, 97.5])]
    // for k in (1, 4):
    //     b, a = ([p(8, c, k) for c in x] for x in (before, after))
    //     print(k, interval(b), interval(a), interval(np.array(a) - np.array(b)))
    #[test]
    fn intervals_equal_those_of_numpy() {
        for (k, before, after, difference) in GOLDEN {
            let found =
                [measure(&counts(&BEFORE), k, 1000, weyl()), measure(&counts(&AFTER), k, 1000, weyl())];
            let paired = paired_difference(&counts(&BEFORE), &counts(&AFTER), k, 1000, weyl());
            close([found[0].mean, found[0].low, found[0].high], before);
            close([found[1].mean, found[1].low, found[1].high], after);
            close([paired.mean, paired.low, paired.high], difference);
        }
    }

    /// Means of seven terms in another order agree to a few units in the last place.
    #[track_caller]
    fn close(found: [f64; 3], wanted: [f64; 3]) {
        assert!(
            found.iter().zip(wanted).all(|(f, w)| (f - w).abs() < 1e-12),
            "found {found:?}, wanted {wanted:?}"
        );
    }

    /// SplitMix64, for properties that need something random-looking.
    fn random(mut state: u64) -> impl FnMut() -> f64 {
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    #[test]
    fn the_interval_covers_the_truth_about_as_often_as_it_says() {
        let mut tasks = random(7);
        let trials = 400;
        let covered = (0..trials).filter(|trial| {
            let sample: Vec<_> =
                (0..60).map(|_| TaskCounts { samples: 1, correct: usize::from(tasks() < 0.3) }).collect();
            let found = measure(&sample, 1, 400, random(1000 + trial));
            found.low <= 0.3 && 0.3 <= found.high
        });
        // Nominal 0.95; the percentile method is known to fall a little short at 60 tasks.
        let share = covered.count() as f64 / trials as f64;
        assert!((0.90..=0.98).contains(&share), "covered {share}");
    }

    fn tasks() -> impl Strategy<Value = Vec<TaskCounts>> {
        prop::collection::vec((0..=6usize).prop_map(|correct| TaskCounts { samples: 6, correct }), 1..20)
    }

    proptest! {
        #[test]
        fn the_interval_is_ordered_and_within_the_values(tasks in tasks(), k in 1..=6usize, seed: u64) {
            let found = measure(&tasks, k, 200, random(seed));
            let values = tasks.iter().map(|t| t.pass_at_k(k));
            let (least, most) = values.fold((1.0f64, 0.0f64), |(l, m), v| (l.min(v), m.max(v)));
            prop_assert!(least - 1e-12 <= found.low && found.low <= found.high && found.high <= most + 1e-12);
            prop_assert!(least - 1e-12 <= found.mean && found.mean <= most + 1e-12);
        }

        #[test]
        fn nothing_changed_means_no_difference_and_no_doubt(tasks in tasks(), k in 1..=6usize, seed: u64) {
            let found = paired_difference(&tasks, &tasks, k, 50, random(seed));
            prop_assert_eq!(found, PairedDifference { mean: 0.0, low: 0.0, high: 0.0 });
            prop_assert!(!found.excludes_zero());
        }

        #[test]
        fn swapping_before_and_after_flips_the_sign(a in tasks(), k in 1..=6usize, seed: u64) {
            let b: Vec<_> = a.iter().map(|t| TaskCounts { correct: 6 - t.correct, ..*t }).collect();
            let (there, back) = (
                paired_difference(&a, &b, k, 50, random(seed)),
                paired_difference(&b, &a, k, 50, random(seed)),
            );
            prop_assert!((there.mean + back.mean).abs() < 1e-12);
            prop_assert!((there.low + back.high).abs() < 1e-12 && (there.high + back.low).abs() < 1e-12);
        }
    }
}
