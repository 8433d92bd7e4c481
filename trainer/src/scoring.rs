//! From verdicts to rewards. From here on an attempt is a number, or nothing.

use rltrain_executor::{InfraError, Verdict};
use rltrain_rewards::{Attempt, Length, Part, RewardError, Scored};

use crate::critic::verifier::Forecast;
use crate::error::TrainError;
use crate::execution::{Verdicts, program};
use crate::recipe::Recipe;
use crate::rollout::{Finish, Group};
use crate::session::Session;

/// Share of a step's attempts that the infrastructure may lose before the run stops with the cause.
const INFRASTRUCTURE_BUDGET: f64 = 0.1;

/// The rewards of one step.
#[derive(Debug, Default)]
pub struct Scores {
    /// Total reward of each completion of each group; `None` if its execution failed for reasons of the
    /// infrastructure, which is not a score.
    pub rewards: Vec<Vec<Option<f64>>>,
    /// The parts of each attempt's reward, in the order of their names; empty if its execution failed for reasons of the
    /// infrastructure.
    pub rows: Vec<Vec<Vec<Option<f64>>>>,
    /// The weight of each part.
    pub weights: Vec<f64>,
    /// The reward of the greedy attempt at each group's task, where the estimator compares with it.
    pub greedy: Vec<Option<f64>>,
    /// What the verifier says of each completion of each group, if there is one; `None` without a verdict.
    pub forecasts: Vec<Vec<Option<Forecast>>>,
    /// Every part of the reward by name: `(name, values of all attempts that have one)`.
    pub parts: Vec<(String, Vec<f64>)>,
    /// Attempts that all hidden tests passed.
    pub solved: usize,
    /// Attempts with a verdict.
    pub with_verdict: usize,
    /// Attempts lost to the infrastructure.
    pub lost: usize,
}

