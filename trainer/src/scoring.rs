//! From verdicts to rewards. From here on an attempt is a number, or nothing.

use rltrain_rewards::Attempt;

use crate::error::TrainError;
use crate::execution::{Verdicts, program};
use crate::rollout::Group;
use crate::session::Session;

/// Share of a step's attempts that the infrastructure may lose before the run stops with the cause.
const INFRASTRUCTURE_BUDGET: f64 = 0.1;

/// The rewards of one step.
#[derive(Debug, Default)]
pub struct Scores {
    /// Total reward of each completion of each group; `None` if its execution failed for reasons of the
    /// infrastructure, which is not a score.
    pub rewards: Vec<Vec<Option<f64>>>,
    /// Every part of the reward by name: `(name, values of all attempts that have one)`.
    pub parts: Vec<(&'static str, Vec<f64>)>,
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
/// If the infrastructure lost more than a tenth of the attempts.
pub fn score(session: &Session, groups: &[Group], verdicts: &Verdicts) -> Result<Scores, TrainError> {
    within_budget(verdicts)?;
    let mut scores = Scores::default();
    for (group, verdicts) in groups.iter().zip(&verdicts.groups) {
        let task = &session.tasks[group.task];
        let mut rewards = Vec::with_capacity(verdicts.len());
        for (completion, verdict) in group.completions.iter().zip(verdicts) {
            let verdict = match verdict {
                Ok(verdict) => verdict,
                Err(_) => {
                    scores.lost += 1;
                    rewards.push(None);
                    continue;
                }
            };
            let program = program(task, &completion.text);
            let attempt =
                Attempt { prompt: &task.prompt, completion: &completion.text, program: &program, verdict };
            let scored = session.rewards.score(&attempt);
            scores.add_parts(&scored.parts);
            scores.with_verdict += 1;
            scores.solved += usize::from(verdict.all_passed());
            rewards.push(Some(scored.total));
        }
        scores.rewards.push(rewards);
    }
    Ok(scores)
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
    match first {
        Some(cause) if lost as f64 > INFRASTRUCTURE_BUDGET * attempts as f64 => {
            Err(TrainError::Infrastructure { lost, attempts, cause: cause.to_string() })
        }
        _ => Ok(()),
    }
}

impl Scores {
    /// The attempts that have a reward, with their advantages: one that the infrastructure lost has no place in the loss
    /// nor in its denominators.
    pub fn judged(&self, groups: &[Group], advantages: &[Vec<f64>]) -> (Vec<Group>, Vec<Vec<f64>>) {
        let keep = |((group, advantages), rewards): ((&Group, &Vec<f64>), &Vec<Option<f64>>)| {
            let kept =
                group.completions.iter().zip(advantages).zip(rewards).filter(|(_, reward)| reward.is_some());
            let (completions, advantages) =
                kept.map(|((completion, advantage), _)| (completion.clone(), *advantage)).unzip();
            (Group { task: group.task, prompt: group.prompt.clone(), completions }, advantages)
        };
        groups.iter().zip(advantages).zip(&self.rewards).map(keep).unzip()
    }

    fn add_parts(&mut self, parts: &[(&'static str, Option<f64>)]) {
        for (name, value) in parts {
            let place = self.parts.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                self.parts.push((name, Vec::new()));
                self.parts.len() - 1
            });
            self.parts[place].1.extend(*value);
        }
    }
}
