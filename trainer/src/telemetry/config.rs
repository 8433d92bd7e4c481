//! `[telemetry]`: what a run tells beside its metrics.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[telemetry]`: what a run tells beside its metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// Whose names curves in TensorBoard have as well, so that a dashboard made for another trainer shows this run: `trl`, `verl`.
    /// Default `[]`: only the names of docs/metrics.md.
    pub aliases: Vec<Aliases>,
    /// Newest steps of which everything that the update read is kept, for `rltrain replay` and `rltrain diff`; 0 keeps nothing.
    /// Default 1000.
    pub record: u64,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { aliases: Vec::new(), record: 1000 }
    }
}

/// Another trainer's names of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Aliases {
    /// TRL's `GRPOTrainer`.
    Trl,
    /// verl.
    Verl,
}

/// Names of this program and those that verl has for the same numbers.
const VERL: [(&str, &str); 29] = [
    ("policy_loss", "actor/pg_loss"),
    ("entropy", "actor/entropy"),
    ("clip_ratio/region_mean", "actor/pg_clipfrac"),
    ("mismatch/kl", "actor/ppo_kl"),
    ("kl", "actor/kl_loss"),
    ("kl_coef", "actor/kl_coef"),
    ("grad_norm", "actor/grad_norm"),
    ("learning_rate", "actor/lr"),
    ("reward", "critic/score/mean"),
    ("advantage/mean", "critic/advantages/mean"),
    ("advantage/min", "critic/advantages/min"),
    ("advantage/max", "critic/advantages/max"),
    ("critic/return_mean", "critic/returns/mean"),
    ("critic/vpred_mean", "critic/values/mean"),
    ("critic/explained_var", "critic/vf_explained_var"),
    ("completions/mean_length", "response_length/mean"),
    ("completions/min_length", "response_length/min"),
    ("completions/max_length", "response_length/max"),
    ("completions/clipped_ratio", "response_length/clip_ratio"),
    ("episode/turns", "num_turns/mean"),
    ("time/rollout_seconds", "timing_s/gen"),
    ("time/execution_seconds", "timing_s/reward"),
    ("time/update_seconds", "timing_s/update_actor"),
    ("time/step_seconds", "timing_s/step"),
    ("time/evaluation_seconds", "timing_s/testing"),
    ("time/checkpoint_seconds", "timing_s/save_checkpoint"),
    ("mismatch/is_mean", "rollout_corr/rollout_is_mean"),
    ("mismatch/is_max", "rollout_corr/rollout_is_max"),
    ("mismatch/k3_kl", "rollout_corr/k3_kl"),
];

/// Those that TRL calls otherwise; most of this program's names are TRL's.
const TRL: [(&str, &str); 5] = [
    ("time/step_seconds", "step_time"),
    ("mismatch/logp_diff_mean", "sampling/sampling_logp_difference/mean"),
    ("mismatch/logp_diff_max", "sampling/sampling_logp_difference/max"),
    ("mismatch/is_mean", "sampling/importance_sampling_ratio/mean"),
    ("mismatch/is_max", "sampling/importance_sampling_ratio/max"),
];

impl TelemetryConfig {
    /// The other names of `name`.
    pub fn aliases_of(&self, name: &str) -> impl Iterator<Item = &'static str> {
        let tables = self.aliases.iter().map(|aliases| match aliases {
            Aliases::Trl => &TRL[..],
            Aliases::Verl => &VERL[..],
        });
        tables.flatten().filter(move |(ours, _)| *ours == name).map(|(_, theirs)| *theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An alias for a metric that does not exist would be a curve that nobody ever sees.
    #[test]
    fn every_alias_is_of_a_metric_that_the_manual_has() {
        let manual = include_str!("../../../docs/metrics.md");
        for (ours, theirs) in TRL.into_iter().chain(VERL) {
            let last = ours.rsplit('/').next().unwrap_or(ours);
            assert!(manual.contains(ours) || manual.contains(last), "{ours} ({theirs})");
        }
    }
}
