//! THE loop: sample, execute, score, learn, record. Open this file first.
//!
//! What is learnt is the recipe's `[algorithm]`; without a word about it, group-relative policy optimisation (Shao et al.
//! 2024, arXiv:2402.03300), with these differences from the paper: no KL term and no reference model; the upper clip bound
//! apart from the lower, and one token-level mean over the whole step (DAPO, Yu et al. 2025, arXiv:2503.14476); groups
//! whose attempts all score alike are not computed at all, because their gradient is exactly zero. The importance ratio
//! compares with the logprobs recorded at sampling, so differences between the rollout's and the update's arithmetic are
//! corrected, not ignored. The same holds of attempts that are sampled before the update of the step before, where the recipe
//! lets sampling run ahead.
//!
//! Every random choice derives from `(seed, step, task, sample, token)`, so a run that is stopped and resumed takes
//! the same steps as one that is not.

use std::time::Instant;

use rltrain_rewards::Input;

use crate::algorithm::{AdvantageEstimator, Refill};
use crate::attempts::{Attempts, Greedy};
use crate::critic::verifier::foretell;
use crate::episode::{Played, play};
use crate::error::TrainError;
use crate::eval::heldout;
use crate::execution::Executions;
use crate::learn::{LearnReport, learn};
use crate::recipe::Recipe;
use crate::rng::Stream;
use crate::rollout::{self, Group, PrefillTokens, Request};
use crate::scoring::{Scores, look_closer, score};
use crate::session::{Session, Start};
use crate::step_metrics::{StepTimes, step_metrics};
use crate::stop::StopFlag;
use crate::telemetry::RunSummary;

