//! `[projection]`: how few of the weights may differ from the model that the run starts from.

use std::num::NonZeroU64;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[projection]`: a sparse projection of the weights onto the model that the run starts from: the largest changes stay, the others
/// are taken back (SeleKT, Aggarwal et al. 2025, arXiv:2503.03656). Without this section there is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProjectionConfig {
    /// Share of the weights that may differ, above 0, at most 1. Default 0.05. Of `n` weights the `floor(alpha n)` with the largest
    /// changes do; a tensor of fewer than `1 / alpha` goes back whole where `scope` is `tensor`.
    #[schemars(extend("exclusiveMinimum" = 0.0, "maximum" = 1.0))]
    pub alpha: f64,
    /// What the largest changes are chosen among: each `tensor` alone, or all trained tensors together, `global`. Default `tensor`.
    pub scope: ProjectionScope,
    /// What is projected: the weights that are trained (`in-loop`), those that a checkpoint shows in `model/` while training goes on
    /// from the others (`at-save`), or `both`. Default `in-loop`.
    pub mode: ProjectionMode,
    /// Optimizer steps between two projections of the weights that are trained, at least 1. Default 64. The optimizer's running means
    /// stay, and what may differ is chosen anew each time.
    pub every: NonZeroU64,
}

impl Default for ProjectionConfig {
    fn default() -> Self {
        Self {
            alpha: 0.05,
            scope: ProjectionScope::default(),
            mode: ProjectionMode::default(),
            every: const { NonZeroU64::new(64).expect("64 is not zero") },
        }
    }
}

impl ProjectionConfig {
    /// Whether the weights that are trained are ever projected.
    pub fn is_in_loop(&self) -> bool {
        self.mode != ProjectionMode::AtSave
    }

    /// Whether checkpoints show projected weights.
    pub fn is_at_save(&self) -> bool {
        self.mode != ProjectionMode::InLoop
    }

    /// Whether the weights that are trained are projected after so many optimizer steps.
    pub fn is_due(&self, updates: u64) -> bool {
        self.is_in_loop() && updates > 0 && updates.is_multiple_of(self.every.get())
    }

    /// How many of `elements` weights may differ: `floor(alpha n)`.
    pub fn kept(&self, elements: usize) -> usize {
        (self.alpha * elements as f64).floor() as usize
    }
}

/// What the largest changes are chosen among.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProjectionScope {
    /// Each tensor alone.
    #[default]
    Tensor,
    /// All trained tensors together.
    Global,
}

/// What is projected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProjectionMode {
    /// The weights that are trained.
    #[default]
    InLoop,
    /// The weights that checkpoints show.
    AtSave,
    /// Both.
    Both,
}
