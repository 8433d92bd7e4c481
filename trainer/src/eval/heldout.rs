//! Evaluation of the policy on the held-out tasks.

use std::time::Instant;

use super::evaluations::{Evaluation, interval};
use super::pass_at_k::TaskCounts;
use super::search::{self, Found};
use crate::attempts::{Attempts, in_order};
use crate::critic::accept::Acceptance;
use crate::critic::quality::{Judged, Selection};
use crate::critic::verifier::{Verifier, forecast_groups};
use crate::episode::{Played, play};
use crate::error::TrainError;
use crate::execution::Verdicts;
use crate::ranks::{Lane, own_places};
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
    let Counted { tasks, selection, acceptance, tokens_per_task, searches } =
        count_successes(session, recipe)?;
    let took = start.elapsed();
    let pass_at_k: Vec<_> = recipe.eval.k.iter().map(|k| interval(&tasks, *k, recipe.seed)).collect();
    let tokens_per_task = Some(tokens_per_task);
    let evaluation = Evaluation { step, pass_at_k, tasks, selection, acceptance, tokens_per_task, searches };
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
    /// What comes of accepting by it, if it knows from which forecast on.
    acceptance: Option<Acceptance>,
    /// Tokens sampled for a task, on average.
    tokens_per_task: f64,
    /// What other ways to spend tokens found.
    searches: Vec<Found>,
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
    if let Some(fleet) = &environment.fleet {
        fleet.publish(policy, session.step)?;
    }
    let sampling = environment.sampling(recipe, Stream::Evaluation, session.step, recipe.eval.temperature);
    let ranks = &session.learner.ranks;
    let places = own_places(requests.len(), ranks.rank(), ranks.world());
    let requests = in_order(requests, &places);
    let tasks: Vec<_> = places.iter().map(|place| &session.heldout[*place]).collect();
    let Played { completions, executions, .. } =
        play((policy, environment), recipe, &tasks, &requests, &sampling)?;
    let verdicts = executions.wait(requests.len());
    let groups = collect(&places, requests, completions);
    let own = Attempts { groups, verdicts, ..Attempts::default() };
    let Attempts { groups, verdicts, .. } = match ranks.is_alone() {
        true => own,
        false => Attempts::interleaved(ranks.gather(Lane::Learning, "an evaluation", own)?),
    };
    within_budget(&verdicts)?;
    let (mut selection, mut acceptance) = (None, None);
    if let Some(verifier) = &session.verifier {
        let judged = judged(verifier, &session.heldout, &groups, &verdicts);
        let judged = || judged.iter().map(Vec::as_slice);
        selection = Selection::of(judged());
        acceptance = verifier.accept_from.and_then(|from| Acceptance::of(judged(), from));
    }
    let mut searches = Vec::new();
    for search in recipe.eval.searches() {
        searches.push(search::run(&session.examinee(), recipe, search, &groups)?);
    }
    let tasks = counts(&verdicts, *recipe.eval.k.iter().max().unwrap_or(&1));
    let tokens_per_task = search::tokens(&groups) as f64 / groups.len().max(1) as f64;
    Ok(Counted { tasks, selection, acceptance, tokens_per_task, searches })
}

/// What the verifier says of each task's attempts that have a verdict, beside that.
fn judged(verifier: &Verifier, tasks: &TaskSet, groups: &[Group], verdicts: &Verdicts) -> Vec<Vec<Judged>> {
    let forecasts = forecast_groups(verifier, tasks, groups, verdicts);
    let judged = forecasts.iter().zip(&verdicts.groups).map(|(forecasts, verdicts)| {
        let attempts = forecasts.iter().zip(verdicts);
        let judged = attempts.filter_map(|(forecast, verdict)| {
            let (forecast, verdict) = (forecast.as_ref()?, verdict.as_ref().ok()?);
            Some(Judged { pass: forecast.pass, passed: verdict.all_passed() })
        });
        judged.collect::<Vec<_>>()
    });
    judged.collect()
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
