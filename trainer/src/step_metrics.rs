//! The metrics of one step, by the names users know. `docs/metrics.md` defines each by its formula.

use std::time::{Duration, Instant};

use crate::execution::Verdicts;
use crate::optim::UpdateReport;
use crate::rollout::{Finish, Group};
use crate::scoring::Scores;
use crate::telemetry::Metrics;

/// Where one step's time goes.
pub struct StepTimes {
    start: Instant,
    /// Sampling, executions overlapping it included.
    pub rollout: Duration,
    /// Waiting for verdicts after the last sample.
    pub execution: Duration,
    /// Forward, backward and optimizer.
    pub update: Duration,
}

impl StepTimes {
    /// Starts the clock of a step.
    pub fn start() -> StepTimes {
        let zero = Duration::ZERO;
        StepTimes { start: Instant::now(), rollout: zero, execution: zero, update: zero }
    }

    /// Runs and times the rollout.
    pub fn rollout<T>(&mut self, work: impl FnOnce() -> T) -> T {
        timed(&mut self.rollout, work)
    }

    /// Runs and times the wait for verdicts.
    pub fn execution<T>(&mut self, work: impl FnOnce() -> T) -> T {
        timed(&mut self.execution, work)
    }

    /// Runs and times the update.
    pub fn update<T>(&mut self, work: impl FnOnce() -> T) -> T {
        timed(&mut self.update, work)
    }
}

fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *total += start.elapsed();
    result
}

/// `(metrics, timings)` of a step. Metrics are a function of the recipe alone; timings depend on the machine, so they
/// are kept apart and an interrupted run's `metrics.jsonl` equals an uninterrupted one's byte for byte.
pub fn step_metrics(
    groups: &[Group],
    verdicts: &Verdicts,
    scores: &Scores,
    update: &UpdateReport,
    learning_rate: f64,
    times: &StepTimes,
    now: Instant,
) -> (Metrics, Metrics) {
    let mut metrics = Metrics::new();
    add_rewards(&mut metrics, scores);
    add_rollout(&mut metrics, groups, verdicts);
    metrics.push("policy/loss", update.loss);
    metrics.push("policy/entropy", update.entropy);
    metrics.push("policy/clip_fraction_low", update.clip_fraction_low);
    metrics.push("policy/clip_fraction_high", update.clip_fraction_high);
    metrics.push("policy/ratio_mean", update.ratio_mean);
    metrics.push("policy/rollout_logprob_difference", update.logprob_difference);
    metrics.push("optim/gradient_norm", update.gradient_norm);
    metrics.push("optim/skipped", f64::from(u8::from(update.skipped)));
    metrics.push("optim/learning_rate", learning_rate);
    metrics.push("optim/trained_tokens", update.trained_tokens as f64);
    (metrics, timings(groups, update, times, now))
}

fn add_rewards(metrics: &mut Metrics, scores: &Scores) {
    let all: Vec<f64> = scores.rewards.iter().flatten().flatten().copied().collect();
    let (mean, deviation) = mean_and_deviation(&all);
    metrics.push("reward/mean", mean);
    metrics.push("reward/std", deviation);
    for (name, values) in &scores.parts {
        metrics.push(&format!("reward/{name}/mean"), mean_and_deviation(values).0);
    }
    let groups = scores.rewards.len().max(1) as f64;
    let silent = scores.rewards.iter().filter(|rewards| !crate::algorithm::has_signal(rewards)).count();
    metrics.push("reward/zero_signal_groups", silent as f64 / groups);
    metrics.push("rollout/pass_rate", scores.solved as f64 / scores.with_verdict.max(1) as f64);
    metrics.push("executor/lost", scores.lost as f64);
}

fn add_rollout(metrics: &mut Metrics, groups: &[Group], verdicts: &Verdicts) {
    let completions: Vec<_> = groups.iter().flat_map(|group| &group.completions).collect();
    let count = completions.len().max(1) as f64;
    let tokens: usize = completions.iter().map(|completion| completion.tokens.len()).sum();
    let truncated = completions.iter().filter(|completion| completion.finish == Finish::Length).count();
    metrics.push("rollout/completion_length_mean", tokens as f64 / count);
    metrics.push("rollout/truncated_share", truncated as f64 / count);
    let judged: Vec<_> = verdicts.groups.iter().flatten().flatten().collect();
    let share = |wanted: &dyn Fn(&rltrain_executor::Verdict) -> bool| {
        judged.iter().filter(|verdict| wanted(verdict)).count() as f64 / judged.len().max(1) as f64
    };
    let loads = |verdict: &rltrain_executor::Verdict| verdict.load.passed();
    metrics.push("executor/loaded_share", share(&loads));
    metrics.push("executor/denied_share", share(&|verdict| !verdict.denied.is_empty()));
}

fn timings(groups: &[Group], update: &UpdateReport, times: &StepTimes, now: Instant) -> Metrics {
    let sampled: usize =
        groups.iter().flat_map(|group| &group.completions).map(|completion| completion.tokens.len()).sum();
    let mut timings = Metrics::new();
    timings.push("time/rollout_seconds", times.rollout.as_secs_f64());
    timings.push("time/execution_seconds", times.execution.as_secs_f64());
    timings.push("time/update_seconds", times.update.as_secs_f64());
    timings.push("time/step_seconds", now.duration_since(times.start).as_secs_f64());
    timings.push("rollout/tokens_per_second", sampled as f64 / times.rollout.as_secs_f64().max(1e-9));
    timings.push(
        "optim/tokens_per_second",
        update.computed_tokens as f64 / times.update.as_secs_f64().max(1e-9),
    );
    timings
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    if values.is_empty() {
        return (0.0, 0.0);
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt())
}
