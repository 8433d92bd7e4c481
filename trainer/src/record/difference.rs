//! Where two runs part.

use std::path::Path;

use serde::Serialize;

use super::{Record, RecordError, read_record, recorded_steps};
use crate::rollout::Completion;

/// The first thing in which two runs differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parting {
    /// The step, from 1.
    pub step: u64,
    /// The task of the attempt, where an attempt differs.
    pub task: Option<String>,
    /// The place of its group in the step.
    pub group: Option<usize>,
    /// Its number in the group.
    pub sample: Option<usize>,
    /// What differs: a field, or a tensor.
    pub field: String,
    /// The first place in it, for lists.
    pub at: Option<usize>,
    /// What the first run has there.
    pub a: String,
    /// What the second has.
    pub b: String,
}

/// Compares the records of two runs step by step: how many steps both have, and the first difference.
///
/// # Errors
///
/// If a record is damaged.
pub fn part(a: &Path, b: &Path) -> Result<(usize, Option<Parting>), RecordError> {
    let others = recorded_steps(b);
    let both: Vec<u64> = recorded_steps(a).into_iter().filter(|step| others.contains(step)).collect();
    for step in &both {
        let found = first_difference(&read_record(a, *step)?, &read_record(b, *step)?);
        if found.is_some() {
            return Ok((both.len(), found));
        }
    }
    Ok((both.len(), None))
}

/// The first difference of two records of one step, in the order in which a step comes about: tasks, prompts, tokens,
/// log-probabilities, verdicts, rewards, advantages, gradients, metrics.
pub fn first_difference(a: &Record, b: &Record) -> Option<Parting> {
    let tasks =
        list(&a.tasks, &b.tasks).map(|(at, one, other)| plain("task".to_owned(), Some(at), one, other));
    let found = tasks
        .or_else(|| attempts(a, b))
        .or_else(|| columns(a, b))
        .or_else(|| gradients(a, b))
        .or_else(|| metrics(a, b));
    found.map(|found| Parting { step: a.step, ..found })
}

/// The first place in which two lists differ, and what they have there.
fn list<T: PartialEq + std::fmt::Debug>(a: &[T], b: &[T]) -> Option<(usize, String, String)> {
    let place = a.iter().zip(b).position(|(a, b)| a != b);
    let place = place.or_else(|| (a.len() != b.len()).then(|| a.len().min(b.len())))?;
    let shown = |of: &[T]| of.get(place).map_or_else(|| "nothing".to_owned(), |value| format!("{value:?}"));
    Some((place, shown(a), shown(b)))
}

fn attempts(a: &Record, b: &Record) -> Option<Parting> {
    for (group, (one, other)) in a.attempts.groups.iter().zip(&b.attempts.groups).enumerate() {
        let task = a.tasks.get(group).cloned();
        let of_group = |sample: Option<usize>, field: &str, at: Option<usize>, a: String, b: String| {
            Parting { task: task.clone(), group: Some(group), sample, ..plain(field.to_owned(), at, a, b) }
        };
        if let Some((at, one, other)) = list(&one.prompt, &other.prompt) {
            return Some(of_group(None, "prompt token", Some(at), one, other));
        }
        if one.completions.len() != other.completions.len() {
            let (one, other) = (one.completions.len().to_string(), other.completions.len().to_string());
            return Some(of_group(None, "attempts", None, one, other));
        }
        for (index, (one, other)) in one.completions.iter().zip(&other.completions).enumerate() {
            let sample = Some(one.sample);
            if let Some((field, at, one, other)) = completion(one, other) {
                return Some(of_group(sample, field, at, one, other));
            }
            let verdicts = [a, b].map(|record| match &record.attempts.verdicts.groups[group][index] {
                Ok(verdict) => format!("{verdict:?}"),
                Err(error) => error.to_string(),
            });
            let [one, other] = verdicts;
            if one != other {
                return Some(of_group(sample, "verdict", None, one, other));
            }
            let [one, other] = [a, b].map(|record| record.attempts.scores.rewards[group][index]);
            if one != other {
                let [one, other] = [one, other].map(|reward| format!("{reward:?}"));
                return Some(of_group(sample, "reward", None, one, other));
            }
        }
    }
    None
}

