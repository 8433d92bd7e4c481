//! `[eval]`: how good the policy is on tasks that it does not train on.

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[eval]`: how good the policy is on tasks that it does not train on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EvalConfig {
    /// Steps between evaluations; 0 evaluates only before the first step and after the last, which happens in
    /// any case. Default 0. One evaluation samples every held-out task.
    pub every: u64,
    /// Attempts per held-out task. Default 8. More narrow the interval and take longer.
    pub samples: NonZeroUsize,
    /// The k of each pass@k that is reported: the probability that one of k attempts is right. Each from 1 to
    /// `samples`. Default `[1]`.
    #[schemars(inner(range(min = 1)), length(min = 1))]
    pub k: Vec<usize>,
    /// Sampling temperature of evaluations, at least 0. Default 0.8. At 0 every attempt is the same greedy
    /// one, so `samples` must be 1.
    #[schemars(range(min = 0.0))]
    pub temperature: f64,
    /// Other ways to spend tokens on a held-out task, each measured beside plain sampling with the tokens that it takes: `critical`,
    /// `best-of-n`. Default `[]`.
    pub search: Vec<Search>,
}

/// A way to spend more tokens on a task than a single attempt takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Search {
    /// CodeRL's critical sampling, with `[verifier]`: `samples` more attempts at each task, which go on from where programs that
    /// pass the public tests had the highest forecast; where none passes them, attempts to repair the failing program with the
    /// highest forecast.
    Critical,
    /// muCode's multi-turn best of n: in each of `episode.turns` turns `samples` programs, of which one is answered: one that passes
    /// the public tests before others, then the one with the verifier's highest forecast, if there is a verifier. Ends with the
    /// first turn that passes the public tests.
    BestOfN,
}

impl Search {
    /// As the recipe and metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Search::Critical => "critical",
            Search::BestOfN => "best-of-n",
        }
    }
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            every: 0,
            samples: const { NonZeroUsize::new(8).expect("8 is not zero") },
            k: vec![1],
            temperature: 0.8,
            search: Vec::new(),
        }
    }
}

impl EvalConfig {
    /// Whether the policy is evaluated after `step` of `steps` updates.
    pub fn is_due(&self, step: u64, steps: u64) -> bool {
        step == 0 || step == steps || (self.every > 0 && step.is_multiple_of(self.every))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evaluation_comes_first_and_last_and_every_so_often() {
        let due = |every| {
            (0..=7).filter(move |step| EvalConfig { every, ..EvalConfig::default() }.is_due(*step, 7))
        };
        assert_eq!(due(0).collect::<Vec<_>>(), [0, 7]);
        assert_eq!(due(3).collect::<Vec<_>>(), [0, 3, 6, 7]);
    }
}
