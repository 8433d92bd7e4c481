//! `outcome_table`: one number per kind of outcome, as in CodeRL, graded as in RLTF, relative to an earlier attempt if wanted.

use std::ops::RangeInclusive;

use rltrain_executor::OutcomeClass;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::history::Standing;
use crate::term::reward_config;
use crate::{Attempt, Input, Reward};

/// What the score of an attempt is relative to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Baseline {
    /// Nothing.
    #[default]
    None,
    /// The latest greedy attempt at the task (CodeRL).
    Greedy,
    /// The best attempt at the task in earlier steps (RLTF).
    Best,
}

reward_config! {
    /// `[rewards.outcome_table]`: a number for each kind of outcome, CodeRL's by default.
    ///
    /// A program that cannot be parsed scores `compile_error`; one that raises or runs into a limit, while it loads or in any
    /// test, `runtime_error`; one that runs and fails a test `failed_test`; one that passes all tests `passed`.
    pub struct OutcomeTableConfig for "outcome_table" {
        /// Score of a program that cannot be parsed or compiled, from -1 to 1. Default -1.
        pub compile_error: f64 = -1.0,
        /// Score of a program that raises or runs into a limit, from -1 to 1. Default -0.6.
        pub runtime_error: f64 = -0.6,
        /// Score of a program that fails a test, from -1 to 1. Default -0.3.
        pub failed_test: f64 = -0.3,
        /// Score of a program that passes all tests, from -1 to 1. Default 1.
        pub passed: f64 = 1.0,
        /// Whether a program that fails a test climbs from `failed_test` towards `passed` with the share of tests that pass
        /// (RLTF). Default false.
        pub graded: bool = false,
        /// What the score is relative to: `none`, `greedy` or `best`. An attempt at a task without such a baseline has no
        /// score. Default `none`.
        pub baseline: Baseline = Baseline::None,
    }
}

/// CodeRL's return of a whole program (Le et al. 2022, arXiv 2207.01780, section 3.1), with RLTF's grade (Liu et al. 2023, arXiv
/// 2307.04349): `failed_test + (passed - failed_test) · share`, the share over all tests, run or not.
#[derive(Clone, Debug)]
pub struct OutcomeTable {
    config: OutcomeTableConfig,
}

impl OutcomeTable {
    pub(crate) fn new(config: &OutcomeTableConfig) -> Result<Self, String> {
        let scores = [config.compile_error, config.runtime_error, config.failed_test, config.passed];
        if let Some(score) = scores.iter().find(|score| !(-1.0..=1.0).contains(*score)) {
            return Err(format!("a score is {score}, wanted a number from -1 to 1"));
        }
        Ok(Self { config: config.clone() })
    }

    /// The table's number for a standing.
    fn value(&self, standing: Standing) -> f64 {
        let config = &self.config;
        match standing.class {
            OutcomeClass::CompileError => config.compile_error,
            OutcomeClass::RuntimeError => config.runtime_error,
            OutcomeClass::FailedTest if config.graded => {
                let share = standing.passed as f64 / standing.total as f64;
                config.failed_test + (config.passed - config.failed_test) * share
            }
            OutcomeClass::FailedTest => config.failed_test,
            OutcomeClass::PassedAll => config.passed,
        }
    }

    fn baseline(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let standing = match self.config.baseline {
            Baseline::None => return Some(0.0),
            Baseline::Greedy => attempt.history?.greedy?,
            Baseline::Best => attempt.history?.best?,
        };
        Some(self.value(standing))
    }
}

impl Reward for OutcomeTable {
    fn name(&self) -> &str {
        "outcome_table"
    }

