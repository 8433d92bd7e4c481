//! `all_passed`: whether the program is right.

use crate::term::reward_config;
use crate::{Attempt, Reward};

reward_config! {
    /// `[rewards.all_passed]`: 1 if every hidden test passes, else 0.
    pub struct AllPassedConfig for "all_passed" {}
}

/// 1 if every hidden test passes, else 0.
#[derive(Clone, Copy, Debug)]
pub struct AllPassed;

impl Reward for AllPassed {
    fn name(&self) -> &str {
        "all_passed"
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let verdict = attempt.verdict;
        (verdict.total() > 0).then(|| f64::from(u8::from(verdict.all_passed())))
    }

    fn explain(&self, attempt: &Attempt<'_>) -> String {
        super::tests_passed::counts(attempt)
    }
}
