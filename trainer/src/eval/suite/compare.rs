//! Two evaluations over the same tasks, held against each other task by task.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::bootstrap::{RESAMPLES, mean_and_interval};
use super::super::evaluations::resampler;
use super::super::permutation::p_value;
use super::results::{Results, TaskResult};
use crate::error::TrainError;

/// Where the resamples and permutations of a comparison derive from: two results, the same numbers.
const SEED: u64 = 1;

/// What differs between two evaluations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Version of these keys.
    pub format: u64,
    /// The first model.
    pub a: String,
    /// The second one.
    pub b: String,
    /// Tasks that both attempted.
    pub tasks: usize,
    /// Settings that differ, in words.
    pub settings: Vec<String>,
    /// Every measure that both have.
    pub measures: Vec<Compared>,
    /// Tasks with another share of right attempts, the largest change first.
    pub changed: Vec<ChangedTask>,
}

/// One measure of both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compared {
    /// Its name, as `pass@10`.
    pub name: String,
    /// Tasks that have it in both.
    pub tasks: usize,
    /// Mean of the first over these.
    pub a: f64,
    /// Mean of the second.
    pub b: f64,
    /// Mean of second − first.
    pub difference: f64,
    /// Lower end of its 95 % paired bootstrap interval.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// Two-sided p-value of the paired permutation test.
    pub p: f64,
}

/// A task whose share of right attempts changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangedTask {
    /// Its id.
    pub id: String,
    /// Right attempts and all attempts of the first.
    pub a: [usize; 2],
    /// Of the second.
    pub b: [usize; 2],
}

impl ChangedTask {
    fn change(&self) -> f64 {
        let share = |[correct, samples]: [usize; 2]| correct as f64 / samples.max(1) as f64;
        share(self.b) - share(self.a)
    }
}

/// Compares `b` with `a`.
///
/// # Errors
///
/// If they are not of the same tasks.
pub fn compare(a: &Results, b: &Results) -> Result<Comparison, TrainError> {
    let others: BTreeMap<&str, &TaskResult> =
        b.tasks.iter().map(|task| (task.blake3.as_str(), task)).collect();
    let pairs: Vec<(&TaskResult, &TaskResult)> =
        a.tasks.iter().filter_map(|task| Some((task, *others.get(task.blake3.as_str())?))).collect();
    if pairs.len() != a.tasks.len() || pairs.len() != b.tasks.len() {
        let first = a.tasks.iter().find(|task| !others.contains_key(task.blake3.as_str()));
        let known = |task: &&TaskResult| !pairs.iter().any(|(one, _)| one.blake3 == task.blake3);
        let first = first.or_else(|| b.tasks.iter().find(known));
        return Err(TrainError::OtherTasks {
            shared: pairs.len(),
            of: [a.tasks.len(), b.tasks.len()],
            first: first.map(|task| task.id.clone()).unwrap_or_default(),
        });
    }
    let measures = a.measures.iter().filter_map(|measure| compared(&measure.name, &pairs));
    let changed = pairs.iter().map(|(one, other)| ChangedTask {
        id: one.id.clone(),
        a: [one.correct, one.samples],
        b: [other.correct, other.samples],
    });
    let mut changed: Vec<ChangedTask> = changed.filter(|task| task.change() != 0.0).collect();
    changed.sort_by(|one, other| other.change().abs().total_cmp(&one.change().abs()));
    Ok(Comparison {
        format: 1,
        a: a.model.clone(),
        b: b.model.clone(),
        tasks: pairs.len(),
        settings: settings(a, b),
        measures: measures.collect(),
        changed,
    })
}

/// One measure over the tasks that have it in both.
fn compared(name: &str, pairs: &[(&TaskResult, &TaskResult)]) -> Option<Compared> {
    let both = pairs.iter().filter_map(|(a, b)| Some((*a.measures.get(name)?, *b.measures.get(name)?)));
    let both: Vec<(f64, f64)> = both.collect();
    if both.is_empty() {
        return None;
    }
    let differences: Vec<f64> = both.iter().map(|(a, b)| b - a).collect();
    let (difference, [low, high]) = mean_and_interval(&differences, RESAMPLES, resampler(SEED));
    let mean = |of: fn(&(f64, f64)) -> f64| super::super::mean(&both.iter().map(of).collect::<Vec<_>>());
    Some(Compared {
        name: name.to_owned(),
        tasks: both.len(),
        a: mean(|(a, _)| *a),
        b: mean(|(_, b)| *b),
        difference,
        low,
        high,
        p: p_value(&differences, SEED),
    })
}

/// What the two did not do alike.
fn settings(a: &Results, b: &Results) -> Vec<String> {
    let pairs = [
        ("seed", a.seed.to_string(), b.seed.to_string()),
        ("attempts", a.samples.to_string(), b.samples.to_string()),
        ("temperature", a.temperature.to_string(), b.temperature.to_string()),
        ("most tokens", a.max_tokens.to_string(), b.max_tokens.to_string()),
        ("turns", a.turns.to_string(), b.turns.to_string()),
    ];
    let differ = pairs.into_iter().filter(|(_, a, b)| a != b);
    let mut told: Vec<String> = differ.map(|(name, a, b)| format!("{name}: {a} and {b}")).collect();
    if told.is_empty() && a.settings_blake3 != b.settings_blake3 {
        told.push("something else of how the model is asked, samples, or is judged".to_owned());
    }
    told
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Comparison { a, b, tasks, settings, measures, changed, .. } = self;
        writeln!(f, "# {b} against {a}, {tasks} tasks\n")?;
        for setting in settings {
            writeln!(f, "not alike: {setting}\n")?;
        }
        writeln!(f, "| measure | first | second | difference | 95 % interval | p | tasks |")?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|---:|")?;
        for Compared { name, tasks, a, b, difference, low, high, p } in measures {
            writeln!(
                f,
                "| {name} | {a:.4} | {b:.4} | {difference:+.4} | {low:+.4} to {high:+.4} | {p:.4} | {tasks} |"
            )?;
        }
        if changed.is_empty() {
            return writeln!(f, "\nNo task changed.");
        }
        writeln!(f, "\n| task | first | second | change |\n|---|---:|---:|---:|")?;
        for task in changed {
            let ([one, of_one], [other, of_other]) = (task.a, task.b);
            writeln!(
                f,
                "| {} | {one} of {of_one} | {other} of {of_other} | {:+.4} |",
                task.id,
                task.change()
            )?;
        }
        Ok(())
    }
}
