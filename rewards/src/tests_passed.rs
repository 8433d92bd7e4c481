//! `tests_passed`: the share of hidden tests that pass.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Attempt, Reward, Weight};

/// `[rewards.tests_passed]`: the share of hidden tests that pass, from 0 to 1.
///
/// A program that does not load passes none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TestsPassedConfig {
    /// How much this reward counts in the sum. Default 1.
    pub weight: Weight,
}

/// The share of hidden tests that pass, in `[0, 1]`.
#[derive(Clone, Copy, Debug)]
pub struct TestsPassed;

impl Reward for TestsPassed {
    fn name(&self) -> &'static str {
        "tests_passed"
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let verdict = attempt.verdict;
        (verdict.total() > 0).then(|| verdict.passed() as f64 / verdict.total() as f64)
    }
}
