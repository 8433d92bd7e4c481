//! `[algorithm]`: what counts as better, and how far one step may go.

use std::num::{NonZeroU64, NonZeroUsize};

use schemars::JsonSchema;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::choice::{
    AdvantageEstimator, Aggregation, CorrectionKind, KlControl, KlEstimator, KlPlace, PolicyLoss,
    PreferencePairs, RatioLevel, ReferenceKind, Scale,
};
use super::preset::Preset;

/// `[algorithm]`: what counts as better, and how far one step may go.
///
/// Flat: each choice is one key, and the keys that belong to one choice alone are read only where it is made. A recipe
/// that sets a key which its choices do not read is refused, and one that was resolved does not have it.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlgorithmConfig {
    /// A published algorithm, whose settings become the defaults of this section: what the recipe sets itself wins.
    /// Absent: the defaults below, which are GRPO with a clip from DAPO. `rltrain check --resolved` shows what a preset
    /// stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// How rewards become advantages: `grpo`, `dr-grpo`, `rloo`, `remax`, `opo`, `gpg`, `max-rl`, `pass-at-k`, `gdpo`,
    /// `online-dpo`, `rejection`, `reinforce-plus-plus`, `reinforce-plus-plus-baseline`, `optimal-token-baseline`, `gae`
    /// or `conservative`.
    /// Default `grpo`.
    pub advantage: AdvantageEstimator,
    /// What `grpo` and `pass-at-k` divide by: the standard deviation of the `group`'s rewards or of the `batch`'s, or
    /// `none`. Default `group`.
    pub scale: Scale,
    /// Added to the standard deviation that advantages are divided by, in units of reward; above 0. Default 1e-4. Other
    /// trainers have 1e-6 or 1e-9, which differs where rewards are nearly equal.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub scale_epsilon: f64,
    /// What a reward is worth one token earlier, from above 0 to 1; gamma. Default 1. Of the estimators that tell tokens
    /// apart.
    #[schemars(extend("exclusiveMinimum" = 0.0, "maximum" = 1.0))]
    pub discount: f64,
    /// How far `gae` looks before it believes the critic, from 0 (one token) to 1 (the end). Default 0.95.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub gae_lambda: f64,
    /// How soon `online-dpo` is content with a pair, above 0: its better attempt should have gained on the worse, against
    /// the reference, about 1 divided by this, in nats. Default 0.1.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub preference_beta: f64,
    /// Which attempts of a group `online-dpo` compares: the `best-worst` pair, or all pairs of attempts in different `tiers` of reward,
    /// whose mean loss is the group's. Default `best-worst`.
    pub preference_pairs: PreferencePairs,
    /// How much reward a tier is wide, above 0: the tier of an attempt is its reward divided by this, rounded down. Default 0.5: with 0,
    /// 0.5 and 1 for what does not compile, what does, and what is right besides, there are three.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub tier_width: f64,
    /// Reward from which `rejection` imitates an attempt. Default 1: that of a solved one, if `all_passed` is the only reward.
    pub accept_from: f64,
    /// Most attempts of a group that `rejection` imitates, the best ones, at least 1. Absent: all that are good enough, so that
    /// easy tasks count most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept_most: Option<NonZeroUsize>,
    /// How much the entropy of a token adds to its advantage, per nat; at least 0. Default 0, none. 0.4 is usual.
    #[schemars(range(min = 0.0))]
    pub entropy_shaping: f64,
    /// The entropy adds at most the advantage's size divided by this; above 1, so that no bonus makes a bad attempt a
    /// good one. Default 2.
    #[schemars(extend("exclusiveMinimum" = 1.0))]
    pub entropy_shaping_limit: f64,
    /// What is minimised: `clip`, `cispo`, `cispo-capped`, `sapo`, `gmpo`, `vespo`, `dppo`, `ipo`, `kl-cov`,
    /// `reinforce`, `dueling` or `gap`. Default `clip`.
    pub policy_loss: PolicyLoss,
    /// `dueling` and `gap`: what a nat below the likeliest token is worth, in units of reward; above 0. Default 1.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub dueling_alpha: f64,
    /// `dueling`: how much it counts that a reference's token is below the likeliest one, against its cross entropy; at least 0. Default
    /// 0. B-Coder's is 0.2.
    #[schemars(range(min = 0.0))]
    pub reference_gap: f64,
    /// What the policy is compared with its older self by: each `token`'s ratio of probabilities, the geometric mean over
    /// a `sequence`, or the product over it, `sequence-product`. Default `token`.
    pub ratio: RatioLevel,
    /// How far below 1 the probability ratio of a token may fall before a bad attempt pushes it no further;
    /// above 0, below 1. Default 0.2. Dimensionless. Of `gmpo`: how far the log-ratio may fall below 0.
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub clip_low: f64,
    /// How far above 1 the probability ratio of a token may rise before a good attempt pushes it no further;
    /// above 0. Default 0.28: more room than below keeps rare tokens alive ("clip-higher"). Dimensionless.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub clip_high: f64,
    /// Largest loss of a token of a bad attempt, as a multiple of the advantage's size; above 1. Absent: none. 3 is
    /// usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 1.0))]
    pub dual_clip: Option<f64>,
    /// Largest probability ratio that counts, above 0: of `clip`, where the clip does not apply; of `cispo-capped`,
    /// everywhere. Absent: none; `cispo-capped` needs it. Dimensionless; 5 is usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub ratio_cap: Option<f64>,
    /// How sharply `sapo` fades out tokens of good attempts whose ratio leaves 1; above 0. Default 1.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub soft_clip_positive: f64,
    /// The same for bad attempts. Default 1.05: a little sharper, because they unsettle the policy more.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub soft_clip_negative: f64,
    /// Of `vespo`, good attempts: the power of the ratio in their weight; above 0. Default 2.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub vespo_power_positive: f64,
    /// Of `vespo`, good attempts: how fast the weight falls with the ratio; above 0. Default 3.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub vespo_decay_positive: f64,
    /// Of `vespo`, bad attempts: the power of the ratio in their weight; above 0. Default 3.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub vespo_power_negative: f64,
    /// Of `vespo`, bad attempts: how fast the weight falls with the ratio; above 0. Default 2.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub vespo_decay_negative: f64,
    /// How far `dppo` and `ipo` let the probability of a token fall, from 0 to 1. Default 0.2.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability_low: f64,
    /// How far `dppo` and `ipo` let the probability of a token rise, from 0 to 1. Default 0.2.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability_high: f64,
    /// Weight of the squared log-ratio that `dppo` and `ipo` add on every token; at least 0. Default 0.001.
    #[schemars(range(min = 0.0))]
    pub drift_coefficient: f64,
    /// Share of a step's tokens that `kl-cov` holds back; above 0, at most 1. Default 0.0002.
    #[schemars(extend("exclusiveMinimum" = 0.0, "maximum" = 1.0))]
    pub covariance_share: f64,
    /// How strongly `kl-cov` holds them back; at least 0. Default 1.
    #[schemars(range(min = 0.0))]
    pub covariance_coefficient: f64,
    /// Share of a step's tokens, those of the largest entropy, that the policy loss is computed for; above 0. Default 1,
    /// all. 0.2 is the published value.
    #[schemars(extend("exclusiveMinimum" = 0.0, "maximum" = 1.0))]
    pub top_entropy_share: f64,
    /// A bad attempt that the policy has moved away from further than this, in nats a token, teaches nothing more; at
    /// least 0. Absent: all do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub off_policy_threshold: Option<f64>,
    /// How the losses of tokens are averaged: `token-mean`, `sequence-mean-token-mean`, `sequence-mean-token-sum` or
    /// `constant-length`. Default `token-mean`.
    pub aggregation: Aggregation,
    /// How much a nat of divergence from the reference costs, at least 0. Default 0: no divergence is computed and no
    /// reference is kept.
    #[schemars(range(min = 0.0))]
    pub kl_coefficient: f64,
    /// How the divergence is estimated from a token: `k1`, `k2`, `k3` or `abs`. Default `k3`.
    pub kl: KlEstimator,
    /// The estimator whose gradient is followed, if it is not that of `kl`. Absent: the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl_gradient: Option<KlEstimator>,
    /// Where the divergence is paid for: in the `loss` of each token or in the `reward`. Default `loss`.
    pub kl_place: KlPlace,
    /// Whether each token's divergence in the loss is weighted by its importance ratio, which makes the estimate unbiased
    /// for tokens of an older policy. Default false.
    pub kl_importance: bool,
    /// Whether the coefficient is `fixed` or `adaptive`: raised while the divergence is above `kl_target`, lowered while
    /// it is below. Default `fixed`.
    pub kl_control: KlControl,
    /// The divergence that an adaptive coefficient steers for, in nats a token; above 0. Default 0.1.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub kl_target: f64,
    /// Attempts over which an adaptive coefficient may change by a fifth; above 0. Default 10 000.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub kl_horizon: f64,
    /// What the divergence is measured from: the `frozen` first policy, the policy with its adapters off (`lora-off`), a
    /// copy made anew every few steps (`sync`) or a moving average (`ema`). Default `frozen`.
    pub reference: ReferenceKind,
    /// Steps between two changes of a reference that follows the policy, at least 1. Default 64.
    pub reference_every: NonZeroU64,
    /// Share of itself that an `ema` reference keeps at each change; at least 0, below 1. Default 0.4.
    #[schemars(extend("minimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub reference_decay: f64,
    /// How much a nat of entropy is worth, at least 0. Default 0, none. A bonus keeps a policy trying, and can make it
    /// ramble.
    #[schemars(range(min = 0.0))]
    pub entropy_coefficient: f64,
    /// How much the squared logarithm of the softmax's denominator costs, `(log sum_v exp z_v)^2`, at least 0. Default 0, nothing.
    /// It keeps logits from drifting together, which bf16 rounds ever more coarsely; 1e-4 is usual.
    #[schemars(range(min = 0.0))]
    pub z_loss_coefficient: f64,
    /// What is done about the rollout's logprobs not being the trainer's: `none`, `token-tis`, `sequence-tis`, `icepop`,
    /// `sequence-mask` or `geometric-rejection`. Default `none`: with both in one program, the loss compares with the
    /// rollout's own logprobs.
    pub correction: CorrectionKind,
    /// Smallest ratio of trainer's to rollout's probability that counts, at least 0. Default 0.
    #[schemars(range(min = 0.0))]
    pub correction_low: f64,
    /// Largest such ratio, above `correction_low`. Default 2.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub correction_high: f64,
    /// How far a value may move from the rollout's before its error counts from there, in units of reward; above 0.
    /// Absent: as far as it likes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub value_clip: Option<f64>,
    /// Whether attempts that the token limit cut off are left out of the loss. Default false.
    pub overlong_filter: bool,
    /// Share of `rollout.max_tokens`, counted from its end, over which the penalty for length rises; from 0 to 1. Default
    /// 0, no penalty. 0.2 is the published value.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub overlong_buffer: f64,
    /// What the longest attempt loses, in units of reward; at least 0. Default 1.
    #[schemars(range(min = 0.0))]
    pub overlong_penalty: f64,
    /// Times that a rollout is learnt from, at least 1. Default 1.
    pub epochs: NonZeroUsize,
    /// Optimizer steps that one pass over a rollout is divided into, at least 1; at most `rollout.tasks_per_step`.
    /// Default 1.
    pub mini_batches: NonZeroUsize,
    /// Most times that a step samples more tasks to make up for groups without a signal. Default 0: it learns from what
    /// is there.
    pub refills: u32,
}

