//! A verifier in a run of the policy: it is asked about a step's attempts, and then told their verdicts.

use std::sync::Arc;

use rltrain_executor::{InfraError, Verdict};
use rltrain_rewards::Part;

use super::{Arithmetic, Forecast, Label, Program, Quality, Tried, Verifier, VerifierConfig};
use crate::algorithm::centre_and_scale;
use crate::batch::Batch;
use crate::critic::implicit::process_advantages;
use crate::error::TrainError;
use crate::execution::Verdicts;
use crate::optim::learning_rate;
use crate::policy::{Policy, PolicyError};
use crate::recipe::Recipe;
use crate::rollout::{Completion, Group};
use crate::scoring::Scores;
use crate::tasks::TaskSet;
use crate::telemetry::Metrics;

/// Name of the forecast among the parts of a reward.
const PART: &str = "verifier";

/// The verifier of a run, if the recipe has one; of a new run (`is_new`), with what it starts from.
///
/// # Errors
///
/// If its model or its start cannot be loaded, or reads other tokens than the policy writes.
pub fn new_verifier(recipe: &Recipe, policy: &Policy, is_new: bool) -> Result<Option<Verifier>, TrainError> {
    let Some(config) = &recipe.verifier else { return Ok(None) };
    let folder = config.path.as_ref().unwrap_or(&recipe.model.path);
    let like = Arithmetic { compute: policy.compute, device: policy.weights.device() };
    let mut verifier = Verifier::new(config, folder, like, recipe.seed)?;
    if !verifier.tokenizer.same_as(&policy.tokenizer) {
        return Err(TrainError::OtherTokenizer { path: folder.clone() });
    }
    if is_new {
        verifier.take_start()?;
    }
    Ok(Some(verifier))
}

/// What a verifier says of every attempt with a verdict; `None` for the others.
pub fn forecast_groups(
    verifier: &Verifier,
    tasks: &TaskSet,
    groups: &[Group],
    verdicts: &Verdicts,
) -> Vec<Vec<Option<Forecast>>> {
    let mut said = verifier.forecast(&tried(tasks, groups, verdicts)).into_iter();
    let of_group = |verdicts: &Vec<Result<Verdict, InfraError>>| {
        verdicts.iter().map(|verdict| verdict.as_ref().ok().and_then(|_| said.next())).collect()
    };
    verdicts.groups.iter().map(of_group).collect()
}

/// Adds to `scores` what the verifier says of the attempts, and its part of the reward if the recipe wants that.
pub fn foretell(
    verifier: &Verifier,
    config: &VerifierConfig,
    tasks: &TaskSet,
    (groups, verdicts): (&[Group], &Verdicts),
    scores: &mut Scores,
) {
    scores.forecasts = forecast_groups(verifier, tasks, groups, verdicts);
    if config.reward_weight == 0.0 {
        return;
    }
    let name: Arc<str> = PART.into();
    let weight = config.reward_weight;
    for (place, forecasts) in scores.forecasts.iter().enumerate() {
        for (index, forecast) in forecasts.iter().enumerate() {
            let (Some(reward), Some(forecast)) = (&mut scores.rewards[place][index], forecast) else {
                continue;
            };
            let (shaped, effective) = (Some(forecast.pass), weight * forecast.pass);
            *reward += effective;
            scores.rows[place][index].push(shaped);
            scores.parts[place][index].push(Part { name: Arc::clone(&name), raw: shaped, shaped, effective });
        }
    }
    scores.weights.push(weight);
}

