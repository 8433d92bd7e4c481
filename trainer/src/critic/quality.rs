//! How good forecasts are: of single programs, and as a way to choose among several.

use serde::{Deserialize, Serialize};

/// A program with what was foretold of it and what came of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// The forecast probability that it passes all tests, from 0 to 1.
    pub pass: f64,
    /// Whether it does.
    pub passed: bool,
}

/// Bins of [`calibration_error`], as in Guo et al. 2017.
pub const BINS: usize = 15;

/// Share of programs of which the likelier of passing and not passing came true; a half counts as passing. `None` of nothing.
pub fn accuracy(judged: &[Judged]) -> Option<f64> {
    let right = judged.iter().filter(|judged| (judged.pass >= 0.5) == judged.passed).count();
    share(right, judged.len())
}

/// Area under the curve of the receiver operating characteristic: the probability that a random program that passes has a
/// higher forecast than a random one that does not, equal ones counted as a half (Mann and Whitney's U). `None` unless there
/// are both.
pub fn auroc(judged: &[Judged]) -> Option<f64> {
    let mut sorted: Vec<&Judged> = judged.iter().collect();
    sorted.sort_by(|one, other| one.pass.total_cmp(&other.pass));
    let (mut below, mut wins, mut passed) = (0, 0.0, 0);
    for ties in sorted.chunk_by(|one, other| one.pass == other.pass) {
        let right = ties.iter().filter(|judged| judged.passed).count();
        let wrong = ties.len() - right;
        wins += right as f64 * (f64::from(below) + wrong as f64 / 2.0);
        below += wrong as u32;
        passed += right;
    }
    (passed > 0 && below > 0).then(|| wins / (passed as f64 * f64::from(below)))
}

/// Expected calibration error: programs are put into `bins` by their forecast, each bin as wide as the others; the mean of the
/// bins' `|mean forecast - share that passes|`, each weighing as much as it has programs.
///
/// Naeini et al. 2015; Guo et al. 2017 (arXiv:1706.04599), section 2. `None` of nothing.
pub fn calibration_error(judged: &[Judged], bins: usize) -> Option<f64> {
    let mut sums = vec![0.0; bins];
    for judged in judged {
        let bin = ((judged.pass * bins as f64) as usize).min(bins - 1);
        sums[bin] += judged.pass - f64::from(u8::from(judged.passed));
    }
    let total: f64 = sums.iter().map(|sum: &f64| sum.abs()).sum();
    (!judged.is_empty()).then(|| total / judged.len() as f64)
}

/// Choosing one of several programs by the highest forecast, over tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Share of tasks whose chosen program passes; where several share the highest forecast, the chance that one of them does.
    pub ranked: f64,
    /// Share of tasks of which any program passes: what a choice that knows could reach.
    pub oracle: f64,
    /// Mean share of a task's programs that pass: what a choice that knows nothing reaches.
    pub random: f64,
}

impl Selection {
    /// Over tasks, each with its programs. Tasks without a program are left out; `None` if that leaves nothing.
    pub fn of<'a>(tasks: impl IntoIterator<Item = &'a [Judged]>) -> Option<Selection> {
        let (mut sum, mut count) = (Selection::default(), 0);
        for programs in tasks {
            let Some(all) = share(passes(programs.iter()), programs.len()) else { continue };
            let best = highest(programs);
            sum.ranked += passes(best.iter().copied()) as f64 / best.len() as f64;
            sum.oracle += f64::from(u8::from(all > 0.0));
            sum.random += all;
            count += 1;
        }
        let n = f64::from(count);
        (count > 0).then(|| Selection {
            ranked: sum.ranked / n,
            oracle: sum.oracle / n,
            random: sum.random / n,
        })
    }

    /// What a better choice could still gain: `oracle - ranked`.
    pub fn gap(&self) -> f64 {
        self.oracle - self.ranked
    }
}

/// The programs that share the highest forecast.
pub fn highest(programs: &[Judged]) -> Vec<&Judged> {
    let most = programs.iter().map(|judged| judged.pass).fold(f64::NEG_INFINITY, f64::max);
    programs.iter().filter(|judged| judged.pass == most).collect()
}

fn passes<'a>(programs: impl Iterator<Item = &'a Judged>) -> usize {
    programs.filter(|judged| judged.passed).count()
}

