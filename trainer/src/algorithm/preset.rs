//! Published algorithms as settings of `[algorithm]`, and of `[supervised]` where they learn from reference solutions.
//!
//! A preset is text that a recipe could contain. Its keys become the defaults of the section, keys that the recipe sets
//! win, and a resolved recipe has them all, so that it says the same when a preset of a later version says something else.
//! What a preset is not: learning rates, batch sizes and lengths, which are of models and tasks.

use schemars::JsonSchema;
use serde::de::IntoDeserializer;
use serde::de::value::Error;
use serde::{Deserialize, Serialize};

use super::AlgorithmConfig;

/// A published algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Group-relative policy optimisation, Shao et al. 2024 (arXiv:2402.03300).
    Grpo,
    /// GRPO without its two biases, Liu et al. 2025 (arXiv:2503.20783).
    DrGrpo,
    /// GRPO for long attempts, Yu et al. 2025 (arXiv:2503.14476).
    Dapo,
    /// REINFORCE leave-one-out, Ahmadian et al. 2024 (arXiv:2402.14740).
    Rloo,
    /// REINFORCE++, Hu 2025 (arXiv:2501.03262).
    ReinforcePlusPlus,
    /// REINFORCE++ with the group's mean as baseline, of the same paper.
    ReinforcePlusPlusBaseline,
    /// REINFORCE with a greedy baseline, Li et al. 2023 (arXiv:2310.10505).
    Remax,
    /// Group sequence policy optimisation, Zheng et al. 2025 (arXiv:2507.18071).
    Gspo,
    /// Clipped importance-sampling weights, Chen et al. 2025 (arXiv:2506.13585), with ScaleRL's cap.
    Cispo,
    /// Geometric-mean policy optimisation, Zhao et al. 2025 (arXiv:2507.20673).
    Gmpo,
    /// Soft adaptive policy optimisation, Gao et al. 2025 (arXiv:2511.20347).
    Sapo,
    /// On-policy RL with an optimal baseline, Hao et al. 2025 (arXiv:2505.23585).
    Opo,
    /// Group policy gradient, Chu et al. 2025 (arXiv:2504.02546).
    Gpg,
    /// Proximal policy optimisation with a critic, Schulman et al. 2017 (arXiv:1707.06347).
    Ppo,
    /// Maximum-likelihood RL, Tajwar et al. 2026 (arXiv:2602.02710).
    MaxRl,
    /// Length-unbiased sequence policy optimisation, Liu et al. 2026 (arXiv:2602.05261).
    Luspo,
    /// Variational sequence-level soft policy optimisation, Shen et al. 2026 (arXiv:2602.10693).
    Vespo,
    /// Divergence proximal policy optimisation, Qi et al. 2026 (arXiv:2602.04879), as prime-rl's default.
    Dppo,
    /// GRPO with a divergence on tokens of large covariance, Cui et al. 2025 (arXiv:2505.22617).
    KlCov,
    /// GRPO of the best of a group, for pass@k.
    PassAtK,
    /// Several rewards, each compared on its own, Liu et al. 2026 (arXiv:2601.05242).
    Gdpo,
    /// GRPO with advantages shaped by entropy, for function calls.
    Egpo,
    /// Online DPO, Guo et al. 2024 (arXiv:2402.04792), with rewards in the place of a judge.
    OnlineDpo,
    /// The two tricks of Liu et al. 2025 (arXiv:2508.08221): the batch's deviation, and a token mean.
    LitePpo,
    /// Expert iteration: the attempts that pass are imitated. RFT, Yuan et al. 2023 (arXiv:2308.01825).
    RejectionSampling,
    /// Supervised fine-tuning on the tasks' own solutions; nothing is sampled.
    Sft,
    /// CodeRL, Le et al. 2022 (arXiv:2207.01780), without its critic.
    CodeRl,
}

impl Preset {
    /// Every preset.
    pub const EVERY: [Self; 27] = [
        Self::Grpo,
        Self::DrGrpo,
        Self::Dapo,
        Self::Rloo,
        Self::ReinforcePlusPlus,
        Self::ReinforcePlusPlusBaseline,
        Self::Remax,
        Self::Gspo,
        Self::Cispo,
        Self::Gmpo,
        Self::Sapo,
        Self::Opo,
        Self::Gpg,
        Self::Ppo,
        Self::MaxRl,
        Self::Luspo,
        Self::Vespo,
        Self::Dppo,
        Self::KlCov,
        Self::PassAtK,
        Self::Gdpo,
        Self::Egpo,
        Self::OnlineDpo,
        Self::LitePpo,
        Self::RejectionSampling,
        Self::Sft,
        Self::CodeRl,
    ];

