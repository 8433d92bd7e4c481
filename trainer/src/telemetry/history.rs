//! What a run has done so far, over all its interruptions: rewards, where the time went, and how much is to come.

use super::lines::Line;
use super::{EVALUATION_SECONDS, WALL_SECONDS};

/// Steps that the remaining time is estimated from.
const RECENT: usize = 10;

/// Where the time went, in seconds. Steps that were lost to an interruption are not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimeTotals {
    /// Sampling, with the executions that overlap it.
    pub rollout: f64,
    /// Waiting for verdicts after the last sample.
    pub execution: f64,
    /// Forward, backward and optimizer.
    pub update: f64,
    /// Evaluating on held-out tasks.
    pub evaluation: f64,
    /// Everything, from opening the telemetry to the last line written.
    pub wall: f64,
}

/// Rewards and times of a run from its first step on. Kept up by [`super::Telemetry`], rebuilt from `metrics.jsonl`
/// and `timings.jsonl` when a run resumes.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// `reward/mean` of every step.
    pub rewards: Vec<f64>,
    /// Where the time went.
    pub times: TimeTotals,
    /// Wall-clock seconds of every step, without evaluations.
    steps: Vec<f64>,
    /// `(step, wall-clock seconds)` of every evaluation.
    evaluations: Vec<(u64, f64)>,
}

impl History {
    /// Adds a line of `metrics.jsonl`.
    pub(super) fn add_metrics(&mut self, line: &Line) {
        self.rewards.extend(line.metrics.get("reward"));
    }

    /// Adds a line of `timings.jsonl`, which is of a step or of an evaluation.
    pub(super) fn add_timings(&mut self, line: &Line) {
        let seconds = |name| line.metrics.get(name).filter(|value: &f64| value.is_finite()).unwrap_or(0.0);
        let wall = seconds(WALL_SECONDS);
        self.times.rollout += seconds("time/rollout_seconds");
        self.times.execution += seconds("time/execution_seconds");
        self.times.update += seconds("time/update_seconds");
        self.times.evaluation += seconds(EVALUATION_SECONDS);
        self.times.wall += wall;
        if line.metrics.get(EVALUATION_SECONDS).is_some() {
            self.evaluations.push((line.step, wall));
        } else {
            self.steps.push(wall);
        }
    }

    /// Seconds until `steps` steps are done, `step` of them being done; `None` before the first step.
    ///
    /// A step takes what the last ten took on average. Evaluations are expected as far apart as the last two were, or
    /// at the end only, and to take as long as the last one.
    pub(super) fn remaining(&self, step: u64, steps: u64) -> Option<f64> {
        let recent = &self.steps[self.steps.len().saturating_sub(RECENT)..];
        if recent.is_empty() {
            return None;
        }
        let left = steps.saturating_sub(step);
        let per_step = recent.iter().sum::<f64>() / recent.len() as f64;
        let evaluations = match &self.evaluations[..] {
            [] => 0.0,
            [.., (before, _), (last, seconds)] if last > before => {
                steps.saturating_sub(*last).div_ceil(last - before) as f64 * seconds
            }
            [.., (last, seconds)] => f64::from(u8::from(steps > *last)) * seconds,
        };
        Some(left as f64 * per_step + evaluations)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    fn timings(step: u64, pairs: &[(&str, f64)]) -> Line {
        let mut metrics = Metrics::new();
        pairs.iter().for_each(|(name, value)| metrics.push(name, *value));
        Line { step, metrics }
    }

    fn step(step: u64, wall: f64) -> Line {
        timings(step, &[("time/rollout_seconds", wall / 2.0), (WALL_SECONDS, wall)])
    }

    fn evaluation(step: u64, wall: f64) -> Line {
        timings(step, &[(EVALUATION_SECONDS, wall), (WALL_SECONDS, wall)])
    }

    #[test]
    fn times_add_up() {
        let mut history = History::default();
        [evaluation(0, 30.0), step(1, 10.0), step(2, 12.0)].iter().for_each(|line| history.add_timings(line));
        let wanted = TimeTotals { rollout: 11.0, evaluation: 30.0, wall: 52.0, ..TimeTotals::default() };
        assert_eq!(history.times, wanted);
    }

    #[test]
    fn the_remaining_time_counts_recent_steps_and_evaluations_to_come() {
        let mut history = History::default();
        assert_eq!(history.remaining(0, 50), None);
        history.add_timings(&step(1, 1000.0));
        (2..=20).for_each(|at| history.add_timings(&step(at, 10.0)));
        assert_eq!(history.remaining(20, 50), Some(300.0), "old steps do not count");
        history.add_timings(&evaluation(0, 60.0));
        assert_eq!(history.remaining(20, 50), Some(360.0), "the last evaluation is to come");
        history.add_timings(&evaluation(20, 60.0));
        assert_eq!(history.remaining(20, 50), Some(420.0), "at step 40 and at the end");
        history.add_timings(&evaluation(50, 60.0));
        assert_eq!(history.remaining(50, 50), Some(0.0));
    }
}