/// The field, the place in it, and what the two have there.
type Field = (&'static str, Option<usize>, String, String);

fn completion(a: &Completion, b: &Completion) -> Option<Field> {
    let numbers = |a: &[f32], b: &[f32]| {
        let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        let (at, _, _) = list(&bits(a), &bits(b))?;
        let shown = |of: &[f32]| of.get(at).map_or_else(|| "nothing".to_owned(), ToString::to_string);
        Some((at, shown(a), shown(b)))
    };
    let tokens = list(&a.tokens, &b.tokens).map(|(at, one, other)| ("token", Some(at), one, other));
    let logprobs =
        || numbers(&a.logprobs, &b.logprobs).map(|(at, one, other)| ("logprob", Some(at), one, other));
    let unshaped = || {
        let found = numbers(&a.unshaped_logprobs, &b.unshaped_logprobs);
        found.map(|(at, one, other)| ("unshaped logprob", Some(at), one, other))
    };
    let text = || (a.text != b.text).then(|| ("text", None, a.text.clone(), b.text.clone()));
    let rest = || (a != b).then(|| ("turns", None, format!("{:?}", a.earlier), format!("{:?}", b.earlier)));
    tokens.or_else(logprobs).or_else(unshaped).or_else(text).or_else(rest)
}

fn plain(field: String, at: Option<usize>, a: String, b: String) -> Parting {
    Parting { step: 0, task: None, group: None, sample: None, field, at, a, b }
}

/// Columns are over attempts without gaps for those that are not learnt from, so a token's place is all that is said.
fn columns(a: &Record, b: &Record) -> Option<Parting> {
    let (one, other) =
        (a.learnt.columns.clone().unwrap_or_default(), b.learnt.columns.clone().unwrap_or_default());
    let lengths = list(&one.lengths, &other.lengths);
    if let Some((at, a, b)) = lengths {
        return Some(plain("length of a learnt attempt".to_owned(), Some(at), a, b));
    }
    if let Some((at, a, b)) = list(&one.excluded, &other.excluded) {
        return Some(plain("whether an attempt is left out of the loss".to_owned(), Some(at), a, b));
    }
    let none = Vec::new();
    let or_none = |column: &Option<Vec<u32>>| column.clone().unwrap_or_else(|| none.clone());
    let numbers = [
        ("old logprob", or_none(&one.old), or_none(&other.old)),
        ("reference logprob", or_none(&one.reference), or_none(&other.reference)),
        ("advantage", one.advantages, other.advantages),
        ("kept token", or_none(&one.keep), or_none(&other.keep)),
    ];
    numbers.into_iter().find_map(|(field, one, other)| {
        let (at, _, _) = list(&one, &other)?;
        let shown = |of: &[u32]| {
            of.get(at).map_or_else(|| "nothing".to_owned(), |bits| f32::from_bits(*bits).to_string())
        };
        Some(plain(field.to_owned(), Some(at), shown(&one), shown(&other)))
    })
}

fn gradients(a: &Record, b: &Record) -> Option<Parting> {
    let (one, other) = (&a.learnt.gradients, &b.learnt.gradients);
    for (update, (one, other)) in one.iter().zip(other).enumerate() {
        let names = one.tensors.keys().chain(other.tensors.keys());
        let differs = |name: &&String| one.tensors.get(*name) != other.tensors.get(*name);
        if let Some(name) = names.into_iter().find(differs) {
            let shown = |of: Option<&String>| of.cloned().unwrap_or_else(|| "nothing".to_owned());
            let field = format!("gradient of `{name}` in update {}", update + 1);
            return Some(plain(field, None, shown(one.tensors.get(name)), shown(other.tensors.get(name))));
        }
    }
    let counts = (one.len(), other.len());
    (counts.0 != counts.1)
        .then(|| plain("updates".to_owned(), None, counts.0.to_string(), counts.1.to_string()))
}

fn metrics(a: &Record, b: &Record) -> Option<Parting> {
    let (_, one, other) = list(&a.metrics, &b.metrics)?;
    Some(plain("metric".to_owned(), None, one, other))
}
