//! Verdicts in, numbers out.
//!
//! A [`Reward`] scores one [`Attempt`]; a [`RewardSet`] adds up the rewards that a recipe asks for. To add a signal: one
//! file with its config and its `impl Reward`, one field in [`RewardsConfig`], one line in [`RewardSet::build`].
//!
//! An attempt holds a [`Verdict`]. A sandbox that failed has none to give, so an infrastructure failure cannot become a
//! number here: the trainer masks the attempt instead.

mod all_passed;
mod tests_passed;
mod weight;

pub use all_passed::{AllPassed, AllPassedConfig};
pub use tests_passed::{TestsPassed, TestsPassedConfig};
pub use weight::{InvalidWeight, MAX_WEIGHT, Weight};

use rltrain_executor::Verdict;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a reward may look at. Made by the trainer after execution; borrowed, never kept.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The text that the model was given, after the chat template.
    pub prompt: &'a str,
    /// The text that the model wrote.
    pub completion: &'a str,
    /// The program taken from the completion, as it was run.
    pub program: &'a str,
    /// What the tests said about the program.
    pub verdict: &'a Verdict,
}

/// Scores one attempt.
///
/// A reward is a pure function of the attempt: no clock, no randomness, no I/O. The same attempt scores the same on every
/// machine, so that a logged rollout can be scored again years later.
pub trait Reward: Send + Sync {
    /// The key under which this reward is logged, such as `tests_passed`.
    fn name(&self) -> &'static str;

    /// The score, finite and in `[-1, 1]`; `None` if this reward has nothing to say about the attempt.
    fn score(&self, attempt: &Attempt<'_>) -> Option<f64>;
}

/// `[rewards]`: one optional table per reward. A table that is absent is a reward that is not used.
///
/// The reward of an attempt is the sum of weight times score over the tables present.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RewardsConfig {
    /// The share of hidden tests that pass, from 0 to 1. Gives partial programs something to climb.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tests_passed: Option<TestsPassedConfig>,
    /// 1 if every hidden test passes, else 0. What pass@k measures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_passed: Option<AllPassedConfig>,
}

/// Why a set of rewards cannot be built.
#[derive(Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RewardsError {
    /// Every attempt would score zero.
    #[error("no reward has a weight other than 0, so every attempt would score the same")]
    NoSignal,
}

/// The score of one attempt, in parts and in total.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Raw score of each reward by name, before weighting, in the order of [`RewardsConfig`].
    pub parts: Vec<(&'static str, Option<f64>)>,
    /// Sum of weight times score over the parts that have one. Finite.
    pub total: f64,
}

/// The rewards that a recipe asks for, with their weights.
pub struct RewardSet {
    rewards: Vec<(Weight, Box<dyn Reward>)>,
}

impl RewardSet {
    /// Builds the rewards whose tables are present.
    ///
    /// # Errors
    ///
    /// If no weight differs from 0: there would be nothing to learn from.
    pub fn build(config: &RewardsConfig) -> Result<Self, RewardsError> {
        let mut rewards: Vec<(Weight, Box<dyn Reward>)> = Vec::new();
        if let Some(config) = &config.tests_passed {
            rewards.push((config.weight, Box::new(TestsPassed)));
        }
        if let Some(config) = &config.all_passed {
            rewards.push((config.weight, Box::new(AllPassed)));
        }
        if rewards.iter().all(|(weight, _)| weight.get() == 0.0) {
            return Err(RewardsError::NoSignal);
        }
        Ok(Self { rewards })
    }

    /// Names of the rewards, in the order of [`Scored::parts`].
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.rewards.iter().map(|(_, reward)| reward.name())
    }

    /// The weight of each reward, in the order of [`Scored::parts`].
    pub fn weights(&self) -> impl Iterator<Item = f64> + '_ {
        self.rewards.iter().map(|(weight, _)| weight.get())
    }

    /// Scores one attempt.
    ///
    /// # Panics
    ///
    /// If a reward breaks its contract with a score that is not finite or not in `[-1, 1]`. A NaN that got past here would
    /// reach the weights of the model.
    pub fn score(&self, attempt: &Attempt<'_>) -> Scored {
        let mut scored = Scored { parts: Vec::with_capacity(self.rewards.len()), total: 0.0 };
        for (weight, reward) in &self.rewards {
            let score = reward.score(attempt);
            if let Some(score) = score {
                assert!(
                    (-1.0..=1.0).contains(&score),
                    "reward `{}` scored {score}, wanted [-1, 1]",
                    reward.name()
                );
                scored.total += weight.get() * score;
            }
            scored.parts.push((reward.name(), score));
        }
        scored
    }
}

#[cfg(test)]
mod tests;
