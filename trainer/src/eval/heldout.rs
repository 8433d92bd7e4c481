//! Evaluation of the policy on the held-out tasks.

use std::time::Instant;

use super::evaluations::{Evaluation, interval};
use super::pass_at_k::TaskCounts;
use crate::critic::quality::{Judged, Selection};
use crate::critic::verifier::{Verifier, forecast_groups};
use crate::episode::{Played, play};
use crate::error::TrainError;
use crate::execution::Verdicts;
use crate::recipe::Recipe;
use crate::rng::Stream;
use crate::rollout::{Group, Request, collect};
use crate::scoring::within_budget;
use crate::session::Session;
use crate::tasks::TaskSet;

/// Evaluates before the first update, after the last, and in between as often as the recipe says; never twice.
///
/// # Errors
///
/// If the sandbox lost too many attempts, or the disk or the device fails.
pub fn evaluate_if_due(session: &mut Session, recipe: &Recipe) -> Result<(), TrainError> {
    let step = session.step;
    if !recipe.eval.is_due(step, recipe.steps) || session.evaluations.has(step) {
        return Ok(());
    }
    session.telemetry.phase("evaluation");
    let start = Instant::now();
    let Counted { tasks, selection } = count_successes(session, recipe)?;
    let took = start.elapsed();
    let pass_at_k: Vec<_> = recipe.eval.k.iter().map(|k| interval(&tasks, *k, recipe.seed)).collect();
    let evaluation = Evaluation { step, pass_at_k, tasks, selection };
    session.telemetry.log_evaluation(step, &evaluation.metrics(), took)?;
    if let Some(warning) = session.traps.evaluated(&evaluation) {
        session.telemetry.message(&format!("warning: {warning}"));
    }
    session.evaluations.push(evaluation)
}

/// What an evaluation counted.
struct Counted {
    tasks: Vec<TaskCounts>,
    /// How good it is to choose by the verifier, if there is one.
    selection: Option<Selection>,
}

/// Samples every held-out task, turn by turn as in training, and counts the last programs that pass all hidden tests. An
/// attempt that the infrastructure lost counts neither as a sample nor as a failure.
fn count_successes(session: &Session, recipe: &Recipe) -> Result<Counted, TrainError> {
    let (policy, environment) = (&session.learner.policy, &session.environment);
    let mut requests = Vec::with_capacity(session.heldout.len());
    for (place, task) in session.heldout.iter().enumerate() {
        let prompt = environment.prompter.prompt(task, &policy.tokenizer)?;
        let (samples, task) = (recipe.eval.samples.get(), place as u64);
        requests.push(Request { prompt, samples, task, ..Request::default() });
    }
    let sampling = environment.sampling(recipe, Stream::Evaluation, session.step, recipe.eval.temperature);
    let tasks: Vec<_> = session.heldout.iter().collect();
    let Played { completions, executions, .. } =
        play((policy, environment), recipe, &tasks, &requests, &sampling)?;
    let verdicts = executions.wait(requests.len());
    within_budget(&verdicts)?;
    let selection = session.verifier.as_ref().and_then(|verifier| {
        let places: Vec<usize> = (0..requests.len()).collect();
        let groups = collect(&places, requests, completions);
        select(verifier, &session.heldout, &groups, &verdicts)
    });
    let tasks = counts(&verdicts, *recipe.eval.k.iter().max().unwrap_or(&1));
    Ok(Counted { tasks, selection })
}

/// How good it is to choose one attempt of each task by what the verifier says; `None` if no attempt has a verdict.
fn select(verifier: &Verifier, tasks: &TaskSet, groups: &[Group], verdicts: &Verdicts) -> Option<Selection> {
    let forecasts = forecast_groups(verifier, tasks, groups, verdicts);
    let judged = forecasts.iter().zip(&verdicts.groups).map(|(forecasts, verdicts)| {
        let attempts = forecasts.iter().zip(verdicts);
        let judged = attempts.filter_map(|(forecast, verdict)| {
            let (forecast, verdict) = (forecast.as_ref()?, verdict.as_ref().ok()?);
            Some(Judged { pass: forecast.pass, passed: verdict.all_passed() })
        });
        judged.collect::<Vec<_>>()
    });
    let judged: Vec<Vec<Judged>> = judged.collect();
    Selection::of(judged.iter().map(Vec::as_slice))
}

/// Per task: samples with a verdict, and those that passed. Tasks with fewer samples than the largest `k` asks for keep
/// their lost ones as failures, so that pass@k stays defined.
fn counts(verdicts: &Verdicts, most: usize) -> Vec<TaskCounts> {
    let count = |verdicts: &Vec<Result<rltrain_executor::Verdict, rltrain_executor::InfraError>>| {
        let judged = verdicts.iter().flatten();
        TaskCounts {
            samples: judged.clone().count().max(most),
            correct: judged.filter(|verdict| verdict.all_passed()).count(),
        }
    };
    verdicts.groups.iter().map(count).collect()
}
