//! `[supervised]`: learning from the tasks' own solutions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[supervised]`: learning from the tasks' own solutions, beside the policy's attempts or in their place.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SupervisedConfig {
    /// How much the mean cross entropy of the reference solutions of a step's tasks counts beside the policy loss; at least
    /// 0. Default 0: references are not looked at.
    #[schemars(range(min = 0.0))]
    pub coefficient: f64,
    /// When it counts: in every optimizer step of the policy loss (`mixed`), in one of its own after them (`alternating`), or
    /// without any attempt being made (`alone`, plain fine-tuning). Default `mixed`.
    pub mode: SupervisedMode,
}

impl Default for SupervisedConfig {
    fn default() -> Self {
        Self { coefficient: 0.0, mode: SupervisedMode::default() }
    }
}

/// When reference solutions are learnt from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SupervisedMode {
    /// In the optimizer steps of the policy loss.
    #[default]
    Mixed,
    /// In an optimizer step of their own, after those of the policy loss. CodeRL's (Le et al. 2022, arXiv:2207.01780).
    Alternating,
    /// Alone: nothing is sampled.
    Alone,
}

impl SupervisedConfig {
    /// Whether nothing is sampled.
    pub fn is_alone(&self) -> bool {
        self.coefficient > 0.0 && self.mode == SupervisedMode::Alone
    }
}
