//! THE loop: sample, execute, score, compare, learn, record. Open this file first.
//!
//! Group-relative policy optimisation (Shao et al. 2024, arXiv:2402.03300), with these differences from the paper:
//! no KL term and no reference model; the upper clip bound apart from the lower, and one token-level mean over the
//! whole step (DAPO, Yu et al. 2025, arXiv:2503.14476); groups whose attempts all score alike are not computed at all,
//! because their gradient is exactly zero. The importance ratio compares with the logprobs recorded at sampling, so
//! differences between the rollout's and the update's arithmetic are corrected, not ignored.
//!
//! Every random choice derives from `(seed, step, task, sample, token)`, so a run that is stopped and resumed takes
//! the same steps as one that is not.

use std::time::Instant;

use crate::algorithm::{Outcomes, advantages};
use crate::batch::Batch;
use crate::error::TrainError;
use crate::eval::heldout;
use crate::execution::{Executions, Verdicts};
use crate::optim::{self, UpdateReport, learning_rate};
use crate::recipe::Recipe;
use crate::rng::Stream;
use crate::rollout::{self, Completion, Group, Request, Sampling};
use crate::scoring::{Scores, score};
use crate::session::Session;
use crate::step_metrics::{StepTimes, step_metrics};
use crate::stop::StopFlag;
use crate::tasks;
use crate::telemetry::RunSummary;

/// Trains until `recipe.steps` updates are done, or until `stop` is asked for; either way the last state is saved.
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

        // Sample: a group of attempts per task, with the log-probability of every token. Each finished attempt goes to
        // the sandbox while the others still decode.
        session.telemetry.phase("rollout");
        let (groups, executions) = times.rollout(|| sample(&session, recipe))?;

        // Execute and score. From here on an attempt is a number, or nothing if the infrastructure failed.
        session.telemetry.phase("execution");
        let verdicts = times.execution(|| executions.wait(groups.len()));
        let scores = score(&session, &groups, &verdicts)?;

        // Compare each attempt with its siblings; a group that agrees teaches nothing.
        let advantages = compare(recipe, &scores);

        // Learn.
        session.telemetry.phase("update");
        let (trained, advantages) = scores.judged(&groups, &advantages);
        let update = times.update(|| learn(&mut session, recipe, &trained, &advantages));

        // Record, and keep.
        session.step += 1;
        record(&mut session, recipe, &groups, &verdicts, &scores, &update, &times)?;
        session.checkpoint_if_due(recipe)?;
    }
    session.checkpoint()?;
    if session.step < recipe.steps {
        return Ok(None);
    }
    heldout::evaluate_if_due(&mut session, recipe)?;
    Ok(Some(session.summary(recipe)))
}

/// Draws this step's tasks and samples a group for each.
fn sample<'a>(session: &'a Session, recipe: &Recipe) -> Result<(Vec<Group>, Executions<'a>), TrainError> {
    let rollout = &recipe.rollout;
    let drawn = tasks::draw(&session.tasks, recipe.seed, session.step, rollout.tasks_per_step.get());
    let mut requests = Vec::with_capacity(drawn.len());
    for (place, task) in drawn.iter().enumerate() {
        let prompt = session.prompter.prompt(&session.tasks[*task], &session.policy.tokenizer)?;
        requests.push(Request { prompt, samples: rollout.group_size.get(), task: place as u64 });
    }
    let sampling = Sampling {
        seed: recipe.seed,
        stream: Stream::Sampling,
        step: session.step,
        temperature: rollout.temperature,
        max_tokens: rollout.max_tokens.get(),
        stop: rollout.stop.clone(),
        max_batch: rollout.max_batch.get(),
    };
    let mut executions = Executions::new(&session.executor, recipe.executor.limits);
    let mut completions = Vec::new();
    let model = tch::no_grad(|| session.policy.model());
    let mut on_finished = |completion: Completion| {
        executions.submit(&session.tasks[drawn[completion.request]], &completion);
        completions.push(completion);
    };
    rollout::generate(&model, &session.policy.tokenizer, &requests, &sampling, &mut on_finished)?;
    Ok((rollout::collect(&drawn, requests, completions), executions))
}

/// The advantage of every attempt, group by group.
fn compare(recipe: &Recipe, scores: &Scores) -> Vec<Vec<f64>> {
    advantages(&recipe.algorithm, &Outcomes::of(&scores.rewards))
}

/// One optimizer step.
fn learn(session: &mut Session, recipe: &Recipe, groups: &[Group], advantages: &[Vec<f64>]) -> UpdateReport {
    let settings = optim::Settings {
        algorithm: &recipe.algorithm,
        optimizer: &recipe.optimizer,
        learning_rate: learning_rate(&recipe.optimizer, session.step, recipe.steps),
        temperature: recipe.rollout.temperature,
        longest: recipe.rollout.max_tokens.get(),
    };
    let batch = Batch::new(groups, advantages, session.policy.weights.device());
    optim::apply(&session.policy, &mut session.optimizer, &batch, &batch.members(), &settings)
}

/// Writes the step's metrics, its timings and its samples.
fn record(
    session: &mut Session,
    recipe: &Recipe,
    groups: &[Group],
    verdicts: &Verdicts,
    scores: &Scores,
    update: &UpdateReport,
    times: &StepTimes,
) -> Result<(), TrainError> {
    session.watch_gradient(update)?;
    let learning_rate = learning_rate(&recipe.optimizer, session.step - 1, recipe.steps);
    let (metrics, timings) =
        step_metrics(groups, verdicts, scores, update, learning_rate, times, Instant::now());
    session.telemetry.log(session.step, &metrics, &timings)?;
    session.journal.write(session.step, &session.tasks, groups, verdicts, scores)
}
