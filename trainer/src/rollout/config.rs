//! `[rollout]`: how attempts are sampled.

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[rollout]`: how attempts are sampled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RolloutConfig {
    /// Tasks drawn for each step. Default 8. The gradient is averaged over all of them: more make a step
    /// steadier and slower.
    pub tasks_per_step: NonZeroUsize,
    /// Attempts per task, at least 2: an attempt learns from being better or worse than its siblings. Default
    /// 8. A task that every attempt solves, or none, teaches nothing, and large groups agree less often.
    #[schemars(range(min = 2))]
    pub group_size: NonZeroUsize,
    /// Sampling temperature, above 0. Default 1: the model's own distribution, which is also the one that is
    /// trained.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub temperature: f64,
    /// Longest completion, in tokens. Default 256. A longer one is cut there, and usually fails its tests.
    pub max_tokens: NonZeroUsize,
    /// Most attempts decoded together. Default 64. Memory grows with it (the key-value cache holds this many
    /// rows), and so does speed, until the processor is busy. What is sampled does not depend on it, up to
    /// float rounding.
    pub max_batch: NonZeroUsize,
    /// Texts that end a completion; they are left out of the program. Default none: completions end with the
    /// model's own end token. For code: a closing fence, and what begins the next top-level statement.
    pub stop: Vec<String>,
}

impl Default for RolloutConfig {
    fn default() -> Self {
        const fn nonzero(number: usize) -> NonZeroUsize {
            NonZeroUsize::new(number).expect("the numbers below are not zero")
        }
        Self {
            tasks_per_step: const { nonzero(8) },
            group_size: const { nonzero(8) },
            temperature: 1.0,
            max_tokens: const { nonzero(256) },
            max_batch: const { nonzero(64) },
            stop: Vec::new(),
        }
    }
}
