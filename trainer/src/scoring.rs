//! From verdicts to rewards. From here on an attempt is a number, or nothing.

use std::error::Error;

use rltrain_executor::{InfraError, Verdict};
use rltrain_rewards::{
    Attempt, Language, Length, ParseOnce, Part, RewardError, RewardSet, Scored, Sibling, TaskHistory,
};

use serde::{Deserialize, Serialize};

use crate::attempts::in_order;
use crate::audit::bypass_signs;
use crate::critic::verifier::Forecast;
use crate::environment::Environment;
use crate::error::TrainError;
use crate::execution::{Verdicts, program};
use crate::facts::{AttemptFacts, Bench, Closer, TaskFacts, Wanted, language};
use crate::policy::Policy;
use crate::recipe::Recipe;
use crate::rollout::{Finish, Group};
use crate::tasks::Task;

/// Share of a step's attempts that the infrastructure may lose before the run stops with the cause.
const INFRASTRUCTURE_BUDGET: f64 = 0.1;

/// The rewards of one step.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Scores {
    /// Total reward of each completion of each group; `None` if its execution failed for reasons of the
    /// infrastructure, which is not a score.
    pub rewards: Vec<Vec<Option<f64>>>,
    /// The shaped parts of each attempt's reward, in the order of their names; empty if its execution failed for reasons of the
    /// infrastructure.
    pub rows: Vec<Vec<Vec<Option<f64>>>>,
    /// The weight of each part.
    pub weights: Vec<f64>,
    /// The reward of the greedy attempt at each group's task, where the estimator compares with it.
    pub greedy: Vec<Option<f64>>,
    /// What the verifier says of each completion of each group, if there is one; `None` without a verdict.
    pub forecasts: Vec<Vec<Option<Forecast>>>,
    /// The parts of each attempt's reward at all their stages; empty if it has no reward.
    pub parts: Vec<Vec<Vec<Part>>>,
    /// Attempts that all hidden tests passed.
    pub solved: usize,
    /// Attempts with a verdict and a score.
    pub with_verdict: usize,
    /// Attempts lost to the infrastructure.
    pub lost: usize,
}

