//! Which keys of `[algorithm]` the chosen variants read.

use super::{
    AdvantageEstimator, AlgorithmConfig, CorrectionKind, KlControl, KlPlace, PolicyLoss, PreferencePairs,
    ReferenceKind, Scale,
};

impl AlgorithmConfig {
    /// Why nothing reads `key`, as the setting that keeps it from being read, such as `policy_loss = "reinforce"`; `None`
    /// if it is read. A key that this section does not have counts as read.
    pub fn unread(&self, key: &str) -> Option<String> {
        let unless = |read: bool, reason: &dyn Fn() -> String| (!read).then(reason);
        let advantage = || format!("advantage = {}", quoted(self.advantage));
        let policy_loss = || format!("policy_loss = {}", quoted(self.policy_loss));
        let reference = || format!("reference = {}", quoted(self.reference));
        let kl_off = || "kl_coefficient = 0".to_owned();
        let of_loss = |readers: &[PolicyLoss]| unless(readers.contains(&self.policy_loss), &policy_loss);
        let of_kl = |read: bool, reason: &dyn Fn() -> String| {
            if self.kl_coefficient == 0.0 { Some(kl_off()) } else { unless(read, reason) }
        };
        match key {
            "scale" => unless(self.reads_scale(), &advantage),
            "scale_epsilon" if self.reads_scale() => {
                unless(self.scale != Scale::None, &|| "scale = \"none\"".to_owned())
            }
            "scale_epsilon" => unless(self.advantage == AdvantageEstimator::Gdpo, &advantage),
            "discount" => unless(self.advantage.is_per_token(), &advantage),
            "gae_lambda" => unless(self.advantage == AdvantageEstimator::Gae, &advantage),
            "value_clip" => unless(self.advantage.needs_critic(), &advantage),
            "dueling_alpha" => of_loss(&[PolicyLoss::Dueling, PolicyLoss::Gap]),
            "reference_gap" => of_loss(&[PolicyLoss::Dueling]),
            "preference_beta" | "preference_pairs" => {
                unless(self.advantage == AdvantageEstimator::OnlineDpo, &advantage)
            }
            "tier_width" if self.advantage == AdvantageEstimator::OnlineDpo => {
                unless(self.preference_pairs == PreferencePairs::Tiers, &|| {
                    "preference_pairs = \"best-worst\"".to_owned()
                })
            }
            "tier_width" => Some(advantage()),
            "accept_from" | "accept_most" => {
                unless(self.advantage == AdvantageEstimator::Rejection, &advantage)
            }
            "entropy_shaping_limit" => {
                unless(self.entropy_shaping > 0.0, &|| "entropy_shaping = 0".to_owned())
            }
            "clip_low" | "clip_high" => of_loss(&[PolicyLoss::Clip, PolicyLoss::Cispo, PolicyLoss::Gmpo]),
            "dual_clip" => of_loss(&[PolicyLoss::Clip]),
            "ratio_cap" => of_loss(&[PolicyLoss::Clip, PolicyLoss::CispoCapped]),
            "ratio" => unless(self.reads_ratio(), &policy_loss),
            "soft_clip_positive" | "soft_clip_negative" => of_loss(&[PolicyLoss::Sapo]),
            "vespo_power_positive"
            | "vespo_decay_positive"
            | "vespo_power_negative"
            | "vespo_decay_negative" => of_loss(&[PolicyLoss::Vespo]),
            "probability_low" | "probability_high" | "drift_coefficient" => {
                of_loss(&[PolicyLoss::Dppo, PolicyLoss::Ipo])
            }
            "covariance_share" | "covariance_coefficient" => of_loss(&[PolicyLoss::KlCov]),
            "kl" | "kl_place" | "kl_control" => of_kl(true, &kl_off),
            "reference" => unless(self.needs_reference(), &kl_off),
            "kl_gradient" | "kl_importance" => {
                of_kl(self.kl_place == KlPlace::Loss, &|| "kl_place = \"reward\"".to_owned())
            }
            "kl_target" | "kl_horizon" => {
                of_kl(self.kl_control == KlControl::Adaptive, &|| "kl_control = \"fixed\"".to_owned())
            }
            "reference_every" | "reference_decay" if !self.needs_reference() => Some(kl_off()),
            "reference_every" => {
                let follows = matches!(self.reference, ReferenceKind::Sync | ReferenceKind::Ema);
                unless(follows, &reference)
            }
            "reference_decay" => unless(self.reference == ReferenceKind::Ema, &reference),
            "correction_low" | "correction_high" => {
                unless(self.correction != CorrectionKind::None, &|| "correction = \"none\"".to_owned())
            }
            "overlong_penalty" => unless(self.overlong_buffer > 0.0, &|| "overlong_buffer = 0".to_owned()),
            _ => None,
        }
    }

    fn reads_scale(&self) -> bool {
        matches!(self.advantage, AdvantageEstimator::Grpo | AdvantageEstimator::PassAtK)
    }

    fn reads_ratio(&self) -> bool {
        let weighs_kl = self.kl_importance && self.kl_coefficient > 0.0 && self.kl_place == KlPlace::Loss;
        let of_loss = [PolicyLoss::Clip, PolicyLoss::Cispo, PolicyLoss::CispoCapped, PolicyLoss::Sapo];
        weighs_kl || of_loss.contains(&self.policy_loss)
    }
}

/// A variant as a recipe writes it.
fn quoted(variant: impl serde::Serialize) -> String {
    toml::Value::try_from(variant).map(|value| value.to_string()).expect("a variant is a text")
}