impl Default for AlgorithmConfig {
    fn default() -> Self {
        const ONE: NonZeroUsize = NonZeroUsize::MIN;
        Self {
            preset: None,
            advantage: AdvantageEstimator::default(),
            scale: Scale::default(),
            scale_epsilon: 1e-4,
            discount: 1.0,
            gae_lambda: 0.95,
            preference_beta: 0.1,
            preference_pairs: PreferencePairs::default(),
            tier_width: 0.5,
            accept_from: 1.0,
            accept_most: None,
            entropy_shaping: 0.0,
            entropy_shaping_limit: 2.0,
            policy_loss: PolicyLoss::default(),
            dueling_alpha: 1.0,
            reference_gap: 0.0,
            ratio: RatioLevel::default(),
            clip_low: 0.2,
            clip_high: 0.28,
            dual_clip: None,
            ratio_cap: None,
            soft_clip_positive: 1.0,
            soft_clip_negative: 1.05,
            vespo_power_positive: 2.0,
            vespo_decay_positive: 3.0,
            vespo_power_negative: 3.0,
            vespo_decay_negative: 2.0,
            probability_low: 0.2,
            probability_high: 0.2,
            drift_coefficient: 1e-3,
            covariance_share: 2e-4,
            covariance_coefficient: 1.0,
            top_entropy_share: 1.0,
            off_policy_threshold: None,
            aggregation: Aggregation::default(),
            kl_coefficient: 0.0,
            kl: KlEstimator::default(),
            kl_gradient: None,
            kl_place: KlPlace::default(),
            kl_importance: false,
            kl_control: KlControl::default(),
            kl_target: 0.1,
            kl_horizon: 10_000.0,
            reference: ReferenceKind::default(),
            reference_every: NonZeroU64::MIN.saturating_add(63),
            reference_decay: 0.4,
            entropy_coefficient: 0.0,
            z_loss_coefficient: 0.0,
            correction: CorrectionKind::default(),
            correction_low: 0.0,
            correction_high: 2.0,
            value_clip: None,
            overlong_filter: false,
            overlong_buffer: 0.0,
            overlong_penalty: 1.0,
            epochs: ONE,
            mini_batches: ONE,
            refills: 0,
        }
    }
}

