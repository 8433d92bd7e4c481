//! `all_passed`: whether the program is right.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Attempt, Reward, Weight};

/// `[rewards.all_passed]`: 1 if every hidden test passes, else 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AllPassedConfig {
    /// How much this reward counts in the sum. Default 1.
    pub weight: Weight,
}

/// 1 if every hidden test passes, else 0.
#[derive(Clone, Copy, Debug)]
pub struct AllPassed;

impl Reward for AllPassed {
    fn name(&self) -> &'static str {
        "all_passed"
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let verdict = attempt.verdict;
        (verdict.total() > 0).then(|| f64::from(u8::from(verdict.all_passed())))
    }
}
