//! `tests_passed`: the share of hidden tests that pass.

use crate::term::reward_config;
use crate::{Attempt, Reward};

reward_config! {
    /// `[rewards.tests_passed]`: the share of hidden tests that pass, from 0 to 1.
    ///
    /// The share is over all tests, run or not. A program that does not load passes none.
    pub struct TestsPassedConfig for "tests_passed" {}
}

/// The share of hidden tests that pass, in `[0, 1]`.
#[derive(Clone, Copy, Debug)]
pub struct TestsPassed;

impl Reward for TestsPassed {
    fn name(&self) -> &str {
        "tests_passed"
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let verdict = attempt.verdict;
        (verdict.total() > 0).then(|| verdict.passed() as f64 / verdict.total() as f64)
    }

    fn explain(&self, attempt: &Attempt<'_>) -> String {
        counts(attempt)
    }
}

/// `3 of 5 tests passed`, and the first reason why not all did.
pub(super) fn counts(attempt: &Attempt<'_>) -> String {
    let verdict = attempt.verdict;
    let first = verdict.endings().find(|ending| !ending.passed());
    let reason = first.map(|ending| format!("; {}", ending.reason())).unwrap_or_default();
    format!("{} of {} tests passed{reason}", verdict.passed(), verdict.total())
}
