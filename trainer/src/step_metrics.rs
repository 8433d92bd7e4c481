//! The metrics of one step, by the names users know. `docs/metrics.md` defines each by its formula.

use std::time::{Duration, Instant};

use rltrain_executor::Verdict;
use rltrain_rewards::Part;
use serde::{Deserialize, Serialize};

use crate::algorithm::has_signal;
use crate::attempts::Attempts;
use crate::learn::{LearnReport, Spread};
use crate::memory::resident_peak_bytes;
use crate::rollout::{Completion, Finish};
use crate::tasks::TaskSet;
use crate::telemetry::{Extra, Metrics, Phases};

/// Where one step's time goes, shown to the user as it goes.
pub struct StepTimes {
    start: Instant,
    phases: Phases,
    /// Sampling, executions overlapping it included.
    pub rollout: Duration,
    /// Waiting for verdicts after the last sample.
    pub execution: Duration,
    /// Forward, backward and optimizer.
    pub update: Duration,
}

impl StepTimes {
    /// Starts the clock of a step.
    pub fn start(phases: Phases) -> StepTimes {
        let zero = Duration::ZERO;
        StepTimes { start: Instant::now(), phases, rollout: zero, execution: zero, update: zero }
    }

    /// Shows what goes on, without a clock.
    pub fn show(&self, phase: &str) {
        self.phases.show(phase);
    }

    /// Where to say what cannot wait for the end of the step.
    pub fn notices(&self) -> Phases {
        self.phases.clone()
    }

    /// Runs and times the rollout.
    pub fn rollout<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.phases.show("rollout");
        timed(&mut self.rollout, work)
    }

    /// Runs and times the wait for verdicts.
    pub fn execution<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.phases.show("execution");
        timed(&mut self.execution, work)
    }

    /// Runs and times the update.
    pub fn update<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.phases.show("update");
        timed(&mut self.update, work)
    }

    /// Takes over where the time of the next step's attempts went, made beside this step's update.
    pub fn beside(&mut self, attempts: &StepTimes) {
        (self.rollout, self.execution) = (attempts.rollout, attempts.execution);
    }
}

/// How long one of several processes was busy in a step, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Busy {
    /// Sampling and waiting for its own verdicts.
    pub attempts: f64,
    /// Forward, backward and optimizer, with what is exchanged there.
    pub update: f64,
    /// In collectives, waiting for slower processes included.
    pub communication: f64,
    /// The step so far.
    pub step: f64,
}

impl Busy {
    /// Of this process, which has `communicated` for so long in the step.
    pub fn of(times: &StepTimes, communicated: Duration) -> Busy {
        Busy {
            attempts: (times.rollout + times.execution).as_secs_f64(),
            update: times.update.as_secs_f64(),
            communication: communicated.as_secs_f64(),
            step: times.start.elapsed().as_secs_f64(),
        }
    }

