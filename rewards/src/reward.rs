//! The contract of a reward.

use std::fmt;
use std::ops::RangeInclusive;

use thiserror::Error;

use crate::plugin::PlugInError;
use crate::{Attempt, Input};

/// Scores one attempt.
///
/// A reward is a pure function of the attempt: no clock, no randomness, no I/O. The same attempt scores the same on every
/// machine, so that a logged rollout can be scored again years later. What a reward has learnt from earlier steps comes in with
/// the attempt, as [`Attempt::history`].
pub trait Reward: Send + Sync {
    /// The key under which this reward is logged, such as `tests_passed`.
    fn name(&self) -> &str;

    /// Least and greatest score. A score outside of it is a bug of the reward, and ends the run.
    fn range(&self) -> RangeInclusive<f64> {
        0.0..=1.0
    }

    /// The score, within [`range`](Self::range); `None` if this reward has nothing to say about the attempt. `None` is not 0:
    /// it adds nothing to the sum and is left out of means.
    fn score(&self, attempt: &Attempt<'_>) -> Option<f64>;

    /// What it cannot score without; by default nothing that not every attempt has.
    fn inputs(&self) -> &'static [Input] {
        &[]
    }

    /// Why the score is what it is, in a line for people; empty where the score says it all.
    fn explain(&self, _attempt: &Attempt<'_>) -> String {
        String::new()
    }
}

/// A score that breaks the contract of its reward.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("reward `{reward}` scored {score}, wanted a number from {least} to {greatest}")]
pub struct OutOfRange {
    /// The reward.
    pub reward: String,
    /// What it scored.
    pub score: f64,
    /// The least it may score.
    pub least: f64,
    /// The most it may score.
    pub greatest: f64,
}

/// Why an attempt has no score.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RewardError {
    /// A reward of ours broke its contract: a bug, and the run must end.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// A plug-in did not answer, or not as it must, however often it was asked. The attempt is lost, as if the sandbox had
    /// failed: it is no score of 0.
    #[error("reward `{reward}` has no score to give")]
    PlugIn {
        /// The reward.
        reward: String,
        /// What went wrong.
        source: PlugInError,
    },
}

/// Lets a finite score within `range` pass. NaN is in no range.
pub(crate) fn check(reward: &str, range: &RangeInclusive<f64>, score: Option<f64>) -> Result<(), OutOfRange> {
    match score {
        Some(score) if !range.contains(&score) => {
            let (least, greatest) = (*range.start(), *range.end());
            Err(OutOfRange { reward: reward.to_owned(), score, least, greatest })
        }
        _ => Ok(()),
    }
}

/// `0.5`, or `none`.
pub(crate) struct Shown(pub(crate) Option<f64>);

impl fmt::Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(score) => write!(formatter, "{score:.4}"),
            None => formatter.write_str("none"),
        }
    }
}
