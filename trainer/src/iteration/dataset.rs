//! What attempts came to and wrote, over the steps of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A state that an attempt came to, and the program that it wrote there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Visit {
    /// The task, by its place in the task file.
    pub task: usize,
    /// Number of the attempt, over all that were gathered; the visits of one attempt are its turns, in order.
    pub attempt: u64,
    /// Token ids behind the prompt: the programs before, and what was said of them. Empty in the first turn.
    pub context: Vec<i64>,
    /// Token ids of the program, what ended it included.
    pub written: Vec<i64>,
    /// Whether it was the attempt's last turn, whose program the hidden tests have judged.
    pub is_last: bool,
    /// Whether the program is right.
    pub is_right: bool,
    /// Whether nobody wrote it: it is the task's reference.
    pub is_reference: bool,
    /// What the verifier said of it when it was found, from 0 to 1, if there is one.
    pub score: Option<f64>,
    /// Share of the public tests that it passes; 1 if it is right. Only known where programs are relabelled in hindsight.
    pub share: f64,
    /// The prompt of the task that it does solve, if it is not right and there is one.
    pub hindsight: Option<Vec<i64>>,
}

/// What the attempts of one step came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// The prompts of the tasks that were tried, by their places.
    pub prompts: BTreeMap<usize, Vec<i64>>,
    /// Where attempts came to, those of one attempt after the other, numbered from 0.
    pub visits: Vec<Visit>,
}

/// What all attempts so far came to, or those since the last fine-tuning. A part of a run's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// The prompts of the tasks that were tried, by their places.
    pub prompts: BTreeMap<usize, Vec<i64>>,
    /// Where attempts came to, in the order in which they were made.
    pub visits: Vec<Visit>,
    /// Attempts gathered so far, over the whole run.
    attempts: u64,
}

impl Dataset {
    /// Adds what a step found.
    pub fn add(&mut self, found: &Found) {
        let first = self.attempts;
        self.prompts.extend(found.prompts.iter().map(|(task, prompt)| (*task, prompt.clone())));
        for visit in &found.visits {
            let attempt = first + visit.attempt;
            self.attempts = self.attempts.max(attempt + 1);
            self.visits.push(Visit { attempt, ..visit.clone() });
        }
    }

    /// Forgets what was gathered; attempts to come are numbered on.
    pub fn clear(&mut self) {
        self.prompts.clear();
        self.visits.clear();
    }
}