/// Changes the advantages of the tokens of `batch`, whose sequences are the judged attempts of `groups` in their order, as the
/// recipe's verifier says: weights of tokens, and process rewards.
pub fn shape_advantages(config: &VerifierConfig, groups: &[Group], scores: &Scores, batch: &mut Batch) {
    if !config.token_weights && config.process_coefficient == 0.0 {
        return;
    }
    let attempts = groups.iter().zip(&scores.rewards).zip(&scores.forecasts);
    let judged = attempts.flat_map(|((group, rewards), forecasts)| {
        let attempts = group.completions.iter().zip(rewards).zip(forecasts);
        attempts
            .filter(|((_, reward), _)| reward.is_some())
            .map(|((completion, _), forecast)| (completion, forecast))
    });
    let judged: Vec<(&Completion, &Option<Forecast>)> = judged.collect();
    let column = |values: fn(&Forecast) -> &Vec<f64>, without: f64| -> Vec<f64> {
        let of_attempt = |(completion, forecast): &(&Completion, &Option<Forecast>)| match forecast {
            Some(forecast) => values(forecast).clone(),
            None => vec![without; completion.tokens.len()],
        };
        judged.iter().flat_map(of_attempt).collect()
    };
    if config.token_weights {
        let weight_n = batch.column(column(|forecast| &forecast.token_weights, 1.0));
        batch.advantages_n = &batch.advantages_n * weight_n;
    }
    if config.process_coefficient > 0.0 {
        let rewards = column(|forecast| &forecast.process, 0.0);
        let of_group: Vec<usize> = batch.sequences.iter().map(|sequence| sequence.prompt).collect();
        let process = process_advantages(&rewards, &batch.lengths(), &of_group);
        let process_n = batch.column(process) * config.process_coefficient;
        let sum_n = &batch.advantages_n + process_n;
        let sum =
            Vec::<f64>::try_from(sum_n.to_kind(tch::Kind::Double)).expect("a column is a vector of numbers");
        batch.advantages_n = batch.column(centre_and_scale(&sum));
    }
}

/// What telling a verifier a step's verdicts did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Told {
    /// How its forecasts, made before, compare with them.
    pub quality: Quality,
    /// The update.
    pub learnt: super::Learnt,
}

impl Told {
    /// Adds its numbers under `verifier/`.
    pub fn push_to(&self, metrics: &mut Metrics) {
        self.quality.push_to(metrics);
        metrics.push("verifier/loss", self.learnt.loss.unwrap_or(f64::NAN));
        metrics.push("verifier/grad_norm", self.learnt.gradient_norm);
        metrics.push("verifier/grad_skipped", f64::from(u8::from(self.learnt.skipped)));
    }
}

/// Tells a verifier the verdicts of step `step` of `recipe`: one update from all attempts that have one.
///
/// # Errors
///
/// If the tokenizer fails.
pub fn tell(
    verifier: &mut Verifier,
    recipe: &Recipe,
    step: u64,
    tasks: &TaskSet,
    attempts: (&[Group], &Verdicts, &Scores),
) -> Result<Told, PolicyError> {
    let (groups, verdicts, scores) = attempts;
    let tried = tried(tasks, groups, verdicts);
    let judged = tried.iter().zip(&scores.forecasts).map(|(tried, forecasts)| {
        let said = forecasts.iter().flatten().cloned();
        said.zip(&tried.programs).map(|(said, program)| (said, &program.label)).collect()
    });
    let quality = Quality::of(&judged.collect::<Vec<_>>());
    let rate = learning_rate(&verifier.config.optimizer, step, recipe.steps);
    let learnt = verifier.learn(&tried, rate)?;
    Ok(Told { quality, learnt })
}

/// The attempts that have a verdict, group by group, as a verifier reads them.
fn tried(tasks: &TaskSet, groups: &[Group], verdicts: &Verdicts) -> Vec<Tried> {
    let program = |(completion, verdict): (&Completion, &Result<Verdict, InfraError>)| {
        let label = Label::of(verdict.as_ref().ok()?);
        let (tokens, interjections) = (completion.tokens.clone(), completion.interjections.clone());
        Some(Program { tokens, interjections, label })
    };
    let of_group = |(group, verdicts): (&Group, &Vec<Result<Verdict, InfraError>>)| {
        let task = &tasks[group.task];
        Tried {
            task: task.id.clone(),
            lines_before: task.signature.matches('\n').count(),
            prompt: group.prompt.clone(),
            programs: group.completions.iter().zip(verdicts).filter_map(program).collect(),
        }
    };
    groups.iter().zip(&verdicts.groups).map(of_group).collect()
}
