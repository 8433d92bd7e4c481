//! `[checkpoint]`: how often the run is saved, and how much of the past is kept.

use std::num::{NonZeroU64, NonZeroUsize};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::MAX_SHARD_BYTES;

/// `[checkpoint]`: how often the run is saved, and how much of the past is kept.
///
/// The last step, and the step during which `Ctrl-C` comes, are saved in any case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// Steps between checkpoints. Default 10. What a crash costs at most; a checkpoint is three times the
    /// size of the f32 weights (weights and two moments).
    pub every: NonZeroU64,
    /// How many of the newest checkpoints are kept. Default 2, so that one that the disk damaged has a
    /// predecessor.
    pub keep_last: NonZeroUsize,
    /// Checkpoints of steps that this number divides are kept for good. Not set by default: none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_every: Option<NonZeroU64>,
    /// `eval/pass@K`, with a K of `eval.k`: the checkpoint with the highest value is kept until one has a higher or an equal one.
    /// Steps without an evaluation have no value: make `eval.every` a multiple of `checkpoint.every`, or equal to it. Not set by
    /// default: the best is kept no longer than others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_best: Option<String>,
    /// Largest file of weights in `model/`, in bytes; a larger tensor has a file of its own. Default 5 000 000 000: what
    /// transformers cuts at, and most file systems and stores bear.
    pub max_shard_bytes: NonZeroU64,
    /// Folder in an object store to which every checkpoint is copied while the run goes on: `s3://BUCKET/PATH`, `gs://BUCKET/PATH`,
    /// `az://CONTAINER/PATH`, `https://HOST/PATH` (WebDAV) or `file:///PATH`. Credentials come from the environment. What is kept of
    /// the past is kept there too; a run whose folder is empty goes on from the newest checkpoint there. Not set by default: nothing
    /// is copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self {
            every: const { NonZeroU64::new(10).expect("10 is not zero") },
            keep_last: const { NonZeroUsize::new(2).expect("2 is not zero") },
            keep_every: None,
            keep_best: None,
            max_shard_bytes: const { NonZeroU64::new(MAX_SHARD_BYTES).expect("it is not zero") },
            remote: None,
        }
    }
}

impl CheckpointConfig {
    /// Whether the state after `step` updates is saved.
    pub fn is_due(&self, step: u64) -> bool {
        step.is_multiple_of(self.every.get())
    }

    /// The k of the pass@k that the best checkpoint is the best by, if the recipe says one and it is a number.
    pub fn best_of(&self) -> Option<usize> {
        pass_at(self.keep_best.as_deref()?)
    }
}

/// The k of the metric `eval/pass@K`; none if `metric` is another, or no metric.
pub fn pass_at(metric: &str) -> Option<usize> {
    metric.strip_prefix("eval/pass@")?.parse().ok()
}
