//! THE loop: sample, execute, score, learn, record. Open this file first.
//!
//! What is learnt is the recipe's `[algorithm]`; without a word about it, group-relative policy optimisation (Shao et al.
//! 2024, arXiv:2402.03300), with these differences from the paper: no KL term and no reference model; the upper clip bound
//! apart from the lower, and one token-level mean over the whole step (DAPO, Yu et al. 2025, arXiv:2503.14476); groups
//! whose attempts all score alike are not computed at all, because their gradient is exactly zero. The importance ratio
//! compares with the logprobs recorded at sampling, so differences between the rollout's and the update's arithmetic are
//! corrected, not ignored.
//!
//! Every random choice derives from `(seed, step, task, sample, token)`, so a run that is stopped and resumed takes
//! the same steps as one that is not.

use std::time::Instant;

use crate::algorithm::{AdvantageEstimator, Refill};
use crate::attempts::Attempts;
use crate::episode::{Played, play};
use crate::error::TrainError;
use crate::eval::heldout;
use crate::execution::Executions;
use crate::learn::{LearnReport, learn};
use crate::recipe::Recipe;
use crate::rng::Stream;
use crate::rollout::{self, Group, PrefillTokens, Request};
use crate::scoring::score;
use crate::session::Session;
use crate::step_metrics::{StepTimes, step_metrics};
use crate::stop::StopFlag;
use crate::tasks;
use crate::telemetry::RunSummary;

/// Trains until `recipe.steps` steps are done, or until `stop` is asked for; either way the last state is saved.
///
/// Returns the summary of the run, or `None` if it was stopped before its end.
///
/// # Errors
///
/// If the model, the disk, the device or the sandbox fails. A program that crashes or loops is a verdict, not an
/// error.
pub fn train(recipe: &Recipe, stop: &StopFlag) -> Result<Option<RunSummary>, TrainError> {
    let mut session = Session::start_or_resume(recipe)?;

    while session.step < recipe.steps && !stop.is_asked() {
        heldout::evaluate_if_due(&mut session, recipe)?;
        let mut times = StepTimes::start();

        // Sample, execute, score. From here on an attempt is a number, or nothing if the infrastructure failed.
        let attempts = attempt(&mut session, recipe, &mut times)?;

        // Learn: compare each attempt with what could be expected, and follow the gradient.
        session.telemetry.phase("update");
        let learnt = times.update(|| learn(&mut session, recipe, &attempts))?;

        // Record, and keep.
        session.step += 1;
        record(&mut session, recipe, &attempts, &learnt, &times)?;
        session.checkpoint_if_due(recipe)?;
    }
    session.checkpoint(recipe)?;
    if session.step < recipe.steps {
        return Ok(None);
    }
    heldout::evaluate_if_due(&mut session, recipe)?;
    Ok(Some(session.summary(recipe)))
}

/// Tries this step's tasks; with dynamic sampling, more tasks for those that taught nothing. Nothing is tried where only
/// references are learnt from.
///
/// # Errors
///
/// If the model, the device or the sandbox fails.
pub fn attempt(
    session: &mut Session,
    recipe: &Recipe,
    times: &mut StepTimes,
) -> Result<Attempts, TrainError> {
    let wanted = recipe.rollout.tasks_per_step.get();
    let (mut attempts, mut missing) = (Attempts::default(), wanted);
    for round in 0.. {
        let drawn = tasks::draw(&session.tasks, recipe.seed, session.tasks_drawn, missing);
        session.tasks_drawn += missing as u64;
        attempts.tasks.extend_from_slice(&drawn);
        if recipe.supervised.is_alone() {
            break;
        }
        let place = attempts.groups.len() as u64;
        attempts.append(attempt_tasks(session, recipe, &drawn, place, times)?);
        match recipe.algorithm.refill(attempts.teaching().len(), wanted, round) {
            Refill::Sample(more) => missing = more,
            Refill::Learn => break,
        }
    }
    Ok(attempts)
}

/// Samples a group for each of the drawn tasks, executes and scores it. `place` is that of the first task in the step.
fn attempt_tasks(
    session: &Session,
    recipe: &Recipe,
    drawn: &[usize],
    place: u64,
    times: &mut StepTimes,
) -> Result<Attempts, TrainError> {
    let (samples, temperature) = (recipe.rollout.group_size.get(), recipe.rollout.temperature);
    let mut run = |samples, temperature| -> Result<Attempts, TrainError> {
        // Each finished attempt goes to the sandbox while the others still decode.
        session.telemetry.phase("rollout");
        let (groups, executions, prefill) =
            times.rollout(|| sample(session, recipe, drawn, place, samples, temperature))?;
        session.telemetry.phase("execution");
        let verdicts = times.execution(|| executions.wait(groups.len()));
        let scores = score(session, recipe, &groups, &verdicts)?;
        Ok(Attempts { tasks: Vec::new(), groups, verdicts, scores, prefill })
    };
    let mut attempts = run(samples, temperature)?;
    if recipe.algorithm.advantage == AdvantageEstimator::Remax {
        let greedy = run(1, 0.0)?;
        attempts.scores.greedy = greedy.scores.rewards.iter().map(|rewards| rewards[0]).collect();
    }
    Ok(attempts)
}

/// Samples a group for each of the drawn tasks, turn by turn, with the log-probability of every token.
fn sample<'a>(
    session: &'a Session,
    recipe: &Recipe,
    drawn: &[usize],
    place: u64,
    samples: usize,
    temperature: f64,
) -> Result<(Vec<Group>, Executions<'a>, PrefillTokens), TrainError> {
    let mut requests = Vec::with_capacity(drawn.len());
    for (place, task) in (place..).zip(drawn) {
        let prompt = session.prompter.prompt(&session.tasks[*task], &session.policy.tokenizer)?;
        requests.push(Request { prompt, samples, task: place, ..Request::default() });
    }
    let sampling = session.sampling(recipe, Stream::Sampling, temperature);
    let tasks: Vec<_> = drawn.iter().map(|task| &session.tasks[*task]).collect();
    let Played { completions, executions, prefill } = play(session, recipe, &tasks, &requests, &sampling)?;
    Ok((rollout::collect(drawn, requests, completions), executions, prefill))
}

/// Writes the step's metrics, its timings and its samples.
fn record(
    session: &mut Session,
    recipe: &Recipe,
    attempts: &Attempts,
    learnt: &LearnReport,
    times: &StepTimes,
) -> Result<(), TrainError> {
    session.watch_gradient(recipe, &learnt.update)?;
    let most_turns = recipe.episode.turns.get();
    let (metrics, timings) = step_metrics(attempts, most_turns, learnt, times, Instant::now());
    session.telemetry.log(session.step, &metrics, &timings)?;
    let made = attempts.groups.iter().map(|group| group.completions.len()).sum();
    for warning in session.traps.look(&metrics, made) {
        session.telemetry.message(&format!("warning: {warning}"));
    }
    session.journal.write(session.step, &session.tasks, attempts)
}
