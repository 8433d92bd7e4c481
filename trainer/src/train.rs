//! THE loop: sample, execute, score, learn, record. Open this file first.
//!
//! What is learnt is the recipe's `[algorithm]`; without a word about it, group-relative policy optimisation (Shao et al.
//! 2024, arXiv:2402.03300), with these differences from the paper: no KL term and no reference model; the upper clip bound
//! apart from the lower, and one token-level mean over the whole step (DAPO, Yu et al. 2025, arXiv:2503.14476); groups
//! whose attempts all score alike are not computed at all, because their gradient is exactly zero. The importance ratio
//! compares with the logprobs recorded at sampling, so differences between the rollout's and the update's arithmetic are
//! corrected, not ignored. The same holds of attempts that are sampled while the step before is learnt from, where the recipe
//! lets sampling run ahead.
//!
//! Every random choice derives from `(seed, step, task, sample, token)`, so a run that is stopped and resumed takes
//! the same steps as one that is not.

use std::panic::resume_unwind;
use std::thread;
use std::time::Instant;

use crate::actor::Actor;
use crate::attempts::Attempts;
use crate::critic::verifier;
use crate::error::TrainError;
use crate::eval::heldout;
use crate::learn::{LearnReport, learn};
use crate::material::Material;
use crate::policy::refuse_rounded_operands;
use crate::ranks::{Lane, Ranks};
use crate::recipe::Recipe;
use crate::session::{Session, Start};
use crate::step_metrics::{Busy, StepTimes, shown, step_metrics};
use crate::stop::StopFlag;
use crate::telemetry::{Metrics, Phases, RunSummary};

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
    train_among(&Ranks::alone(), recipe, start, stop)
}

/// As [`train`], as one of the processes that train together; the others hear of it if this one fails.
///
/// # Errors
///
/// As [`train`], and if another process is gone.
pub fn train_among(
    ranks: &Ranks,
    recipe: &Recipe,
    start: &Start,
    stop: &StopFlag,
) -> Result<Option<RunSummary>, TrainError> {
    let done = run(ranks, recipe, start, stop);
    match &done {
        Ok(_) => ranks.leave(),
        Err(error) => ranks.fail(error),
    }
    done
}

/// The loop.
fn run(
    ranks: &Ranks,
    recipe: &Recipe,
    start: &Start,
    stop: &StopFlag,
) -> Result<Option<RunSummary>, TrainError> {
    let mut session = Session::start_among(ranks, recipe, start)?;
    let runs_ahead = recipe.rollout.staleness > 0;
    if runs_ahead {
        // What libtorch is told holds for every thread.
        refuse_rounded_operands();
    }

    while session.step < recipe.steps
        && !ranks.any(Lane::Learning, "a question for a stop", stop.is_asked())?
    {
        ranks.at_step(session.step);
        heldout::evaluate_if_due(&mut session, recipe)?;
        let (step, mut times) = (session.step, StepTimes::start(session.telemetry.phases()));

        // Sample, execute, score. From here on an attempt is a number, or nothing if the infrastructure failed.
        let mut attempts = match session.ahead.take() {
            Some(sampled_ahead) => sampled_ahead,
            None => session.actor().attempt(recipe, step, &mut times)?,
        };
        session.tell(std::mem::take(&mut attempts.told));
        session.environment.observe(&attempts);

        // A checkpoint may still be on its way to the disk.
        session.before_update(recipe);

        // Learn: compare each attempt with what could be expected, and follow the gradient.
        let learnt = if runs_ahead && step + 1 < recipe.steps {
            learn_and_attempt(&mut session, recipe, &attempts, &mut times)?
        } else {
            let (learner, environment) = (&mut session.learner, &session.environment);
            let material = Material::of(&learner.policy, environment, recipe, &attempts)?;
            times.update(|| learn(learner, recipe, step, (&attempts, &material)))?
        };

        // Record, and keep.
        session.step += 1;
        record(&mut session, recipe, &attempts, learnt, &mut times)?;
        session.checkpoint_if_due(recipe)?;
    }
    session.checkpoint(recipe)?;
    if session.step < recipe.steps {
        return Ok(None);
    }
    heldout::evaluate_if_due(&mut session, recipe)?;
    Ok(Some(session.summary(recipe)))
}

/// Learns from the attempts of a step while the next step's attempts are made, on a thread of its own, by the policy as it is before
/// this step's update. What comes of it does not depend on which of the two is faster.
fn learn_and_attempt(
    session: &mut Session,
    recipe: &Recipe,
    attempts: &Attempts,
    times: &mut StepTimes,
) -> Result<LearnReport, TrainError> {
    let step = session.step;
    let Session { learner, environment, verifier, ahead, .. } = session;
    let material = Material::of(&learner.policy, environment, recipe, attempts)?;
    let (policy, verifier) = (learner.policy.copied(), verifier.as_mut());
    let (learnt, (attempted, beside)) = thread::scope(|scope| {
        let acting = scope.spawn(move || {
            let mut times = StepTimes::start(Phases::default());
            let mut actor =
                Actor { policy: &policy, weights: step, verifier: verifier.as_deref(), environment };
            (actor.attempt(recipe, step + 1, &mut times), times)
        });
        let learnt = times.update(|| learn(learner, recipe, step, (attempts, &material)));
        (learnt, times.rollout(|| acting.join()).unwrap_or_else(|panic| resume_unwind(panic)))
    });
    times.beside(&beside);
    *ahead = Some(attempted?);
    learnt
}

/// Lets the verifier learn from a step's verdicts, and writes the step's metrics, its timings, its samples and its record.
fn record(
    session: &mut Session,
    recipe: &Recipe,
    attempts: &Attempts,
    mut learnt: LearnReport,
    times: &mut StepTimes,
) -> Result<(), TrainError> {
    session.tell(std::mem::take(&mut learnt.told));
    if let Some(verifier) = &mut session.verifier {
        let Attempts { groups, verdicts, scores, .. } = attempts;
        let (step, told) = (session.step - 1, (&groups[..], verdicts, scores));
        let tell = || verifier::tell(verifier, recipe, step, &session.environment.tasks, told);
        learnt.verifier = Some(times.update(tell)?);
    }
    session.watch_gradient(recipe, &learnt.update)?;
    let most_turns = recipe.episode.turns.get();
    let (mut metrics, mut timings) = step_metrics(attempts, most_turns, &learnt, times, Instant::now());
    session.environment.add_visits(session.step - 1, &mut metrics, recipe, attempts);
    session.add_checkpoints(&mut timings);
    if let Some(fleet) = &session.environment.fleet {
        fleet.add_retries(&mut timings);
    }
    ranks_times(session, times, &mut timings)?;
    let extras = shown(attempts, &learnt, &session.environment.tasks);
    session.telemetry.log(session.step, &metrics, &timings, extras)?;
    let made = attempts.groups.iter().map(|group| group.completions.len()).sum();
    for warning in session.traps.look(&metrics, made) {
        session.telemetry.message(&format!("warning: {warning}"));
    }
    session.journal.write(session, recipe, attempts)?;
    session.journal.record(session, recipe, attempts, &learnt)?;
    session.environment.remember(attempts);
    Ok(())
}

/// Adds how long each process was busy, where there are several.
fn ranks_times(session: &Session, times: &StepTimes, timings: &mut Metrics) -> Result<(), TrainError> {
    let ranks = &session.learner.ranks;
    if !ranks.is_alone() {
        let own = Busy::of(times, ranks.communicated());
        Busy::report(&ranks.gather(Lane::Learning, "the times of a step", own)?, timings);
    }
    Ok(())
}
