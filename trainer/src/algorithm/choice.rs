//! What the keys of `[algorithm]` choose between.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How rewards become advantages; formulas at [`super::advantages`] and [`super::token_advantages`].
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
    /// Reward minus that of the greedy attempt, which is sampled for this alone.
    Remax,
    /// Reward minus the group's mean weighted by length: the baseline of least variance if long attempts move the
    /// weights more.
    Opo,
    /// As `dr-grpo`, scaled up to make up for groups that teach nothing.
    Gpg,
    /// Reward minus the group's mean, divided by that mean: hard tasks count most.
    MaxRl,
    /// The best attempt gets its lead on the second best, the others nothing: what raises pass@k.
    PassAtK,
    /// Each reward compared on its own before they are added up, then scaled over the step.
    Gdpo,
    /// The best attempt against the worst, until it has gained enough on the reference: online DPO, with
    /// `policy_loss = "reinforce"` and `aggregation = "sequence-mean-token-sum"`.
    OnlineDpo,
    /// 1 for attempts whose reward is at least `accept_from`; the others are left out. Expert iteration, with
    /// `policy_loss = "reinforce"`.
    Rejection,
    /// The return, whitened over all tokens of the step; no group is compared.
    ReinforcePlusPlus,
    /// Reward minus the group's mean, whitened over all tokens of the step.
    ReinforcePlusPlusBaseline,
    /// The return minus a baseline for each place in the group's attempts.
    OptimalTokenBaseline,
    /// Generalised advantage estimation over a critic's values, whitened: PPO.
    Gae,
    /// How far the target of a token's value is above what its state is worth, where the target's next token is the first policy's
    /// likeliest: B-Coder, with `policy_loss = "dueling"`.
    Conservative,
}

/// Which attempts of a group are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PreferencePairs {
    /// The best and the worst.
    #[default]
    BestWorst,
    /// Every two in different tiers of reward.
    Tiers,
}

/// What centred rewards are divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// The standard deviation of the group's rewards.
    #[default]
    Group,
    /// The standard deviation of all rewards of the step.
    Batch,
    /// Nothing.
    None,
}

/// What is minimised; formulas in `policy_loss/`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyLoss {
    /// PPO's clipped surrogate; with `ratio = "sequence"` GSPO's.
    #[default]
    Clip,
    /// The weight of each token's gradient is clipped on both sides, as in MiniMax-M1.
    Cispo,
    /// The weight of each token's gradient is capped at `ratio_cap`, as in ScaleRL and TRL.
    CispoCapped,
    /// A smooth gate in the place of the clip.
    Sapo,
    /// The geometric mean of a sequence's clipped ratios.
    Gmpo,
    /// A smooth weight from a sequence's whole ratio.
    Vespo,
    /// Tokens whose probability has moved too far are left out, by the direction they are pushed in.
    Dppo,
    /// Tokens whose probability has moved too far are left out.
    Ipo,
    /// No clip, and a divergence on the tokens that would make the entropy collapse.
    KlCov,
    /// No ratio: the advantage times the logprob.
    Reinforce,
    /// No ratio: the squared difference of the advantage from how far the token is below the likeliest one.
    Dueling,
    /// No ratio: the advantage times how far the token is below the likeliest one.
    Gap,
}

/// What an importance ratio is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RatioLevel {
    /// Each token.
    #[default]
    Token,
    /// The geometric mean over a sequence's tokens.
    Sequence,
    /// The product over a sequence's tokens: its ratio of probabilities, of which a long sequence's is far from 1.
    SequenceProduct,
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
    /// The mean over attempts of the sum over their tokens.
    SequenceMeanTokenSum,
    /// The same, divided by `rollout.max_tokens`: Dr. GRPO's.
    ConstantLength,
}

/// An estimator of divergence; formulas at [`super::kl`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KlEstimator {
    /// The log-ratio.
    K1,
    /// Half its square.
    K2,
    /// Unbiased and never negative.
    #[default]
    K3,
    /// Its absolute value.
    Abs,
}

/// Where divergence is paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KlPlace {
    /// In the loss of each token.
    #[default]
    Loss,
    /// In the reward: of each token where the estimator tells tokens apart, else of the attempt.
    Reward,
}

/// Whether the coefficient of the divergence changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KlControl {
    /// It does not.
    #[default]
    Fixed,
    /// It steers for a target.
    Adaptive,
}

/// What divergence is measured from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReferenceKind {
    /// A copy of the first policy.
    #[default]
    Frozen,
    /// The policy with its adapters switched off.
    LoraOff,
    /// A copy of the policy, made anew every `reference_every` steps.
    Sync,
    /// A moving average of the policy, every `reference_every` steps.
    Ema,
}

/// What is done about rollout and trainer not computing the same; formulas at [`super::correction`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CorrectionKind {
    /// Nothing.
    #[default]
    None,
    /// Each token's loss is weighted by its ratio, between the bounds.
    TokenTis,
    /// Each token's loss is weighted by its sequence's ratio, between the bounds.
    SequenceTis,
    /// Each token's loss is weighted by its ratio, and by 0 outside the bounds.
    Icepop,
    /// Each token's loss is weighted by its sequence's ratio, and by 0 outside the bounds.
    SequenceMask,
    /// Sequences whose geometric mean ratio is outside the bounds are left out; the others are not weighted.
    GeometricRejection,
}