/// `part / whole`; `None` of nothing.
fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judged(forecasts: &[f64], passed: &[u8]) -> Vec<Judged> {
        forecasts
            .iter()
            .zip(passed)
            .map(|(pass, passed)| Judged { pass: *pass, passed: *passed == 1 })
            .collect()
    }

    /// The examples in the documentation of scikit-learn's `roc_auc_score` and of torchmetrics' `BinaryCalibrationError`.
    #[test]
    fn measures_are_those_of_other_libraries() {
        let curve = judged(&[0.1, 0.4, 0.35, 0.8], &[0, 0, 1, 1]);
        assert_eq!(auroc(&curve), Some(0.75));
        let calibration = judged(&[0.25, 0.25, 0.55, 0.75, 0.75], &[0, 0, 1, 1, 1]);
        assert!((calibration_error(&calibration, 2).unwrap() - 0.29).abs() < 1e-12);
        assert_eq!(accuracy(&calibration), Some(1.0));
    }

    #[test]
    fn nothing_has_no_measure() {
        assert_eq!((accuracy(&[]), auroc(&[]), calibration_error(&[], BINS)), (None, None, None));
        assert_eq!(auroc(&judged(&[0.2, 0.9], &[1, 1])), None, "nothing failed");
        assert_eq!(Selection::of([&[][..]]), None);
    }

    #[test]
    fn the_gap_is_what_a_choice_that_knows_would_gain() {
        let first = judged(&[0.9, 0.5, 0.1], &[0, 1, 0]);
        let second = judged(&[0.7, 0.7, 0.3], &[1, 0, 0]);
        let third = judged(&[0.2, 0.1], &[0, 0]);
        let found = Selection::of([&first[..], &second, &third]).unwrap();
        assert!((found.ranked - 0.5 / 3.0).abs() < 1e-12, "a tie is a draw: {found:?}");
        assert!((found.oracle - 2.0 / 3.0).abs() < 1e-12 && (found.gap() - 0.5).abs() < 1e-12);
        assert!((found.random - 2.0 / 9.0).abs() < 1e-12);
    }

    fn programs() -> impl Strategy<Value = Vec<Judged>> {
        // Few different forecasts, so that there are ties.
        let judged = (0..=8u8, any::<bool>())
            .prop_map(|(eighth, passed)| Judged { pass: f64::from(eighth) / 8.0, passed });
        prop::collection::vec(judged, 1..20)
    }

    proptest! {
        #[test]
        fn the_area_is_the_share_of_pairs_in_the_right_order(programs in programs()) {
            let (mut wins, mut pairs) = (0.0, 0.0);
            for right in programs.iter().filter(|judged| judged.passed) {
                for wrong in programs.iter().filter(|judged| !judged.passed) {
                    pairs += 1.0;
                    wins += if right.pass > wrong.pass { 1.0 } else if right.pass == wrong.pass { 0.5 } else { 0.0 };
                }
            }
            let found = auroc(&programs);
            prop_assert_eq!(found.is_none(), pairs == 0.0);
            prop_assert!(found.is_none_or(|area| (area - wins / pairs).abs() < 1e-12));
        }

        #[test]
        fn what_knows_the_truth_has_no_error_and_no_gap(programs in programs()) {
            let truth: Vec<Judged> =
                programs.iter().map(|judged| Judged { pass: f64::from(u8::from(judged.passed)), ..*judged }).collect();
            prop_assert_eq!(calibration_error(&truth, BINS), Some(0.0));
            prop_assert_eq!(accuracy(&truth), Some(1.0));
            prop_assert_eq!(Selection::of([&truth[..]]).unwrap().gap(), 0.0);
        }

        #[test]
        fn no_choice_beats_the_oracle_and_one_that_knows_nothing_is_random(programs in programs()) {
            let found = Selection::of([&programs[..]]).unwrap();
            prop_assert!(found.gap() >= 0.0 && found.random <= found.oracle);
            let alike: Vec<Judged> = programs.iter().map(|judged| Judged { pass: 0.5, ..*judged }).collect();
            let blind = Selection::of([&alike[..]]).unwrap();
            prop_assert!((blind.ranked - blind.random).abs() < 1e-12);
            prop_assert!((0.0..=1.0).contains(&calibration_error(&programs, BINS).unwrap()));
        }
    }
}