    /// Adds what all processes say to the timings of a step. The slowest is the one that waited least for others.
    pub fn report(all: &[Busy], timings: &mut Metrics) {
        let of = |value: fn(&Busy) -> f64| Spread::of_numbers(&all.iter().map(value).collect::<Vec<_>>());
        let (attempts, update) = (of(|busy| busy.attempts), of(|busy| busy.update));
        let communication = of(|busy| busy.communication / busy.step.max(f64::MIN_POSITIVE));
        timings.push("ranks/attempts_seconds_max", attempts.max);
        timings.push("ranks/attempts_seconds_mean", attempts.mean);
        timings.push("ranks/update_seconds_max", update.max);
        timings.push("ranks/communication_share", communication.mean);
        timings.push("ranks/communication_share_min", communication.min);
        let waited = |rank: &usize| all[*rank].communication;
        let slowest = (0..all.len()).min_by(|one, other| waited(one).total_cmp(&waited(other)));
        timings.push("ranks/slowest", slowest.unwrap_or(0) as f64);
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
    attempts: &Attempts,
    most_turns: usize,
    learnt: &LearnReport,
    times: &StepTimes,
    now: Instant,
) -> (Metrics, Metrics) {
    let mut metrics = Metrics::new();
    add_rewards(&mut metrics, attempts);
    add_completions(&mut metrics, attempts);
    add_executions(&mut metrics, attempts);
    if most_turns > 1 {
        add_episodes(&mut metrics, attempts, most_turns);
    }
    add_update(&mut metrics, learnt);
    if let Some(told) = &learnt.verifier {
        told.push_to(&mut metrics);
    }
    (metrics, timings(attempts, learnt, times, now))
}

/// Longest text that a step shows, in characters.
const SHOWN_CHARACTERS: usize = 4000;

/// What a step shows in TensorBoard beside its curves: how rewards, lengths, shares of tests and advantages are spread, and the best
/// and the worst attempt in words, of `tasks`. The first of equal ones.
pub fn shown(attempts: &Attempts, learnt: &LearnReport, tasks: &TaskSet) -> Vec<Extra> {
    let completions = || attempts.groups.iter().flat_map(|group| &group.completions);
    let rewards = || attempts.scores.rewards.iter().flatten();
    let judged = attempts.verdicts.groups.iter().flatten().flatten();
    let advantages = learnt.recorded.columns.iter().flat_map(|columns| &columns.advantages);
    let mut extras = vec![
        Extra::Histogram("spread/reward", rewards().flatten().copied().collect()),
        Extra::Histogram(
            "spread/completion_length",
            completions().map(|one| one.tokens.len() as f64).collect(),
        ),
        Extra::Histogram(
            "spread/tests_passed",
            judged.map(|verdict| share(verdict.passed(), verdict.total())).collect(),
        ),
        Extra::Histogram(
            "spread/advantage",
            advantages.map(|bits| f64::from(f32::from_bits(*bits))).collect(),
        ),
    ];
    let ids =
        || attempts.groups.iter().flat_map(|group| vec![&tasks[group.task].id; group.completions.len()]);
    let tried = || ids().zip(completions()).zip(rewards());
    let scored = || tried().filter_map(|(attempt, reward)| Some((attempt, (*reward)?)));
    let best = scored().reduce(|best, next| if next.1 > best.1 { next } else { best });
    let worst = scored().reduce(|worst, next| if next.1 < worst.1 { next } else { worst });
    for (tag, found) in [("samples/best", best), ("samples/worst", worst)] {
        extras.extend(found.map(|((id, completion), reward)| {
            let text: String = completion.text.chars().take(SHOWN_CHARACTERS).collect();
            let lines = text.lines().map(|line| format!("    {line}\n")).collect::<String>();
            Extra::Text(tag, format!("reward {reward}, task `{id}`\n\n{lines}"))
        }));
    }
    extras
}

fn add_rewards(metrics: &mut Metrics, attempts: &Attempts) {
    let scores = &attempts.scores;
    let all: Vec<f64> = scores.rewards.iter().flatten().flatten().copied().collect();
    let spread = Spread::of_numbers(&all);
    metrics.push("reward", spread.mean);
    metrics.push("reward_std", spread.std);
    let of = |wanted: bool| -> f64 {
        let scored = scores.rewards.iter().flatten().zip(attempts.verdicts.groups.iter().flatten());
        let passed = |verdict: &Result<Verdict, _>| verdict.as_ref().is_ok_and(Verdict::all_passed) == wanted;
        let rewards: Vec<f64> =
            scored.filter(|(_, verdict)| passed(verdict)).filter_map(|(reward, _)| *reward).collect();
        // There is no mean of nothing.
        if rewards.is_empty() { f64::NAN } else { Spread::of_numbers(&rewards).mean }
    };
    metrics.push("reward/passed_mean", of(true));
    metrics.push("reward/failed_mean", of(false));
    add_parts(metrics, attempts);
    let groups = scores.rewards.len();
    let silent = scores.rewards.iter().filter(|rewards| !has_signal(rewards)).count();
    metrics.push("frac_reward_zero_std", share(silent, groups));
    let solved = |wanted: &dyn Fn(usize, usize) -> bool| {
        let counts = attempts.verdicts.groups.iter().map(|verdicts| {
            let judged = verdicts.iter().flatten();
            (judged.clone().filter(|verdict| verdict.all_passed()).count(), judged.count())
        });
        share(counts.filter(|(passed, judged)| wanted(*passed, *judged)).count(), groups)
    };
    metrics.push("solved/none", solved(&|passed, _| passed == 0));
    metrics.push("solved/some", solved(&|passed, judged| passed > 0 && passed < judged));
    metrics.push("solved/all", solved(&|passed, judged| passed > 0 && passed == judged));
}

/// A stage of a part: what its metrics are called after the name of the reward, its value, and whether it is one for want of a
/// score.
type Stage = (&'static str, fn(&Part) -> Option<f64>, fn(&Part) -> bool);

/// From the reward's own score, which has the names that TRL gives it, to what it adds to the total, which is 0 where there is no
/// score: the means of that add up to the mean of the total.
const STAGES: [Stage; 3] = [
    ("", |part| part.raw, |part| part.raw.is_none()),
    ("shaped/", |part| part.shaped, |part| part.shaped.is_none()),
    ("effective/", |part| Some(part.effective), |part| part.shaped.is_none()),
];

/// Mean, deviation and share of None of every reward at every stage.
fn add_parts(metrics: &mut Metrics, attempts: &Attempts) {
    let scored: Vec<&Vec<Part>> =
        attempts.scores.parts.iter().flatten().filter(|parts| !parts.is_empty()).collect();
    let Some(names) = scored.first() else { return };
    for (place, Part { name, .. }) in names.iter().enumerate() {
        for (stage, value, is_none) in STAGES {
            let values: Vec<f64> = scored.iter().filter_map(|parts| value(&parts[place])).collect();
            let spread = Spread::of_numbers(&values);
            metrics.push(&format!("rewards/{name}/{stage}mean"), spread.mean);
            metrics.push(&format!("rewards/{name}/{stage}std"), spread.std);
            let missing = scored.iter().filter(|parts| is_none(&parts[place])).count();
            metrics.push(&format!("rewards/{name}/{stage}none_rate"), share(missing, scored.len()));
        }
    }
}

fn add_completions(metrics: &mut Metrics, attempts: &Attempts) {
    let completions = || attempts.groups.iter().flat_map(|group| &group.completions);
    let lengths = |wanted: &dyn Fn(&Completion) -> bool| -> Spread {
        let lengths = completions().filter(|completion| wanted(completion));
        Spread::of_numbers(&lengths.map(|completion| completion.tokens.len() as f64).collect::<Vec<_>>())
    };
    let terminated = |completion: &Completion| completion.finish != Finish::Length;
    let all = lengths(&|_| true);
    metrics.push("completions/mean_length", all.mean);
    metrics.push("completions/min_length", all.min);
    metrics.push("completions/max_length", all.max);
    let ended = lengths(&terminated);
    metrics.push("completions/mean_terminated_length", ended.mean);
    metrics.push("completions/min_terminated_length", ended.min);
    metrics.push("completions/max_terminated_length", ended.max);
    metrics.push(
        "completions/tokens",
        completions().map(|completion| completion.tokens.len()).sum::<usize>() as f64,
    );
    let clipped = completions().filter(|completion| !terminated(completion)).count();
    metrics.push("completions/clipped_ratio", share(clipped, completions().count()));
}

fn add_executions(metrics: &mut Metrics, attempts: &Attempts) {
    let judged: Vec<&Verdict> = attempts.verdicts.groups.iter().flatten().flatten().collect();
    let of_judged = |wanted: &dyn Fn(&Verdict) -> bool| {
        share(judged.iter().filter(|verdict| wanted(verdict)).count(), judged.len())
    };
    metrics.push("exec/pass_rate", of_judged(&Verdict::all_passed));
    let fractions: Vec<f64> = judged.iter().map(|verdict| share(verdict.passed(), verdict.total())).collect();
    metrics.push("exec/tests_passed_frac", Spread::of_numbers(&fractions).mean);
    metrics.push("exec/loaded", of_judged(&|verdict| verdict.load.passed()));
    metrics.push("exec/denied", of_judged(&|verdict| !verdict.denied.is_empty()));
    let facts = attempts.facts.iter().flatten().zip(attempts.verdicts.groups.iter().flatten());
    let bypassing = facts.filter(|(facts, verdict)| verdict.is_ok() && !facts.bypass.is_empty()).count();
    metrics.push("exec/bypass_rate", share(bypassing, judged.len()));
    metrics.push("exec/infra_error", attempts.scores.lost as f64);
}

fn add_episodes(metrics: &mut Metrics, attempts: &Attempts, most_turns: usize) {
    let completions = || attempts.groups.iter().flat_map(|group| &group.completions);
    let turns: Vec<f64> = completions().map(|completion| completion.turns() as f64).collect();
    metrics.push("episode/turns", Spread::of_numbers(&turns).mean);
    let said = completions().flat_map(|completion| &completion.interjections);
    metrics.push("episode/feedback_tokens", said.map(|said| said.tokens.len()).sum::<usize>() as f64);
    metrics.push("episode/prefill_computed", attempts.prefill.computed as f64);
    metrics.push("episode/prefill_reused", attempts.prefill.reused as f64);
    // The last turn is judged by hidden tests alone.
    for turn in 1..most_turns {
        let judged = || completions().filter_map(|completion| completion.public_passes.get(turn - 1));
        let passed = judged().filter(|passed| **passed).count();
        metrics.push(&format!("episode/public_pass/turn_{turn}"), share(passed, judged().count()));
    }
    let verdicts = attempts.verdicts.groups.iter().flatten();
    let ended: Vec<_> = completions()
        .zip(verdicts)
        .filter_map(|(completion, verdict)| Some((completion.turns(), verdict.as_ref().ok()?.all_passed())))
        .collect();
    for turn in 1..=most_turns {
        let solved = ended.iter().filter(|ended| **ended == (turn, true)).count();
        metrics.push(&format!("episode/solved/turn_{turn}"), share(solved, ended.len()));
    }
}

/// Adds what the update did.
pub fn add_update(metrics: &mut Metrics, learnt: &LearnReport) {
    add_policy(metrics, learnt);
    add_critic(metrics, learnt);
}

fn add_policy(metrics: &mut Metrics, learnt: &LearnReport) {
    let LearnReport { update, first, advantages, .. } = learnt;
    let tokens = &update.tokens;
    metrics.push("loss", update.loss);
    metrics.push("policy_loss", tokens.policy_loss);
    metrics.push("entropy", tokens.entropy);
    if let Some(loss) = update.supervised {
        metrics.push("supervised_loss", loss);
    }
    if let Some(kl) = learnt.kl {
        metrics.push("kl", kl);
        metrics.push("kl_coef", learnt.kl_coefficient);
    }
    metrics.push("clip_ratio/low_mean", tokens.clip_low);
    metrics.push("clip_ratio/high_mean", tokens.clip_high);
    metrics.push("clip_ratio/region_mean", tokens.clip_low + tokens.clip_high);
    metrics.push("ratio/mean", tokens.ratio_mean);
    metrics.push("ratio/min", tokens.ratio_min);
    metrics.push("ratio/max", tokens.ratio_max);
    metrics.push("advantage/mean", advantages.mean);
    metrics.push("advantage/std", advantages.std);
    metrics.push("advantage/min", advantages.min);
    metrics.push("advantage/max", advantages.max);
    metrics.push("mismatch/logp_diff_mean", first.tokens.drift);
    metrics.push("mismatch/logp_diff_max", first.tokens.drift_max);
    metrics.push("mismatch/kl", first.tokens.drift_k1);
    metrics.push("mismatch/k3_kl", first.tokens.drift_k3);
    metrics.push("mismatch/is_mean", tokens.correction_mean);
    metrics.push("mismatch/is_max", tokens.correction_max);
    metrics.push("mismatch/masked_frac", tokens.correction_bounded);
    metrics.push("grad_norm", update.gradient_norm);
    metrics.push("grad_skipped", update.skipped as f64);
    metrics.push("learning_rate", learnt.learning_rate);
    metrics.push("num_tokens", update.trained_tokens as f64);
    metrics.push("overlong_filtered", learnt.filtered as f64);
    if let Some(accepted) = learnt.accepted {
        metrics.push("accepted", accepted);
    }
    if let Some(gathered) = &learnt.gathered {
        metrics.push("iteration/visits", gathered.visits as f64);
        metrics.push("iteration/examples", gathered.examples as f64);
        metrics.push("iteration/tasks", gathered.tasks as f64);
        metrics.push("iteration/too_long", gathered.too_long as f64);
        metrics.push("iteration/updates", update.updates as f64);
    }
    if let Some(changed) = learnt.changed {
        metrics.push("projection/changed", changed);
    }
}

fn add_critic(metrics: &mut Metrics, learnt: &LearnReport) {
    if let Some(values) = &learnt.critic {
        // Returns that do not vary leave nothing to explain.
        metrics.push("critic/explained_var", values.explained_variance.unwrap_or(f64::NAN));
        metrics.push("critic/vpred_mean", values.value_mean);
        metrics.push("critic/return_mean", values.return_mean);
    }
    if let Some(critic) = &learnt.update.critic {
        metrics.push("critic/vf_loss", critic.loss);
        metrics.push("critic/vf_clipfrac", critic.clipped);
        metrics.push("critic/grad_norm", critic.gradient_norm);
    }
}

fn timings(attempts: &Attempts, learnt: &LearnReport, times: &StepTimes, now: Instant) -> Metrics {
    let completions = attempts.groups.iter().flat_map(|group| &group.completions);
    let sampled: usize = completions.map(|completion| completion.tokens.len()).sum();
    let mut timings = Metrics::new();
    timings.push("time/rollout_seconds", times.rollout.as_secs_f64());
    timings.push("time/execution_seconds", times.execution.as_secs_f64());
    timings.push("time/update_seconds", times.update.as_secs_f64());
    timings.push("time/step_seconds", now.duration_since(times.start).as_secs_f64());
    timings.push("rollout/tokens_per_second", sampled as f64 / times.rollout.as_secs_f64().max(1e-9));
    timings.push(
        "optim/tokens_per_second",
        learnt.update.computed_tokens as f64 / times.update.as_secs_f64().max(1e-9),
    );
    timings.push("optim/out_of_memory", learnt.halvings as f64);
    if let Some(bytes) = resident_peak_bytes() {
        timings.push("memory/peak_mib", bytes as f64 / f64::from(1 << 20));
    }
    timings
}

/// `part / whole`; 0 of nothing.
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}
