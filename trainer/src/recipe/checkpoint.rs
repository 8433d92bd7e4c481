//! `[checkpoint]`: how often the run is saved, and how much of the past is kept.

use std::num::{NonZeroU64, NonZeroUsize};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::MAX_SHARD_BYTES;

/// `[checkpoint]`: how often the run is saved, and how much of the past is kept.
///
/// The last step, and the step during which `Ctrl-C` comes, are saved in any case.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// Steps between checkpoints. Default 10. What a crash costs at most; a checkpoint is three times the
    /// size of the f32 weights (weights and two moments).
    pub every: NonZeroU64,
    /// How many of the newest checkpoints are kept. Default 2, so that one that the disk damaged has a
    /// predecessor.
    pub keep_last: NonZeroUsize,
    /// Largest file of weights in `model/`, in bytes; a larger tensor has a file of its own. Default 5 000 000 000: what
    /// transformers cuts at, and most file systems and stores bear.
    pub max_shard_bytes: NonZeroU64,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self {
            every: const { NonZeroU64::new(10).expect("10 is not zero") },
            keep_last: const { NonZeroUsize::new(2).expect("2 is not zero") },
            max_shard_bytes: const { NonZeroU64::new(MAX_SHARD_BYTES).expect("it is not zero") },
        }
    }
}

impl CheckpointConfig {
    /// Whether the state after `step` updates is saved.
    pub fn is_due(&self, step: u64) -> bool {
        step.is_multiple_of(self.every.get())
    }
}