    /// The preset that a recipe calls `name`.
    pub fn named(name: &str) -> Option<Self> {
        let deserializer: serde::de::value::StrDeserializer<'_, Error> = name.into_deserializer();
        Self::deserialize(deserializer).ok()
    }

    /// Its keys of `[algorithm]`, as the lines of a recipe.
    pub fn keys(self) -> &'static str {
        match self {
            Self::Grpo => GRPO,
            Self::DrGrpo => DR_GRPO,
            Self::Dapo => DAPO,
            Self::Rloo => RLOO,
            Self::ReinforcePlusPlus => REINFORCE_PLUS_PLUS,
            Self::ReinforcePlusPlusBaseline => REINFORCE_PLUS_PLUS_BASELINE,
            Self::Remax => REMAX,
            Self::Gspo => GSPO,
            Self::Cispo => CISPO,
            Self::Gmpo => GMPO,
            Self::Sapo => SAPO,
            Self::Opo => OPO,
            Self::Gpg => GPG,
            Self::Ppo => PPO,
            Self::MaxRl => MAX_RL,
            Self::Luspo => LUSPO,
            Self::Vespo => VESPO,
            Self::Dppo => DPPO,
            Self::KlCov => KL_COV,
            Self::PassAtK => PASS_AT_K,
            Self::Gdpo => GDPO,
            Self::Egpo => EGPO,
            Self::OnlineDpo => ONLINE_DPO,
            Self::LitePpo => LITE_PPO,
            Self::RejectionSampling => REJECTION_SAMPLING,
            Self::Sft => SFT,
            Self::CodeRl => CODE_RL,
        }
    }

    /// Its keys of `[supervised]`, as the lines of a recipe; none for those that leave references alone.
    pub fn supervised_keys(self) -> &'static str {
        match self {
            Self::Sft => "coefficient = 1.0\nmode = \"alone\"\n",
            Self::CodeRl => "coefficient = 1.0\nmode = \"alternating\"\n",
            _ => "",
        }
    }

    /// The whole section, as a recipe that only names the preset has it.
    pub fn config(self) -> AlgorithmConfig {
        let config: AlgorithmConfig = toml::from_str(self.keys()).expect("a preset is a section");
        AlgorithmConfig { preset: Some(self), ..config }
    }
}

/// The paper's, with its divergence: 0.04 of k3 from the first policy.
const GRPO: &str = r#"
advantage = "grpo"
policy_loss = "clip"
clip_low = 0.2
clip_high = 0.2
aggregation = "sequence-mean-token-mean"
kl_coefficient = 0.04
kl = "k3"
"#;

/// No deviation in the advantage, no length of its own in the mean, no divergence.
const DR_GRPO: &str = r#"
advantage = "dr-grpo"
policy_loss = "clip"
clip_low = 0.2
clip_high = 0.2
aggregation = "constant-length"
"#;

/// A higher upper bound, a token mean, refilled groups and a penalty for length. The paper refills without end.
const DAPO: &str = r#"
advantage = "grpo"
policy_loss = "clip"
clip_low = 0.2
clip_high = 0.28
aggregation = "token-mean"
overlong_buffer = 0.2
overlong_penalty = 1.0
refills = 3
"#;

/// Whole attempts are the actions, and the divergence is part of their reward.
const RLOO: &str = r#"
advantage = "rloo"
policy_loss = "reinforce"
aggregation = "sequence-mean-token-sum"
kl_coefficient = 0.05
kl = "k1"
kl_place = "reward"
"#;

/// PPO without a critic: the divergence is a reward of each token, and the step is whitened.
const REINFORCE_PLUS_PLUS: &str = r#"
advantage = "reinforce-plus-plus"
policy_loss = "clip"
clip_low = 0.2
clip_high = 0.2
aggregation = "token-mean"
kl_coefficient = 0.01
kl = "k1"
kl_place = "reward"
"#;

/// The group's mean is taken off before whitening; the divergence, as k2, is in the loss.
const REINFORCE_PLUS_PLUS_BASELINE: &str = r#"
advantage = "reinforce-plus-plus-baseline"
policy_loss = "clip"
clip_low = 0.2
clip_high = 0.2
aggregation = "token-mean"
kl_coefficient = 0.001
kl = "k2"
"#;

/// One greedy attempt a task is the baseline of the others. The paper's divergence in the reward is left off.
const REMAX: &str = r#"
advantage = "remax"
policy_loss = "reinforce"
aggregation = "sequence-mean-token-sum"
"#;

/// The ratio of a sequence, with the paper's bounds, a thousandth of PPO's.
const GSPO: &str = r#"
advantage = "grpo"
policy_loss = "clip"
ratio = "sequence"
clip_low = 3e-4
clip_high = 4e-4
aggregation = "sequence-mean-token-mean"
"#;

