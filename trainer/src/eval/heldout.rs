//! Evaluation of the policy on the held-out tasks.

use std::time::Instant;

use super::evaluations::{Evaluation, interval};
use super::pass_at_k::TaskCounts;
use crate::episode::{Played, play};
use crate::error::TrainError;
use crate::execution::Verdicts;
use crate::recipe::Recipe;
use crate::rng::Stream;
use crate::rollout::Request;
use crate::scoring::within_budget;
use crate::session::Session;
use crate::telemetry::Metrics;

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
    let tasks = count_successes(session, recipe)?;
    let took = start.elapsed();
    let pass_at_k: Vec<_> = recipe.eval.k.iter().map(|k| interval(&tasks, *k, recipe.seed)).collect();
    let mut metrics = Metrics::new();
    for found in &pass_at_k {
        metrics.push(&format!("eval/pass@{}", found.k), found.mean);
        metrics.push(&format!("eval/pass@{}_low", found.k), found.low);
        metrics.push(&format!("eval/pass@{}_high", found.k), found.high);
    }
    session.telemetry.log_evaluation(step, &metrics, took)?;
    session.evaluations.push(Evaluation { step, pass_at_k, tasks })
}

/// Samples every held-out task, turn by turn as in training, and counts the last programs that pass all hidden tests. An
/// attempt that the infrastructure lost counts neither as a sample nor as a failure.
fn count_successes(session: &Session, recipe: &Recipe) -> Result<Vec<TaskCounts>, TrainError> {
    let mut requests = Vec::with_capacity(session.heldout.len());
    for (place, task) in session.heldout.iter().enumerate() {
        let prompt = session.prompter.prompt(task, &session.policy.tokenizer)?;
        let (samples, task) = (recipe.eval.samples.get(), place as u64);
        requests.push(Request { prompt, samples, task, ..Request::default() });
    }
    let sampling = session.sampling(recipe, Stream::Evaluation, recipe.eval.temperature);
    let tasks: Vec<_> = session.heldout.iter().collect();
    let Played { executions, .. } = play(session, recipe, &tasks, &requests, &sampling)?;
    let verdicts = executions.wait(requests.len());
    within_budget(&verdicts)?;
    Ok(counts(&verdicts, *recipe.eval.k.iter().max().unwrap_or(&1)))
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
