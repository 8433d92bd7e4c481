//! What is counted of all attempts of a run.

use std::collections::BTreeMap;

use rltrain_executor::{OutcomeClass, Verdict};
use serde::Serialize;

use super::content::thinned;
use super::{MOST_BUCKETS, MOST_POINTS};
use crate::journal::Line;

/// How an attempt can end, in the order of the stack from below.
pub(super) const CLASSES: [&str; 5] = ["passed", "failed test", "runtime error", "compile error", "lost"];

/// The place of an attempt's end in [`CLASSES`].
pub(super) fn class(verdict: Option<&Verdict>) -> usize {
    verdict.map_or(4, |verdict| match verdict.class() {
        OutcomeClass::PassedAll => 0,
        OutcomeClass::FailedTest => 1,
        OutcomeClass::RuntimeError => 2,
        OutcomeClass::CompileError => 3,
    })
}

/// How attempts ended, step by step.
#[derive(Debug, Default, Serialize)]
pub struct Outcomes {
    /// [`CLASSES`].
    pub classes: [&'static str; 5],
    /// The steps.
    pub steps: Vec<u64>,
    /// Attempts of each class, for each step.
    pub counts: Vec<[u32; 5]>,
}

/// `(passed, judged)`.
type Share = (u32, u32);

/// One task over time.
#[derive(Debug, Serialize)]
pub struct TaskTally {
    /// Its id.
    pub id: String,
    /// Attempts that passed all hidden tests, and attempts with a verdict, for each column.
    pub attempts: Vec<Share>,
    /// The same for each hidden test alone.
    pub tests: Vec<Vec<Share>>,
}

/// Counts while the log is read.
pub(super) struct Tallies {
    /// Which column a step belongs to, by its place among the logged ones.
    columns: BTreeMap<u64, usize>,
    buckets: Vec<u64>,
    tasks: BTreeMap<String, TaskTally>,
    outcomes: Outcomes,
}

impl Tallies {
    /// Nothing yet, of these steps in ascending order.
    pub(super) fn over(steps: impl ExactSizeIterator<Item = u64>) -> Tallies {
        let wide = steps.len().div_ceil(MOST_BUCKETS).max(1);
        let (mut columns, mut buckets) = (BTreeMap::new(), Vec::new());
        for (place, step) in steps.enumerate() {
            if place % wide == 0 {
                buckets.push(step);
            }
            columns.insert(step, place / wide);
        }
        let outcomes = Outcomes { classes: CLASSES, ..Outcomes::default() };
        Tallies { columns, buckets, tasks: BTreeMap::new(), outcomes }
    }

    pub(super) fn add(&mut self, step: u64, lines: &[Line]) {
        let Some(column) = self.columns.get(&step).copied() else { return };
        let mut counts = [0; CLASSES.len()];
        for line in lines.iter().filter(|line| !line.greedy) {
            counts[class(line.verdict.as_ref())] += 1;
            let Some(verdict) = &line.verdict else { continue };
            let none = || vec![(0, 0); self.buckets.len()];
            let task = self.tasks.entry(line.task.clone()).or_insert_with(|| TaskTally {
                id: line.task.clone(),
                attempts: none(),
                tests: Vec::new(),
            });
            count(&mut task.attempts[column], verdict.all_passed());
            for (test, ending) in verdict.hidden_tests().iter().enumerate() {
                if task.tests.len() <= test {
                    task.tests.push(none());
                }
                count(&mut task.tests[test][column], ending.passed());
            }
        }
        self.outcomes.steps.push(step);
        self.outcomes.counts.push(counts);
    }

    /// Outcomes, tasks in the order of their ids, and the first step of each column.
    pub(super) fn finish(self) -> (Outcomes, Vec<TaskTally>, Vec<u64>) {
        let Outcomes { classes, steps, counts } = self.outcomes;
        let kept = thinned(steps.len(), MOST_POINTS);
        let outcomes = Outcomes {
            classes,
            steps: kept.iter().map(|place| steps[*place]).collect(),
            counts: kept.iter().map(|place| counts[*place]).collect(),
        };
        (outcomes, self.tasks.into_values().collect(), self.buckets)
    }
}

fn count((passed, judged): &mut Share, has_passed: bool) {
    *passed += u32::from(has_passed);
    *judged += 1;
}