/// MiniMax-M1 does not tell its bound; ScaleRL's is a ratio of 5.
const CISPO: &str = r#"
advantage = "grpo"
policy_loss = "cispo-capped"
ratio_cap = 5.0
aggregation = "token-mean"
"#;

/// Log-ratios between -0.4 and 0.4.
const GMPO: &str = r#"
advantage = "grpo"
policy_loss = "gmpo"
clip_low = 0.4
clip_high = 0.4
aggregation = "sequence-mean-token-mean"
"#;

const SAPO: &str = r#"
advantage = "grpo"
policy_loss = "sapo"
soft_clip_positive = 1.0
soft_clip_negative = 1.05
aggregation = "sequence-mean-token-mean"
"#;

/// Exactly on-policy: no ratio, no divergence, no entropy bonus.
const OPO: &str = r#"
advantage = "opo"
policy_loss = "reinforce"
aggregation = "sequence-mean-token-sum"
"#;

const GPG: &str = r#"
advantage = "gpg"
policy_loss = "reinforce"
aggregation = "token-mean"
"#;

/// As usual for language models: no discount, lambda 0.95, values clipped as the ratio is.
const PPO: &str = r#"
advantage = "gae"
discount = 1.0
gae_lambda = 0.95
policy_loss = "clip"
clip_low = 0.2
clip_high = 0.2
value_clip = 0.2
aggregation = "token-mean"
"#;

const MAX_RL: &str = r#"
advantage = "max-rl"
policy_loss = "reinforce"
aggregation = "sequence-mean-token-sum"
"#;

/// GSPO whose sequences weigh as much as they are long.
const LUSPO: &str = r#"
advantage = "grpo"
policy_loss = "clip"
ratio = "sequence"
clip_low = 3e-4
clip_high = 4e-4
aggregation = "sequence-mean-token-sum"
"#;

const VESPO: &str = r#"
advantage = "grpo"
policy_loss = "vespo"
vespo_power_positive = 2.0
vespo_decay_positive = 3.0
vespo_power_negative = 3.0
vespo_decay_negative = 2.0
aggregation = "token-mean"
"#;

/// prime-rl's: centred advantages, probabilities that may move by 0.2.
const DPPO: &str = r#"
advantage = "dr-grpo"
policy_loss = "dppo"
probability_low = 0.2
probability_high = 0.2
drift_coefficient = 1e-3
aggregation = "token-mean"
"#;

const KL_COV: &str = r#"
advantage = "grpo"
policy_loss = "kl-cov"
covariance_share = 2e-4
covariance_coefficient = 1.0
aggregation = "token-mean"
"#;

const PASS_AT_K: &str = r#"
advantage = "pass-at-k"
policy_loss = "clip"
clip_low = 0.2
clip_high = 0.2
aggregation = "token-mean"
"#;

const GDPO: &str = r#"
advantage = "gdpo"
policy_loss = "clip"
clip_low = 0.2
clip_high = 0.2
aggregation = "token-mean"
"#;

/// The coefficients are those of Cheng et al. 2025 (arXiv:2506.14758): the paper of EGPO does not tell its own, nor that of its
/// divergence, which is left off. There the bonus is for tokens of the reasoning, here for all: no attempt here has another part.
const EGPO: &str = r#"
advantage = "grpo"
entropy_shaping = 0.4
entropy_shaping_limit = 2.0
policy_loss = "clip"
clip_low = 0.2
clip_high = 0.2
aggregation = "token-mean"
"#;

/// One pair a group: the best attempt and the worst.
const ONLINE_DPO: &str = r#"
advantage = "online-dpo"
preference_beta = 0.1
policy_loss = "reinforce"
aggregation = "sequence-mean-token-sum"
"#;

/// The mean cross entropy of the attempts that pass, those of easy tasks more often; no ratio, no divergence.
const REJECTION_SAMPLING: &str = r#"
advantage = "rejection"
accept_from = 1.0
policy_loss = "reinforce"
aggregation = "token-mean"
"#;

/// How references are learnt from; no attempt is made.
const SFT: &str = r#"
policy_loss = "reinforce"
aggregation = "token-mean"
"#;

/// The greedy attempt is the baseline, losses are means over each attempt, and every other optimizer step is the references'.
/// In the paper a critic weighs the tokens, attempts are made once before training, and rewards are -1, -0.6, -0.3 and 1, which a
/// recipe says in `[rewards]`.
const CODE_RL: &str = r#"
advantage = "remax"
policy_loss = "reinforce"
aggregation = "sequence-mean-token-mean"
"#;

const LITE_PPO: &str = r#"
advantage = "grpo"
scale = "batch"
policy_loss = "clip"
clip_low = 0.2
clip_high = 0.2
aggregation = "token-mean"
"#;
