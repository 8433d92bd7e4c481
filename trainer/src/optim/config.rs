//! `[optimizer]`: how gradients change the weights.

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[optimizer]`: the rule, its schedule, and what limits a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// The rule that turns gradients into changes: `adamw` or `sgd`. Default `adamw`.
    pub kind: OptimizerKind,
    /// Peak learning rate, above 0; with `adamw` about the largest change of a weight in one step. Default
    /// 1e-6, which suits models of billions of parameters. Small models bear, and need, ten times as much.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub learning_rate: f64,
    /// `adamw`: decay of the running mean of gradients, per step; from 0, below 1. Default 0.9: a memory of about
    /// 10 steps.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub beta1: f64,
    /// `adamw`: decay of the running mean of squared gradients, per step; from 0, below 1. Default 0.95: a memory
    /// of about 20 steps, short enough for runs of a hundred.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub beta2: f64,
    /// `adamw`: added to the denominator of the update, in units of gradient; above 0. Default 1e-8.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub epsilon: f64,
    /// `sgd`: share of the last step's direction that the next one keeps; from 0, below 1. Default 0.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub momentum: f64,
    /// Decoupled weight decay of matrices; each step takes away this share of a weight, times the learning
    /// rate. At least 0. Default 0: a short run from a good model wants to stay near it.
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
    /// Steps over which the learning rate rises linearly to its peak; at most `steps`. Default 0.
    pub warmup_steps: usize,
    /// What the learning rate does after the warm-up: `constant`, `linear`, `cosine` or `wsd`. Default `constant`.
    pub schedule: Schedule,
    /// `wsd`: steps at the end over which the learning rate falls; with `warmup_steps` at most `steps`. Default 0.
    pub decay_steps: usize,
    /// Share of the peak that a falling learning rate ends at, from 0 to 1. Default 0.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub final_share: f64,
    /// Longest gradient, as the L2 norm over all weights; above 0. A longer one is scaled down to it. Default
    /// 1.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub max_gradient_norm: f64,
    /// Most tokens, prompts included, that go through the network together in the update. Default 4096. Memory
    /// grows with it; the gradient does not depend on it, up to float rounding. An attempt longer than this
    /// goes alone.
    pub micro_batch_tokens: NonZeroUsize,
    /// Steps in a row without a finite gradient after which the run stops, with its last batch written out, at least 1.
    /// Default 5. A single one is skipped and counted.
    pub max_skipped: NonZeroUsize,
    /// What processes that train together (torchrun, Slurm) share out instead of each having all of it: `none`; `state`, the
    /// rule's running means; `gradients`, these and the gradients; `parameters`, these and, during an update, the
    /// weights of layers. Default `none`. The result is the same, with `gradients` and `parameters` up to float rounding.
    pub sharding: Sharding,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            kind: OptimizerKind::default(),
            learning_rate: 1e-6,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            momentum: 0.0,
            weight_decay: 0.0,
            warmup_steps: 0,
            schedule: Schedule::default(),
            decay_steps: 0,
            final_share: 0.0,
            max_gradient_norm: 1.0,
            micro_batch_tokens: const { NonZeroUsize::new(4096).expect("4096 is not zero") },
            max_skipped: const { NonZeroUsize::new(5).expect("5 is not zero") },
            sharding: Sharding::default(),
        }
    }
}

/// What processes share out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sharding {
    /// Nothing: each has all weights, gradients and running means.
    #[default]
    None,
    /// The running means of the optimizer.
    State,
    /// The running means, and the gradients of the weights that they belong to.
    Gradients,
    /// As `gradients`; and the weights of layers during an update, each sent to all for the time in which its layer is computed.
    Parameters,
}

/// What the learning rate does after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Stays at its peak.
    #[default]
    Constant,
    /// Falls to `final_share` at the last step, in a straight line.
    Linear,
    /// Falls to `final_share` at the last step, along half a cosine: slowly, fast, slowly.
    Cosine,
    /// Warm-up, stable, decay: stays at its peak, and falls to `final_share` over the last `decay_steps`.
    Wsd,
}

/// The rule that turns gradients into changes of the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Every weight moves about as far as every other: directions are divided by their usual size.
    #[default]
    AdamW,
    /// Every weight moves by its gradient, with a memory of where it went.
    Sgd,
}

impl OptimizerKind {
    /// Names of what the rule remembers of each weight: the running means in a checkpoint.
    pub fn means(self) -> &'static [&'static str] {
        match self {
            OptimizerKind::AdamW => &["first", "second"],
            OptimizerKind::Sgd => &["momentum"],
        }
    }
}
