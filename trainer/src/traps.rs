//! Signs that a run teaches less than it seems to: a warning when one shows, once until it goes away.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::eval::Evaluation;
use crate::parting::Parting;
use crate::telemetry::Metrics;

/// Share of attempts cut off by the token limit above which length, not skill, decides.
const MOST_TRUNCATED: f64 = 0.2;
/// Share of groups without a signal above which most of the rollout is wasted.
const MOST_SILENT: f64 = 0.7;
/// Share of the first step's entropy below which a policy has stopped trying.
const LEAST_ENTROPY: f64 = 0.05;
/// Importance ratio above which an update is far from the policy that sampled.
const MOST_RATIO: f64 = 10.0;
/// Share of attempts lost to the infrastructure that is worth a look.
const MOST_LOST: f64 = 0.005;
/// Steps in a row with the same mean reward after which nothing is learnt.
const CONSTANT_STEPS: u32 = 20;

/// What earlier steps looked like. A checkpoint holds it, so that a resumed run warns of what one never stopped warns of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traps {
    first_entropy: Option<f64>,
    last_reward: Option<f64>,
    constant: u32,
    /// Whether the reward and the hidden tests part.
    parting: Parting,
    /// Those that showed in the last step.
    showing: BTreeSet<String>,
}

impl Traps {
    /// The warnings of a step with these metrics, for signs that did not show in the step before. `attempts` is the number
    /// of attempts that the step made.
    pub fn look(&mut self, metrics: &Metrics, attempts: usize) -> Vec<String> {
        let value = |name: &str| metrics.get(name).filter(|value| value.is_finite());
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        let mut found: Vec<(&'static str, String)> = Vec::new();
        if let Some(share) = value("completions/clipped_ratio").filter(|share| *share > MOST_TRUNCATED) {
            found.push((
                "truncation",
                format!(
                    "{} of the attempts reached the token limit: raise `rollout.max_tokens`, or set `algorithm.overlong_filter`",
                    percent(share)
                ),
            ));
        }
        if let Some(share) = value("frac_reward_zero_std").filter(|share| *share > MOST_SILENT) {
            found.push((
                "silence",
                format!(
                    "{} of the groups have attempts of one reward and teach nothing: choose easier or harder tasks, larger groups, or \
                     `algorithm.refills`",
                    percent(share)
                ),
            ));
        }
        if let Some(ratio) = value("ratio/max").filter(|ratio| *ratio > MOST_RATIO) {
            let message =
                format!("an importance ratio reached {ratio:.1}: fewer epochs, or a smaller learning rate");
            found.push(("ratio", message));
        }
        if let Some(lost) = value("exec/infra_error").filter(|lost| *lost > MOST_LOST * attempts as f64) {
            found.push((
                "infrastructure",
                format!("{lost} of {attempts} attempts have no verdict: see `samples/`"),
            ));
        }
        found.extend(self.entropy(value("entropy").filter(|entropy| *entropy > 0.0)));
        found.extend(self.constant_reward(value("reward")));
        found.extend(self.parting.step(metrics));

        let before =
            std::mem::replace(&mut self.showing, found.iter().map(|(sign, _)| (*sign).to_owned()).collect());
        found.retain(|(sign, _)| !before.contains(*sign));
        found.into_iter().map(|(_, message)| message).collect()
    }

    /// The warning of an evaluation on held-out tasks.
    pub fn evaluated(&mut self, evaluation: &Evaluation) -> Option<String> {
        // The smallest k: what a single attempt is worth.
        let single = evaluation.pass_at_k.iter().min_by_key(|found| found.k)?;
        self.parting.evaluated(single.mean, single.high)
    }

    fn entropy(&mut self, entropy: Option<f64>) -> Option<(&'static str, String)> {
        let entropy = entropy?;
        let first = *self.first_entropy.get_or_insert(entropy);
        (entropy < LEAST_ENTROPY * first).then(|| {
            let message = format!(
                "the entropy has fallen from {first:.3} to {entropy:.3} nats a token: the policy has stopped trying; a larger \
                 `algorithm.clip_high`, an `algorithm.entropy_coefficient`, or a smaller learning rate"
            );
            ("entropy", message)
        })
    }

    fn constant_reward(&mut self, reward: Option<f64>) -> Option<(&'static str, String)> {
        let reward = reward?;
        self.constant = if self.last_reward == Some(reward) { self.constant + 1 } else { 0 };
        self.last_reward = Some(reward);
        (self.constant + 1 >= CONSTANT_STEPS).then(|| {
            (
                "constant",
                format!(
                    "the mean reward was {reward} in {CONSTANT_STEPS} steps in a row: nothing changes it"
                ),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(values: &[(&str, f64)]) -> Metrics {
        let mut metrics = Metrics::new();
        for (name, value) in values {
            metrics.push(name, *value);
        }
        metrics
    }

    #[test]
    fn each_sign_is_told_when_it_shows_and_again_after_it_went_away() {
        for (name, bad, good) in [
            ("completions/clipped_ratio", 0.21, 0.2),
            ("frac_reward_zero_std", 0.71, 0.7),
            ("ratio/max", 10.1, 10.0),
            ("exec/infra_error", 2.0, 1.0),
        ] {
            let mut traps = Traps::default();
            let told =
                [good, bad, bad, good, bad].map(|value| traps.look(&metrics(&[(name, value)]), 200).len());
            assert_eq!(told, [0, 1, 0, 0, 1], "{name}");
        }
    }

    #[test]
    fn an_entropy_is_compared_with_the_first_one() {
        let mut traps = Traps::default();
        let told = [2.0, 0.101, 0.099].map(|value| traps.look(&metrics(&[("entropy", value)]), 8).len());
        assert_eq!(told, [0, 0, 1]);
    }

    #[test]
    fn a_reward_is_constant_after_twenty_equal_steps() {
        let mut traps = Traps::default();
        let mut told = |reward: f64| traps.look(&metrics(&[("reward", reward)]), 8).len();
        assert_eq!((0..19).map(|_| told(0.5)).sum::<usize>(), 0);
        assert_eq!((told(0.5), told(0.5), told(0.6), told(0.6)), (1, 0, 0, 0));
    }

    #[test]
    fn what_a_checkpoint_held_warns_as_what_it_held_would_have() {
        let step = |number: u64| {
            let time = number as f64;
            metrics(&[
                ("entropy", 2.0 / (1.0 + time * time)),
                ("reward", 0.2 + 0.01 * time),
                ("exec/pass_rate", 0.5 - 0.005 * time + 0.01 * (time % 3.0)),
                ("reward/passed_mean", 1.0),
                ("reward/failed_mean", if number > 40 { 2.0 } else { 0.0 }),
            ])
        };
        let told = |from: Traps, steps: std::ops::Range<u64>| {
            let mut traps = from;
            let told: Vec<_> = steps.map(|number| traps.look(&step(number), 8)).collect();
            (told, traps)
        };
        let (whole, last) = told(Traps::default(), 0..60);
        assert!(whole[5..].iter().flatten().count() >= 3, "{whole:?}");
        for cut in 1..60 {
            let (mut first, held) = told(Traps::default(), 0..cut);
            let text = serde_json::to_string(&held).unwrap();
            let (second, end) = told(serde_json::from_str(&text).unwrap(), cut..60);
            first.extend(second);
            assert_eq!(first, whole, "{cut}");
            assert_eq!(end, last);
        }
    }

    #[test]
    fn what_is_not_a_number_is_no_sign() {
        assert!(Traps::default().look(&metrics(&[("ratio/max", f64::NAN)]), 8).is_empty());
    }
}