/// Writes the keys that are read, and no other: a resolved recipe says what happens.
impl Serialize for AlgorithmConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        macro_rules! write {
            ($($key:ident)*) => {
                $(if self.unread(stringify!($key)).is_none() {
                    map.serialize_entry(stringify!($key), &self.$key)?;
                })*
            };
        }
        macro_rules! write_if_set {
            ($($key:ident)*) => {
                $(if let (Some(value), None) = (self.$key, self.unread(stringify!($key))) {
                    map.serialize_entry(stringify!($key), &value)?;
                })*
            };
        }
        write_if_set! { preset }
        write! {
            advantage scale scale_epsilon discount gae_lambda preference_beta preference_pairs tier_width
            accept_from
        }
        write_if_set! { accept_most }
        write! { entropy_shaping entropy_shaping_limit policy_loss dueling_alpha reference_gap ratio clip_low clip_high }
        write_if_set! { dual_clip ratio_cap }
        write! {
            soft_clip_positive soft_clip_negative vespo_power_positive vespo_decay_positive vespo_power_negative
            vespo_decay_negative probability_low probability_high drift_coefficient covariance_share
            covariance_coefficient top_entropy_share
        }
        write_if_set! { off_policy_threshold }
        write! { aggregation kl_coefficient kl }
        write_if_set! { kl_gradient }
        write! {
            kl_place kl_importance kl_control kl_target kl_horizon reference reference_every reference_decay
            entropy_coefficient z_loss_coefficient correction correction_low correction_high
        }
        write_if_set! { value_clip }
        write! { overlong_filter overlong_buffer overlong_penalty epochs mini_batches refills }
        map.end()
    }
}
