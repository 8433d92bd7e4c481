//! What an algorithm needs to be given besides tokens and rewards, so that nothing is computed that it does not use.

use super::{AdvantageEstimator, AlgorithmConfig, CorrectionKind, KlPlace, PolicyLoss};

impl AlgorithmConfig {
    /// Whether a run keeps a reference: because divergence from it costs something, or because attempts are compared by
    /// what they gained on it.
    pub fn needs_reference(&self) -> bool {
        let compares = [AdvantageEstimator::OnlineDpo, AdvantageEstimator::Conservative];
        self.kl_coefficient > 0.0 || compares.contains(&self.advantage)
    }

    /// Whether an update needs the entropy with its gradient, and not only for the metrics.
    pub fn trains_entropy(&self) -> bool {
        self.entropy_coefficient > 0.0
    }

    /// Whether the size of the softmax's denominator costs something.
    pub fn trains_log_sum(&self) -> bool {
        self.z_loss_coefficient > 0.0
    }

    /// Whether attempts of other weights than those that learn are made up for, by the loss itself or by a correction; or
    /// are imitated whoever made them.
    pub fn bears_staleness(&self) -> bool {
        self.policy_loss != PolicyLoss::Reinforce
            || self.correction != CorrectionKind::None
            || self.advantage == AdvantageEstimator::Rejection
    }

    /// Whether a token may have a gradient although its attempt's advantage is 0, so that no attempt may be left out of
    /// an update.
    pub fn trains_without_advantage(&self) -> bool {
        let divergence = self.kl_coefficient > 0.0 && self.kl_place == KlPlace::Loss;
        let drift =
            matches!(self.policy_loss, PolicyLoss::Dppo | PolicyLoss::Ipo) && self.drift_coefficient > 0.0;
        divergence
            || drift
            || self.trains_entropy()
            || self.trains_log_sum()
            || matches!(self.policy_loss, PolicyLoss::KlCov | PolicyLoss::Dueling)
            || self.advantage.is_per_token()
    }
}
