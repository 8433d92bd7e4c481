//! `[critic]`: who says what can be expected.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::optim::OptimizerConfig;

/// `[critic]`: who says what can be expected. Read where `algorithm.advantage` is `gae`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CriticConfig {
    /// What values are read off: `head`, a linear layer on the policy's hidden states, or `separate`, a model of its own with
    /// such a layer. Default `head`.
    pub kind: CriticKind,
    /// `separate`: folder of the model that the critic starts from. A relative path is relative to the recipe. Default: the
    /// policy's, `model.path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// `head`: how much the value loss counts beside the policy loss in the trunk that they share; at least 0. Default 0.1.
    #[schemars(range(min = 0.0))]
    pub coefficient: f64,
    /// Steps at the beginning in which only the critic learns. Default 0. Advantages over a critic that knows nothing are
    /// rewards.
    pub warmup_steps: u64,
    /// How gradients change the critic's own weights; the keys of `[optimizer]`. Default learning rate 1e-5.
    pub optimizer: OptimizerConfig,
}

impl Default for CriticConfig {
    fn default() -> Self {
        Self {
            kind: CriticKind::default(),
            path: None,
            coefficient: 0.1,
            warmup_steps: 0,
            optimizer: OptimizerConfig { learning_rate: 1e-5, ..OptimizerConfig::default() },
        }
    }
}

/// What a critic reads values off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CriticKind {
    /// The policy's hidden states.
    #[default]
    Head,
    /// Those of a model of its own.
    Separate,
}