/// Scores every attempt of a step. `facts` has what is known of each beyond its verdict.
///
/// # Errors
///
/// If the infrastructure, plug-ins included, lost more than a tenth of the attempts, or if a reward breaks its contract.
pub fn score(
    (policy, environment): (&Policy, &Environment),
    recipe: &Recipe,
    groups: &[Group],
    verdicts: &Verdicts,
    facts: &[Vec<AttemptFacts>],
) -> Result<Scores, TrainError> {
    within_budget(verdicts)?;
    let weights = environment.rewards.weights().collect();
    let mut scores = Scores { weights, ..Scores::default() };
    let mut first_loss = None;
    let scored = score_groups((policy, environment), recipe, groups, verdicts, facts)?;
    for (verdicts, scored) in verdicts.groups.iter().zip(scored) {
        let mut scored = scored.into_iter();
        let mut rewards = Vec::with_capacity(verdicts.len());
        let mut parts = Vec::with_capacity(verdicts.len());
        for verdict in verdicts.iter().map(|verdict| verdict.as_ref().ok()) {
            match verdict.and_then(|_| scored.next()).transpose() {
                Ok(Some(scored)) => {
                    rewards.push(Some(scored.total));
                    parts.push(scored.parts);
                }
                // The sandbox or a plug-in failed: no score, and no place in the update.
                lost @ (Ok(None) | Err(RewardError::PlugIn { .. })) => {
                    let cause = || lost.err().map(|error| with_causes(&error));
                    first_loss = first_loss.or_else(cause);
                    scores.lost += 1;
                    rewards.push(None);
                    parts.push(Vec::new());
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            scores.with_verdict += 1;
            scores.solved += usize::from(verdict.is_some_and(Verdict::all_passed));
        }
        let shaped = |parts: &Vec<Part>| parts.iter().map(|part| part.shaped).collect();
        scores.rewards.push(rewards);
        scores.rows.push(parts.iter().map(shaped).collect());
        scores.parts.push(parts);
    }
    bounded(scores.lost, scores.rewards.iter().flatten().count(), first_loss)?;
    Ok(scores)
}

/// Scores the attempts of each group that have a verdict, in their order: all groups at once, so that plug-ins are asked as rarely
/// as can be.
fn score_groups(
    (policy, environment): (&Policy, &Environment),
    recipe: &Recipe,
    groups: &[Group],
    verdicts: &Verdicts,
    facts: &[Vec<AttemptFacts>],
) -> Result<Vec<Vec<Result<Scored, RewardError>>>, TrainError> {
    let mut texts: Vec<(String, Vec<String>)> = Vec::with_capacity(groups.len());
    for group in groups {
        let task = &environment.tasks[group.task];
        let prompt = environment.prompter.text(task, &policy.tokenizer)?;
        let programs = group.completions.iter().map(|completion| program(task, &completion.text));
        texts.push((prompt, programs.collect()));
    }
    let rows = groups.iter().zip(&texts).zip(&verdicts.groups).zip(facts);
    let asked = rows.map(|(((group, (prompt, programs)), verdicts), facts)| {
        let task = &environment.tasks[group.task];
        let completions = group.completions.iter().zip(programs).zip(verdicts).zip(facts);
        let judged = completions.filter_map(|(((completion, program), verdict), facts)| {
            let length = Some(Length {
                tokens: completion.tokens.len(),
                most: recipe.longest_attempt(),
                truncated: completion.finish == Finish::Length,
            });
            let verdict = verdict.as_ref().ok()?;
            Some(Judged { completion: &completion.text, program, verdict, length, facts })
        });
        let asked = Asked {
            task,
            language: language(recipe.executor.runtime).unwrap_or_default(),
            facts: environment.facts.of(task),
            history: environment.history.task(&task.id),
            prompt,
        };
        (asked, judged.collect())
    });
    let asked: Vec<(Asked<'_>, Vec<Judged<'_>>)> = asked.collect();
    Ok(score_together(&environment.rewards, &asked))
}

/// A task as it was put to the model, with what is known of it: what all attempts of a group have in common.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The task.
    pub task: &'a Task,
    /// The language that programs are in.
    pub language: Language,
    /// What is known from running the task's own programs.
    pub facts: &'a TaskFacts,
    /// What is known of it from earlier steps.
    pub history: Option<&'a TaskHistory>,
    /// The text that the model was given.
    pub prompt: &'a str,
}

/// One attempt with a verdict.
#[derive(Clone, Copy)]
pub struct Judged<'a> {
    /// What the model wrote.
    pub completion: &'a str,
    /// The program, as it was run.
    pub program: &'a str,
    /// What the hidden tests said.
    pub verdict: &'a Verdict,
    /// How long the completion is; `None` where nobody counted.
    pub length: Option<Length>,
    /// What else is known.
    pub facts: &'a AttemptFacts,
}

impl Asked<'_> {
    /// Scores the attempts of a group, in their order. A function of its arguments alone.
    pub fn score(&self, rewards: &RewardSet, judged: &[Judged<'_>]) -> Vec<Result<Scored, RewardError>> {
        score_together(rewards, &[(*self, judged.to_vec())]).into_iter().flatten().collect()
    }
}

/// Scores the attempts of several groups, group by group in their order. A function of its arguments alone.
fn score_together(
    rewards: &RewardSet,
    groups: &[(Asked<'_>, Vec<Judged<'_>>)],
) -> Vec<Vec<Result<Scored, RewardError>>> {
    let known: Vec<rltrain_rewards::Task<'_>> =
        groups.iter().map(|(asked, _)| asked.task.for_rewards(asked.language, asked.facts)).collect();
    let siblings: Vec<Vec<Vec<Sibling<'_>>>> = groups.iter().map(|(_, judged)| siblings(judged)).collect();
    let mut attempts: Vec<Attempt<'_>> = Vec::new();
    for (((asked, judged), known), siblings) in groups.iter().zip(&known).zip(&siblings) {
        attempts.extend(judged.iter().zip(siblings).map(|(judged, siblings)| Attempt {
            task: known,
            prompt: asked.prompt,
            completion: judged.completion,
            program: judged.program,
            verdict: judged.verdict,
            length: judged.length,
            level_fuel: &judged.facts.level_fuel,
            before: asked.facts.before.as_ref(),
            written_tests: judged.facts.written_tests,
            history: asked.history,
            siblings,
            parsed: ParseOnce::default(),
        }));
    }
    let mut scored = rewards.score_all(&attempts).into_iter();
    groups.iter().map(|(_, judged)| scored.by_ref().take(judged.len()).collect()).collect()
}

