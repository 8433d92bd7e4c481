//! From which forecast on a program is accepted without a test, so that few of those are wrong.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::quality::{Judged, highest};

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AcceptConfig {
    /// Largest share of accepted programs that may be wrong; above 0, below 1. Default 0.1.
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub error: f64,
    /// Largest probability that the threshold, which is chosen by chance through the programs it is calibrated on, breaks that
    /// promise; above 0, below 1. Default 0.05.
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub doubt: f64,
}

impl Default for AcceptConfig {
    fn default() -> Self {
        Self { error: 0.1, doubt: 0.05 }
    }
}

/// Thresholds that are tried: these many steps from 0 to 1, without the ends.
const STEPS: usize = 20;

/// The most errors among `n` independent draws at which an error rate above `error` is refuted with probability `1 - doubt`:
///
/// ```text
/// k_max = max { k : BinomialCDF(k; n, error) < doubt }
/// ```
///
/// `None` if not even 0 errors refute it: there are too few draws. The rule of PAC prediction sets (Khakhar et al. 2023,
/// arXiv:2302.08703, after Park et al. 2020).
pub fn most_errors(n: usize, error: f64, doubt: f64) -> Option<usize> {
    let (log_error, log_right) = (error.ln(), (-error).ln_1p());
    let mut log_mass = n as f64 * log_right;
    let mut below = log_mass.exp();
    let mut found = None;
    for k in 0..=n {
        if below >= doubt {
            break;
        }
        found = Some(k);
        log_mass += ((n - k) as f64).ln() - ((k + 1) as f64).ln() + log_error - log_right;
        below += log_mass.exp();
    }
    found
}

/// The lowest forecast from which on programs can be accepted: with probability `1 - doubt` over the draw of `judged`, at most
/// a share of `error` of all programs that are accepted there is wrong. `None` if no threshold can promise that.
///
/// `judged` have to be independent, and like those that will come: one program of each held-out task, chosen as it will be
/// then. Each of 19 thresholds, fixed beforehand, is tried by [`most_errors`] on the programs above it, with a nineteenth of
/// the doubt, so that together they break the promise no more often than one would (Bonferroni).
pub fn accept_threshold(judged: &[Judged], config: &AcceptConfig) -> Option<f64> {
    let doubt = config.doubt / (STEPS - 1) as f64;
    (1..STEPS).map(|step| step as f64 / STEPS as f64).find(|threshold| {
        let accepted = judged.iter().filter(|judged| judged.pass >= *threshold);
        let errors = accepted.clone().filter(|judged| !judged.passed).count();
        most_errors(accepted.count(), config.error, doubt).is_some_and(|most| errors <= most)
    })
}

/// What becomes of tasks where a choice is accepted without a test if its forecast suffices, and nothing is said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// The forecast from which on a program is accepted.
    pub from: f64,
    /// Share of tasks of which a program is accepted.
    pub accepted: f64,
    /// Share of the accepted programs that are wrong; `None` if none is accepted.
    pub error: Option<f64>,
}