/// Scores every attempt of a step.
///
/// # Errors
///
/// If the infrastructure, plug-ins included, lost more than a tenth of the attempts, or if a reward breaks its contract.
pub fn score(
    session: &Session,
    recipe: &Recipe,
    groups: &[Group],
    verdicts: &Verdicts,
) -> Result<Scores, TrainError> {
    within_budget(verdicts)?;
    let weights = session.rewards.weights().collect();
    let mut scores = Scores { weights, ..Scores::default() };
    let mut first_loss = None;
    for (group, verdicts) in groups.iter().zip(&verdicts.groups) {
        let mut scored = score_group(session, recipe, group, verdicts).into_iter();
        let mut rewards = Vec::with_capacity(verdicts.len());
        let mut rows = Vec::with_capacity(verdicts.len());
        for verdict in verdicts {
            let scored = verdict.as_ref().ok().and_then(|_| scored.next());
            match scored.transpose() {
                Ok(Some(scored)) => {
                    scores.add_parts(&scored.parts);
                    rewards.push(Some(scored.total));
                    rows.push(scored.parts.iter().map(|part| part.shaped).collect());
                }
                // The sandbox or a plug-in failed: no score, and no place in the update.
                lost @ (Ok(None) | Err(RewardError::PlugIn { .. })) => {
                    let cause = || lost.err().map(|error| error.to_string());
                    first_loss = first_loss.or_else(cause);
                    scores.lost += 1;
                    rewards.push(None);
                    rows.push(Vec::new());
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            scores.with_verdict += 1;
            scores.solved += usize::from(verdict.as_ref().is_ok_and(Verdict::all_passed));
        }
        scores.rewards.push(rewards);
        scores.rows.push(rows);
    }
    bounded(scores.lost, scores.rewards.iter().flatten().count(), first_loss)?;
    Ok(scores)
}

/// Scores the attempts of a group that have a verdict, in their order.
fn score_group(
    session: &Session,
    recipe: &Recipe,
    group: &Group,
    verdicts: &[Result<Verdict, InfraError>],
) -> Vec<Result<Scored, RewardError>> {
    let task = &session.tasks[group.task];
    let known = task.for_rewards();
    let programs: Vec<String> =
        group.completions.iter().map(|completion| program(task, &completion.text)).collect();
    let judged = group.completions.iter().zip(&programs).zip(verdicts);
    let attempts: Vec<Attempt<'_>> = judged
        .filter_map(|((completion, program), verdict)| {
            let length = Length {
                tokens: completion.tokens.len(),
                most: recipe.longest_attempt(),
                truncated: completion.finish == Finish::Length,
            };
            let attempt = Attempt::new(&known, &completion.text, program, verdict.as_ref().ok()?);
            Some(Attempt { length: Some(length), ..attempt })
        })
        .collect();
    session.rewards.score_all(&attempts)
}

/// Checks that the infrastructure did not lose too many attempts.
///
/// # Errors
///
/// If it lost more than a tenth of them; the error names the first cause.
pub fn within_budget(verdicts: &Verdicts) -> Result<(), TrainError> {
    let attempts = verdicts.groups.iter().flatten().count();
    let lost = verdicts.groups.iter().flatten().filter(|verdict| verdict.is_err()).count();
    let first = verdicts.groups.iter().flatten().find_map(|verdict| verdict.as_ref().err());
    bounded(lost, attempts, first.map(ToString::to_string))
}

/// An error if more than a tenth of a step's attempts are lost. Without a cause nothing is: those that the sandbox lost were
/// counted before.
fn bounded(lost: usize, attempts: usize, first: Option<String>) -> Result<(), TrainError> {
    match first {
        Some(cause) if lost as f64 > INFRASTRUCTURE_BUDGET * attempts as f64 => {
            Err(TrainError::Infrastructure { lost, attempts, cause })
        }
        _ => Ok(()),
    }
}

impl Scores {
    /// Adds those of another round of sampling.
    pub fn append(&mut self, round: Scores) {
        self.rewards.extend(round.rewards);
        self.rows.extend(round.rows);
        self.greedy.extend(round.greedy);
        self.forecasts.extend(round.forecasts);
        self.weights = round.weights;
        for (name, values) in round.parts {
            self.part(&name).extend(values);
        }
        self.solved += round.solved;
        self.with_verdict += round.with_verdict;
        self.lost += round.lost;
    }

    /// What the update reads of the groups with these indices.
    pub fn select(&self, indices: &[usize]) -> Scores {
        Scores {
            rewards: indices.iter().map(|group| self.rewards[*group].clone()).collect(),
            rows: indices.iter().map(|group| self.rows[*group].clone()).collect(),
            greedy: indices.iter().filter_map(|group| self.greedy.get(*group).copied()).collect(),
            weights: self.weights.clone(),
            forecasts: indices.iter().filter_map(|group| self.forecasts.get(*group).cloned()).collect(),
            ..Scores::default()
        }
    }

    /// The groups with only those attempts that have a reward: one that the infrastructure lost has no place in the loss
    /// nor in its denominators.
    pub fn judged(&self, groups: &[Group]) -> Vec<Group> {
        let keep = |(group, rewards): (&Group, &Vec<Option<f64>>)| {
            let kept = group.completions.iter().zip(rewards).filter(|(_, reward)| reward.is_some());
            let completions = kept.map(|(completion, _)| completion.clone()).collect();
            Group { task: group.task, prompt: group.prompt.clone(), completions }
        };
        groups.iter().zip(&self.rewards).map(keep).collect()
    }

    fn add_parts(&mut self, parts: &[Part]) {
        for part in parts {
            self.part(&part.name).extend(part.raw);
        }
    }

    /// The values of a part so far.
    fn part(&mut self, name: &str) -> &mut Vec<f64> {
        let place = self.parts.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.parts.push((name.to_owned(), Vec::new()));
            self.parts.len() - 1
        });
        &mut self.parts[place].1
    }
}
