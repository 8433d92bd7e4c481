//! `[verifier]`: a model that learns to foretell verdicts.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::critic::accept::AcceptConfig;
use crate::optim::OptimizerConfig;

/// `[verifier]`: a model that learns to foretell verdicts, from those of the run or, with `rltrain critic`, from logged ones.
///
/// Without this section there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VerifierConfig {
    /// What it learns to say of a program: `outcome`, `bradley-terry`, `binary`, `fault` or `implicit`. Default `outcome`.
    pub objective: Objective,
    /// Folder of the model that it starts from. A relative path is relative to the recipe. Default: the policy's, `model.path`.
    /// In a run of the policy it must have the policy's tokenizer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// A checkpoint that `rltrain critic` has made with this objective, to go on from. A relative path is relative to the
    /// recipe. Default: none, a verifier that knows nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<PathBuf>,
    /// Weight of its forecast, from 0 to 1, in the reward of an attempt. Default 0.
    pub reward_weight: f64,
    /// `outcome`: whether the advantage of each token is multiplied by the forecast, after the token, of what came of the
    /// attempt (CodeRL). Default false.
    pub token_weights: bool,
    /// `implicit`: how much process rewards count beside the recipe's advantages, which are whitened together if it is above
    /// 0; at least 0. Default 0. PRIME's is 5.
    #[schemars(range(min = 0.0))]
    pub process_coefficient: f64,
    /// `implicit`: what a nat is worth, in units of the logit of passing; above 0. Default 0.05.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub beta: f64,
    /// `bradley-terry`: most pairs of a right and a wrong program that an update draws of one task. Default 32.
    pub pairs: NonZeroUsize,
    /// `fault`: how much it counts that it can say in words what came of a program, against naming its class; from 0 to 1.
    /// Default 0. RankEF's is 0.5.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub feedback_share: f64,
    /// Whether the model that it starts from stays as it is, so that only the head on it learns: cheap, and worse. Default false.
    pub frozen: bool,
    /// `rltrain critic`: how often each logged program is learnt from. Default 3.
    pub epochs: NonZeroUsize,
    /// `rltrain critic`: groups of attempts that an update learns from. Default 4.
    pub groups_per_update: NonZeroUsize,
    /// `rltrain critic`: share of the tasks that are not learnt from, and that it is measured on; above 0, below 1. Default 0.2.
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub heldout_share: f64,
    /// `rltrain critic`: from which forecast on a program is accepted without a test.
    pub accept: AcceptConfig,
    /// How gradients change its weights; the keys of `[optimizer]`. Default learning rate 1e-5.
    pub optimizer: OptimizerConfig,
}

impl Default for VerifierConfig {
    fn default() -> Self {
        Self {
            objective: Objective::default(),
            path: None,
            start: None,
            reward_weight: 0.0,
            token_weights: false,
            process_coefficient: 0.0,
            beta: 0.05,
            pairs: const { NonZeroUsize::new(32).expect("32 is not zero") },
            feedback_share: 0.0,
            frozen: false,
            epochs: const { NonZeroUsize::new(3).expect("3 is not zero") },
            groups_per_update: const { NonZeroUsize::new(4).expect("4 is not zero") },
            heldout_share: 0.2,
            accept: AcceptConfig::default(),
            optimizer: OptimizerConfig { learning_rate: 1e-5, ..OptimizerConfig::default() },
        }
    }
}

/// What a verifier learns to say of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Which of CodeRL's four classes it is in, as seen from each token (Le et al. 2022, arXiv:2207.01780).
    #[default]
    Outcome,
    /// A number, higher for a right program than for a wrong one of the same task (muCode, Jain et al. 2025,
    /// arXiv:2502.20380).
    BradleyTerry,
    /// The logit of its passing all tests.
    Binary,
    /// What is wrong with it, in which line (CodeRanker, Inala et al. 2022, arXiv:2206.03865), and in words if wanted (RankEF,
    /// Sun et al. 2024, arXiv:2408.13976).
    Fault,
    /// Its own log-probability against that of the model it started from (PRIME, Cui et al. 2025, arXiv:2502.01456).
    Implicit,
}

impl Objective {
    /// Its name in a recipe.
    pub fn name(self) -> &'static str {
        match self {
            Objective::Outcome => "outcome",
            Objective::BradleyTerry => "bradley-terry",
            Objective::Binary => "binary",
            Objective::Fault => "fault",
            Objective::Implicit => "implicit",
        }
    }
}