/// For each attempt, the others.
fn siblings<'a>(judged: &'a [Judged<'_>]) -> Vec<Vec<Sibling<'a>>> {
    let sibling = |other: &'a Judged<'_>| Sibling { program: other.program, verdict: other.verdict };
    let others = |one: usize| judged.iter().enumerate().filter(move |(other, _)| *other != one);
    (0..judged.len()).map(|one| others(one).map(|(_, other)| sibling(other)).collect()).collect()
}

/// Runs attempts against what rewards ask for beside the hidden tests. An attempt that the sandbox loses over that loses its verdict
/// as well: without a part of its reward it has no place in the step.
pub fn look_closer(
    environment: &Environment,
    recipe: &Recipe,
    groups: &[Group],
    verdicts: &mut Verdicts,
) -> Vec<Vec<AttemptFacts>> {
    let wanted = Wanted::by(&environment.rewards);
    let bench = Bench { executor: &environment.executor, limits: recipe.executor.limits };
    let texts = |group: &Group| -> Vec<String> {
        let task = &environment.tasks[group.task];
        group.completions.iter().map(|completion| program(task, &completion.text)).collect()
    };
    let programs: Vec<Vec<String>> = groups.iter().map(texts).collect();
    let start = |((group, programs), verdicts): ((&Group, &Vec<String>), &Vec<_>)| -> Vec<Closer> {
        let task = &environment.tasks[group.task];
        let look = |(program, verdict): (&String, &Result<Verdict, InfraError>)| match verdict {
            Ok(verdict) => Closer::look(wanted, bench, task, program, verdict),
            Err(_) => Closer::default(),
        };
        programs.iter().zip(verdicts).map(look).collect()
    };
    let under_way: Vec<Vec<Closer>> = groups.iter().zip(&programs).zip(&verdicts.groups).map(start).collect();
    let spoken = language(recipe.executor.runtime).unwrap_or_default();
    let wait = |closer: Closer, verdict: &mut Result<Verdict, InfraError>, program: &str| {
        let Ok(judged) = verdict else { return AttemptFacts::default() };
        let signs = bypass_signs(program, spoken, judged);
        match closer.wait() {
            Ok(facts) => AttemptFacts { bypass: signs.into_iter().map(str::to_owned).collect(), ..facts },
            Err(error) => {
                *verdict = Err(error);
                AttemptFacts::default()
            }
        }
    };
    let mut facts = Vec::with_capacity(groups.len());
    for ((closers, verdicts), programs) in under_way.into_iter().zip(&mut verdicts.groups).zip(&programs) {
        let attempts = closers.into_iter().zip(verdicts).zip(programs);
        facts.push(attempts.map(|((closer, verdict), program)| wait(closer, verdict, program)).collect());
    }
    facts
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

/// An error with what it comes from.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// An error if more than a tenth of a step's attempts are lost. Without a cause nothing is: those that the sandbox lost were
/// counted before.
pub(crate) fn bounded(lost: usize, attempts: usize, first: Option<String>) -> Result<(), TrainError> {
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
        self.parts.extend(round.parts);
        self.solved += round.solved;
        self.with_verdict += round.with_verdict;
        self.lost += round.lost;
    }

    /// Puts the groups into another order.
    pub fn reorder(&mut self, order: &[usize]) {
        fn reordered<T>(rows: &mut Vec<T>, order: &[usize]) {
            *rows = in_order(std::mem::take(rows), order);
        }
        reordered(&mut self.rewards, order);
        reordered(&mut self.rows, order);
        reordered(&mut self.greedy, order);
        reordered(&mut self.forecasts, order);
        reordered(&mut self.parts, order);
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
}