impl Acceptance {
    /// Over tasks, each with its programs: the one with the highest forecast is chosen, the first of equal ones. Tasks without a
    /// program are left out; `None` if that leaves nothing.
    pub fn of<'a>(tasks: impl IntoIterator<Item = &'a [Judged]>, from: f64) -> Option<Acceptance> {
        let chosen = tasks.into_iter().filter_map(|programs| highest(programs).into_iter().next());
        let (mut count, mut accepted, mut wrong) = (0, 0, 0);
        for judged in chosen {
            count += 1;
            accepted += u32::from(judged.pass >= from);
            wrong += u32::from(judged.pass >= from && !judged.passed);
        }
        let share = |part: u32, whole: u32| (whole > 0).then(|| f64::from(part) / f64::from(whole));
        Some(Acceptance { from, accepted: share(accepted, count)?, error: share(wrong, accepted) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rng::{Stream, uniform};

    /// The worked examples of the rule; the distribution's values at 4 and 5 of 100 are .02371 and .05758.
    #[test]
    fn the_most_errors_are_those_of_the_rule() {
        assert_eq!(most_errors(100, 0.1, 0.05), Some(4));
        assert_eq!(most_errors(100, 0.05, 0.01), Some(0));
        assert_eq!(most_errors(200, 0.1, 0.01), Some(10));
        assert_eq!(most_errors(20, 0.1, 0.05), None);
        assert_eq!(most_errors(100, 0.1, 0.02370), Some(3));
        assert_eq!(most_errors(100, 0.1, 0.05759), Some(5));
        assert_eq!(most_errors(0, 0.1, 0.05), None);
        // Where the mass at 0 is no number of f64.
        assert!(most_errors(100_000, 0.1, 0.05).is_some_and(|k| (9_500..10_000).contains(&k)));
    }

    #[test]
    fn what_is_always_right_is_accepted_and_what_is_too_rare_is_not() {
        let config = AcceptConfig::default();
        let certain = |count| vec![Judged { pass: 0.9, passed: true }; count];
        assert_eq!(accept_threshold(&certain(100), &config), Some(0.05));
        assert_eq!(accept_threshold(&certain(30), &config), None);
        let mut mixed = certain(100);
        mixed.extend([Judged { pass: 0.42, passed: false }; 50]);
        assert_eq!(accept_threshold(&mixed, &config), Some(0.45));
    }

    #[test]
    fn what_is_not_accepted_is_no_error() {
        let judged = |pass, passed| Judged { pass, passed };
        let tasks = [
            vec![judged(0.9, true), judged(0.1, false)],
            vec![judged(0.8, false), judged(0.8, true)],
            vec![judged(0.4, false)],
            vec![],
        ];
        let of = |from| Acceptance::of(tasks.iter().map(Vec::as_slice), from);
        let some = |accepted, error| Some(Acceptance { from: 0.5, accepted, error });
        assert_eq!(of(0.5), some(2.0 / 3.0, Some(0.5)));
        assert_eq!(of(0.85), some(1.0 / 3.0, Some(0.0)).map(|found| Acceptance { from: 0.85, ..found }));
        assert_eq!(of(0.95).and_then(|found| found.error), None);
        assert_eq!(Acceptance::of([&[][..]], 0.5), None);
    }

    /// Programs that pass as often as is foretold: how often the accepted ones are wrong is known, and the promise must hold
    /// in all but a twentieth of the calibrations. It is broken more rarely than it may be, since thresholds are few.
    #[test]
    fn the_promise_is_kept() {
        let config = AcceptConfig::default();
        let (mut broken, mut promised) = (0, 0);
        for trial in 0..400 {
            let number = |n, which| uniform(5, Stream::Bootstrap, &[trial, n, which]);
            let program = |n| Judged { pass: number(n, 0), passed: number(n, 1) < number(n, 0) };
            let judged: Vec<Judged> = (0..3000).map(program).collect();
            let Some(threshold) = accept_threshold(&judged, &config) else { continue };
            promised += 1;
            // Forecasts are uniform, and above the threshold a share of 1 - (1 + threshold) / 2 is wrong.
            broken += u32::from((1.0 - threshold) / 2.0 > config.error);
        }
        assert!(promised > 100, "{promised} thresholds in 400 calibrations");
        assert!(f64::from(broken) <= 0.05 * 400.0, "broken {broken} times");
    }

    proptest! {
        #[test]
        fn more_draws_and_more_doubt_never_allow_fewer_errors(n in 1..400usize, error in 0.01..0.5f64, doubt in 0.001..0.3f64) {
            let most = |n, doubt| most_errors(n, error, doubt).map_or(-1, |k| k as i64);
            prop_assert!(most(n, doubt) <= most(n + 1, doubt));
            prop_assert!(most(n, doubt) <= most(n, doubt * 1.5));
            prop_assert!(most(n, doubt) < n as i64);
        }
    }
}
