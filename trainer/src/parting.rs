//! Whether the reward and the hidden tests part: the reward rises and fewer attempts pass, here or on held-out tasks, or those that
//! fail earn more than those that pass. Then the policy learns something else than the tasks.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::telemetry::Metrics;

/// Steps whose mean is compared with that of as many steps before.
const WINDOW: usize = 20;
/// Standard errors by which a mean has to move so that chance does not explain it.
const CLEARLY: f64 = 2.0;
/// Steps in a row in which failing earns more than passing.
const UPSIDE_DOWN_STEPS: u32 = 3;

/// What to do about it.
const REMEDY: &str =
    "`rltrain audit-reward` shows what can be had without solving a task, and `samples/` what is tried";

/// What earlier steps looked like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parting {
    /// Mean reward and share of attempts that pass, of the last steps.
    steps: VecDeque<(f64, f64)>,
    upside_down: u32,
    /// Mean rewards since the last evaluation.
    since: Vec<f64>,
    last: Option<Evaluated>,
}

/// An evaluation: what it found, and the mean reward of the steps that led to it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Evaluated {
    pass: f64,
    reward: f64,
}

impl Parting {
    /// The warnings of a step with these metrics, each with the name of its sign.
    pub fn step(&mut self, metrics: &Metrics) -> Vec<(&'static str, String)> {
        let value = |name: &str| metrics.get(name).filter(|value| value.is_finite());
        let mut found = Vec::new();
        found.extend(self.upside_down(value("reward/passed_mean"), value("reward/failed_mean")));
        if let (Some(reward), Some(pass)) = (value("reward"), value("exec/pass_rate")) {
            self.since.push(reward);
            self.steps.push_back((reward, pass));
            if self.steps.len() > 2 * WINDOW {
                self.steps.pop_front();
            }
            found.extend(self.trend());
        }
        found
    }

    fn upside_down(&mut self, passed: Option<f64>, failed: Option<f64>) -> Option<(&'static str, String)> {
        let (passed, failed) = passed.zip(failed)?;
        self.upside_down = if failed > passed { self.upside_down + 1 } else { 0 };
        (self.upside_down >= UPSIDE_DOWN_STEPS).then(|| {
            let message = format!(
                "attempts that fail hidden tests earn {failed:.3}, those that pass {passed:.3}: {REMEDY}"
            );
            ("upside down", message)
        })
    }

    fn trend(&self) -> Option<(&'static str, String)> {
        if self.steps.len() < 2 * WINDOW {
            return None;
        }
        let rewards = Change::of(self.steps.iter().map(|(reward, _)| *reward));
        let passes = Change::of(self.steps.iter().map(|(_, pass)| *pass));
        (rewards.errors() > CLEARLY && passes.errors() < -CLEARLY).then(|| {
            let message = format!(
                "over {WINDOW} steps the mean reward rose from {:.3} to {:.3}, and the share of attempts that pass the hidden \
                 tests fell from {:.3} to {:.3}: {REMEDY}",
                rewards.before, rewards.after, passes.before, passes.after
            );
            ("parting", message)
        })
    }

    /// The warning of an evaluation on held-out tasks: its mean, and the upper end of its interval.
    pub fn evaluated(&mut self, pass: f64, high: f64) -> Option<String> {
        let rewards = std::mem::take(&mut self.since);
        let reward = rewards.iter().sum::<f64>() / rewards.len().max(1) as f64;
        let before = self.last.replace(Evaluated { pass, reward });
        let before = before.filter(|before| reward > before.reward && high < before.pass)?;
        (!rewards.is_empty()).then(|| {
            format!(
                "since the last evaluation the mean reward rose from {:.3} to {reward:.3}, and the pass rate on held-out tasks fell \
                 from {:.3} to {pass:.3}: {REMEDY}",
                before.reward, before.pass
            )
        })
    }
}

/// How the mean of a series moved from its first half to its second.
struct Change {
    before: f64,
    after: f64,
    /// Variance of the difference.
    variance: f64,
}

impl Change {
    fn of(series: impl Iterator<Item = f64>) -> Change {
        let series: Vec<f64> = series.collect();
        let (first, second) = series.split_at(series.len() / 2);
        let moments = |part: &[f64]| {
            let n = part.len() as f64;
            let mean = part.iter().sum::<f64>() / n;
            (mean, part.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0) / n)
        };
        let ((before, one), (after, other)) = (moments(first), moments(second));
        Change { before, after, variance: one + other }
    }

    /// The difference in standard errors.
    fn errors(&self) -> f64 {
        (self.after - self.before) / self.variance.sqrt().max(1e-12)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(values: &[(&str, f64)]) -> Metrics {
        let mut metrics = Metrics::new();
        values.iter().for_each(|(name, value)| metrics.push(name, *value));
        metrics
    }

    /// Warnings of sixty steps whose reward and pass rate move by this much a step, with some noise.
    fn warnings(reward: f64, pass: f64) -> usize {
        let mut parting = Parting::default();
        let step = |step: i32| {
            let (time, noise) = (f64::from(step), f64::from(step % 3) * 0.01);
            metrics(&[("reward", 0.2 + reward * time + noise), ("exec/pass_rate", 0.5 + pass * time - noise)])
        };
        (0..60).map(|number| parting.step(&step(number)).len()).sum()
    }

    #[test]
    fn a_reward_that_rises_while_fewer_pass_is_told() {
        assert!(warnings(0.01, -0.005) > 0);
        for (reward, pass) in [(0.01, 0.005), (-0.01, -0.005), (0.0, -0.005), (0.01, 0.0)] {
            assert_eq!(warnings(reward, pass), 0, "{reward} {pass}");
        }
    }

    #[test]
    fn failing_that_pays_more_than_passing_is_told_after_three_steps() {
        let mut parting = Parting::default();
        let mut told = |failed: f64| {
            parting.step(&metrics(&[("reward/passed_mean", 1.0), ("reward/failed_mean", failed)])).len()
        };
        assert_eq!([2.0, 2.0, 2.0, 0.5, 2.0, f64::NAN].map(&mut told), [0, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn held_out_tasks_that_get_worse_while_the_reward_rises_are_told() {
        let mut parting = Parting::default();
        let mut told = |reward: f64, pass: f64| {
            parting.step(&metrics(&[("reward", reward), ("exec/pass_rate", 0.5)]));
            parting.evaluated(pass, pass + 0.05).is_some()
        };
        assert!(!told(0.1, 0.5) && !told(0.2, 0.48) && told(0.3, 0.4) && !told(0.2, 0.2));
    }
}