    fn inputs(&self) -> &'static [Input] {
        if self.config.baseline == Baseline::Greedy { &[Input::Greedy] } else { &[] }
    }

    fn range(&self) -> RangeInclusive<f64> {
        match self.config.baseline {
            Baseline::None => -1.0..=1.0,
            Baseline::Greedy | Baseline::Best => -2.0..=2.0,
        }
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let baseline = self.baseline(attempt)?;
        (attempt.verdict.total() > 0).then(|| self.value(Standing::of(attempt.verdict)) - baseline)
    }

    fn explain(&self, attempt: &Attempt<'_>) -> String {
        let class = match attempt.verdict.class() {
            OutcomeClass::CompileError => "compile error",
            OutcomeClass::RuntimeError => "runtime error",
            OutcomeClass::FailedTest => "failed test",
            OutcomeClass::PassedAll => "passed",
        };
        match (self.config.baseline, self.baseline(attempt)) {
            (Baseline::None, _) => class.to_owned(),
            (_, Some(baseline)) => format!("{class}, against a baseline of {baseline}"),
            (_, None) => format!("{class}; there is no earlier attempt to compare with"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rltrain_executor::{Outcome, Verdict};

    use super::*;
    use crate::tests::{task, unloaded, verdict};
    use crate::{History, Task};

    fn table(change: impl FnOnce(&mut OutcomeTableConfig)) -> OutcomeTable {
        let mut config = OutcomeTableConfig::default();
        change(&mut config);
        OutcomeTable::new(&config).unwrap()
    }

    /// One verdict of each class, in CodeRL's order.
    fn classes() -> [Verdict; 4] {
        [
            unloaded(Outcome::SyntaxError, 2),
            verdict(vec![Outcome::Passed, Outcome::OutOfTime]),
            verdict(vec![Outcome::Passed, Outcome::Failed]),
            verdict(vec![Outcome::Passed, Outcome::Passed]),
        ]
    }

    fn score(table: &OutcomeTable, task: &Task<'_>, verdict: &Verdict, history: &History) -> Option<f64> {
        table.score(&Attempt { history: history.task("task"), ..Attempt::new(task, "", "", verdict) })
    }

    #[test]
    fn each_class_has_the_number_of_coderl() {
        let table = table(|_| ());
        let scores = classes().map(|verdict| score(&table, &task(), &verdict, &History::default()).unwrap());
        assert_eq!(scores, [-1.0, -0.6, -0.3, 1.0]);
    }

    #[test]
    fn returns_relative_to_the_greedy_attempt_are_coderls_matrix() {
        let golden =
            [[0.0, -0.4, -0.7, -2.0], [0.4, 0.0, -0.3, -1.6], [0.7, 0.3, 0.0, -1.3], [2.0, 1.6, 1.3, 0.0]];
        let table = table(|config| config.baseline = Baseline::Greedy);
        for (sample, row) in classes().iter().zip(golden) {
            for (greedy, wanted) in classes().iter().zip(row) {
                let mut history = History::default();
                history.observe_greedy("task", greedy);
                let found = score(&table, &task(), sample, &history).unwrap();
                assert!((found - wanted).abs() < 1e-12, "{found}, wanted {wanted}");
            }
        }
    }

    #[test]
    fn grades_are_those_of_rltf_and_count_tests_that_were_not_run() {
        let table = table(|config| config.graded = true);
        for (passed, total, wanted) in [(0, 4, -0.3), (1, 4, 0.025), (2, 4, 0.35), (9, 10, 0.87)] {
            let mut tests = vec![Outcome::Passed; passed];
            tests.resize(total, Outcome::Failed);
            let found = score(&table, &task(), &verdict(tests), &History::default()).unwrap();
            assert!((found - wanted).abs() < 1e-12, "{found}, wanted {wanted}");
        }
    }

    #[test]
    fn an_attempt_is_held_against_the_best_of_earlier_steps() {
        let table = table(|config| config.baseline = Baseline::Best);
        let [_, runtime, failed, passed] = classes();
        let mut history = History::default();
        assert_eq!(score(&table, &task(), &failed, &history), None);
        history.observe("task", &failed);
        history.observe("task", &runtime);
        assert_eq!(score(&table, &task(), &failed, &history), Some(0.0));
        assert!((score(&table, &task(), &passed, &history).unwrap() - 1.3).abs() < 1e-12);
    }

    #[test]
    fn a_number_out_of_range_is_refused() {
        let config = OutcomeTableConfig { passed: 1.5, ..OutcomeTableConfig::default() };
        assert_eq!(OutcomeTable::new(&config).unwrap_err(), "a score is 1.5, wanted a number from -1 to 1");
        let config = OutcomeTableConfig { failed_test: f64::NAN, ..OutcomeTableConfig::default() };
        assert!(OutcomeTable::new(&config).is_err());
    }

    /// The authors' example data: five problems of APPS, twenty sampled programs each, and the greedy program's outcome.
    #[test]
    fn mean_returns_of_coderls_example_data() {
        // Counts of compile errors, runtime errors, failed tests and passes; the baseline's class; the mean by hand.
        let problems = [
            ([0, 0, 6, 14], 1, (6.0 * 0.3 + 14.0 * 1.6) / 20.0),
            ([1, 11, 6, 2], 1, (-0.4 + 6.0 * 0.3 + 2.0 * 1.6) / 20.0),
            ([0, 4, 0, 0], 0, 0.4),
            ([0, 0, 1, 18], 3, -1.3 / 19.0),
            ([1, 8, 10, 1], 2, (-0.7 - 8.0 * 0.3 + 1.3) / 20.0),
        ];
        let table = table(|config| config.baseline = Baseline::Greedy);
        let classes = classes();
        for (counts, greedy, wanted) in problems {
            let mut history = History::default();
            history.observe_greedy("task", &classes[greedy]);
            let scored = counts.iter().zip(&classes);
            let sum: f64 = scored
                .map(|(count, class)| f64::from(*count) * score(&table, &task(), class, &history).unwrap())
                .sum();
            let mean = sum / f64::from(counts.iter().sum::<i32>());
            assert!((mean - wanted).abs() < 1e-12, "{mean}, wanted {wanted}");
        }
    }
}