/// Trains until `recipe.steps` steps are done, or until `stop` is asked for; either way the last state is saved. `start` says what
/// a run that is there already goes on from.
///
/// Returns the summary of the run, or `None` if it was stopped before its end.
///
/// # Errors
///
/// If the model, the disk, the device or the sandbox fails. A program that crashes or loops is a verdict, not an
/// error.
pub fn train(recipe: &Recipe, start: &Start, stop: &StopFlag) -> Result<Option<RunSummary>, TrainError> {
    let mut session = Session::start_or_resume(recipe, start)?;

    while session.step < recipe.steps && !stop.is_asked() {
        heldout::evaluate_if_due(&mut session, recipe)?;
        let (step, mut times) = (session.step, StepTimes::start());

        // Sample, execute, score. From here on an attempt is a number, or nothing if the infrastructure failed.
        let attempts = match session.ahead.take() {
            Some(sampled_ahead) => sampled_ahead,
            None => attempt(&mut session, recipe, step, &mut times)?,
        };
        session.observe(&attempts);

        // With a staleness of 1, the next step's attempts are of the weights before this step's update.
        if recipe.rollout.staleness > 0 && step + 1 < recipe.steps {
            session.ahead = Some(attempt(&mut session, recipe, step + 1, &mut times)?);
        }

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

/// Tries the tasks of `step` with the present weights; with dynamic sampling, more tasks for those that taught nothing. Nothing
/// is tried where only references are learnt from.
///
/// # Errors
///
/// If the model, the device or the sandbox fails.
pub fn attempt(
    session: &mut Session,
    recipe: &Recipe,
    step: u64,
    times: &mut StepTimes,
) -> Result<Attempts, TrainError> {
    let wanted = recipe.rollout.tasks_per_step.get();
    let mut attempts = Attempts { weights: session.step, ..Attempts::default() };
    let mut missing = wanted;
    for round in 0.. {
        let behind = session.tasks_drawn;
        let drawn = session.draw_tasks(recipe, missing);
        attempts.passed_over += session.tasks_drawn - behind - drawn.len() as u64;
        attempts.tasks.extend_from_slice(&drawn);
        if recipe.supervised.is_alone() {
            break;
        }
        let first = attempts.groups.len() as u64;
        let sizes = session.group_sizes(recipe, &drawn);
        let temperature = recipe.rollout.temperature;
        let together = Round { tasks: &drawn, first, step, sizes: &sizes, temperature };
        attempts.append(attempt_tasks(session, recipe, together, times)?);
        match recipe.algorithm.refill(attempts.teaching(&recipe.algorithm).len(), wanted, round) {
            Refill::Sample(more) => missing = more,
            Refill::Learn => break,
        }
    }
    Ok(attempts)
}

/// Tasks that are tried together.
#[derive(Clone, Copy)]
struct Round<'a> {
    /// Their places in the task set.
    tasks: &'a [usize],
    /// How many tasks of the step come before them.
    first: u64,
    /// The step that the random numbers belong to.
    step: u64,
    /// How many attempts each is to have.
    sizes: &'a [usize],
    /// How bold they are.
    temperature: f64,
}

/// Samples a group for each task of a round, executes and scores it.
fn attempt_tasks(
    session: &mut Session,
    recipe: &Recipe,
    round: Round<'_>,
    times: &mut StepTimes,
) -> Result<Attempts, TrainError> {
    session.learn_facts(recipe, round.tasks)?;
    let remax = recipe.algorithm.advantage == AdvantageEstimator::Remax;
    let mut greedy = None;
    if remax || session.rewards.wants(Input::Greedy) {
        let sizes = vec![1; round.tasks.len()];
        let attempts = execute(session, recipe, Round { sizes: &sizes, temperature: 0.0, ..round }, times)?;
        session.remember_greedy(&attempts);
        greedy = Some(attempts);
    }
    let mut attempts = execute(session, recipe, round, times)?;
    attempts.scores = worth(session, recipe, &attempts)?;
    if let Some(greedy) = greedy {
        if remax {
            let scores = worth(session, recipe, &greedy)?;
            attempts.scores.greedy = scores.rewards.iter().map(|rewards| rewards[0]).collect();
        }
        attempts.greedy = Greedy { groups: greedy.groups, verdicts: greedy.verdicts };
    }
    Ok(attempts)
}

/// What executed attempts are worth, by the rewards of the recipe and by its verifier, if there is one.
fn worth(session: &Session, recipe: &Recipe, attempts: &Attempts) -> Result<Scores, TrainError> {
    let Attempts { groups, verdicts, facts, .. } = attempts;
    let mut scores = score(session, recipe, groups, verdicts, facts)?;
    if let (Some(verifier), Some(config)) = (&session.verifier, &recipe.verifier) {
        foretell(verifier, config, &session.tasks, (groups, verdicts), &mut scores);
    }
    Ok(scores)
}

/// Samples a round of attempts and executes them, without scores.
fn execute(
    session: &Session,
    recipe: &Recipe,
    round: Round<'_>,
    times: &mut StepTimes,
) -> Result<Attempts, TrainError> {
    // Each finished attempt goes to the sandbox while the others still decode.
    session.telemetry.phase("rollout");
    let (groups, executions, prefill) = times.rollout(|| sample(session, recipe, round))?;
    session.telemetry.phase("execution");
    let mut verdicts = times.execution(|| executions.wait(groups.len()));
    let facts = times.execution(|| look_closer(session, recipe, &groups, &mut verdicts));
    Ok(Attempts { groups, verdicts, facts, prefill, ..Attempts::default() })
}

/// Samples a group of its size for each task of a round, turn by turn, with the log-probability of every token.
fn sample<'a>(
    session: &'a Session,
    recipe: &Recipe,
    round: Round<'_>,
) -> Result<(Vec<Group>, Executions<'a>, PrefillTokens), TrainError> {
    let mut requests = Vec::with_capacity(round.tasks.len());
    for ((place, task), samples) in (round.first..).zip(round.tasks).zip(round.sizes) {
        let prompt = session.prompter.prompt(&session.tasks[*task], &session.policy.tokenizer)?;
        requests.push(Request { prompt, samples: *samples, task: place, ..Request::default() });
    }
    let sampling = session.sampling(recipe, Stream::Sampling, round.step, round.temperature);
    let tasks: Vec<_> = round.tasks.iter().map(|task| &session.tasks[*task]).collect();
    let Played { completions, executions, prefill } = play(session, recipe, &tasks, &requests, &sampling)?;
    Ok((rollout::collect(round.tasks, requests, completions), executions, prefill))
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
    let (mut metrics, timings) = step_metrics(attempts, most_turns, learnt, times, Instant::now());
    session.add_visits(&mut metrics, recipe, attempts);
    session.telemetry.log(session.step, &metrics, &timings)?;
    let made = attempts.groups.iter().map(|group| group.completions.len()).sum();
    for warning in session.traps.look(&metrics, made) {
        session.telemetry.message(&format!("warning: {warning}"));
    }
    session.journal.write(session, recipe, attempts)?;
    session.remember(attempts);
    Ok(())
}
