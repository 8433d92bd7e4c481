//! `[algorithm]`: what counts as better, and how far one step may go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[algorithm]`: what counts as better, and how far one step may go.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlgorithmConfig {
    /// How rewards become advantages: `grpo`, `dr-grpo` or `rloo`. Default `grpo`.
    pub advantage: AdvantageEstimator,
    /// Added to the standard deviation that `grpo` divides by, in units of reward; above 0. Default 1e-4. The
    /// others divide by nothing and ignore it.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub scale_epsilon: f64,
    /// How far below 1 the probability ratio of a token may fall before a bad attempt pushes it no further;
    /// above 0, below
    /// 1. Default 0.2. Dimensionless.
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub clip_low: f64,
    /// How far above 1 the probability ratio of a token may rise before a good attempt pushes it no further;
    /// above 0. Default 0.28: more room than below keeps rare tokens alive ("clip-higher"). Dimensionless.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub clip_high: f64,
    /// How the losses of tokens are averaged: `token-mean` or `sequence-mean-token-mean`. Default
    /// `token-mean`.
    pub aggregation: Aggregation,
}

impl Default for AlgorithmConfig {
    fn default() -> Self {
        Self {
            advantage: AdvantageEstimator::default(),
            scale_epsilon: 1e-4,
            clip_low: 0.2,
            clip_high: 0.28,
            aggregation: Aggregation::default(),
        }
    }
}

/// How the rewards of a group become advantages; formulas at [`super::advantages`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AdvantageEstimator {
    /// Reward minus the group's mean, divided by the group's standard deviation: easy and hard tasks count
    /// alike.
    #[default]
    Grpo,
    /// Reward minus the group's mean, undivided: tasks that the model is unsure of count most.
    DrGrpo,
    /// Reward minus the mean of the other attempts: as `dr-grpo`, times `n / (n - 1)`.
    Rloo,
}

/// How the losses of tokens are averaged over one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregation {
    /// One mean over all tokens of the step: every token counts alike, so a long attempt counts more than a
    /// short one.
    #[default]
    TokenMean,
    /// The mean over attempts of the mean over their tokens: every attempt counts alike, so a token of a long
    /// one counts less.
    SequenceMeanTokenMean,
}
