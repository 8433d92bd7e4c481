//! What is known of each task from earlier steps: the only state that rewards have. It comes to them with the attempt, so that
//! scoring stays a pure function; the trainer saves it with its checkpoint, and `rltrain rescore` makes it anew from the log.

use std::collections::BTreeMap;

use rltrain_executor::{OutcomeClass, Verdict};
use serde::{Deserialize, Serialize};

/// What is known of every task that was tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    tasks: BTreeMap<String, TaskHistory>,
}

/// What is known of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskHistory {
    /// Attempts with a verdict so far.
    pub attempts: u64,
    /// How many of them passed each test, in the order of the tests.
    pub passes: Vec<u64>,
    /// The best attempt so far.
    pub best: Option<Standing>,
    /// The latest greedy attempt.
    pub greedy: Option<Standing>,
}

/// How far an attempt got: enough to score it by an outcome table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// Its verdict in one word.
    pub class: OutcomeClass,
    /// Tests passed.
    pub passed: u64,
    /// Tests there are.
    pub total: u64,
}

impl Standing {
    /// The standing of a verdict.
    pub fn of(verdict: &Verdict) -> Self {
        Self { class: verdict.class(), passed: verdict.passed() as u64, total: verdict.total() as u64 }
    }

    /// By class, then by tests passed.
    fn rank(self) -> (OutcomeClass, u64) {
        (self.class, self.passed)
    }
}

impl History {
    /// What is known of the task `id`.
    pub fn task(&self, id: &str) -> Option<&TaskHistory> {
        self.tasks.get(id)
    }

    /// Takes in one sampled attempt. Called after the whole step is scored, so that no attempt is held against itself, in any
    /// order: the same attempts leave the same history.
    pub fn observe(&mut self, id: &str, verdict: &Verdict) {
        let task = self.tasks.entry(id.to_owned()).or_default();
        if task.passes.len() != verdict.total() {
            // The tests of the task are others than they were.
            *task = TaskHistory { passes: vec![0; verdict.total()], ..TaskHistory::default() };
        }
        task.attempts += 1;
        for (passes, ending) in task.passes.iter_mut().zip(&verdict.tests) {
            *passes += u64::from(ending.passed());
        }
        let standing = Standing::of(verdict);
        if task.best.is_none_or(|best| standing.rank() > best.rank()) {
            task.best = Some(standing);
        }
    }

    /// Takes in the greedy attempt at a task, which replaces the one before.
    pub fn observe_greedy(&mut self, id: &str, verdict: &Verdict) {
        self.tasks.entry(id.to_owned()).or_default().greedy = Some(Standing::of(verdict));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rltrain_executor::Outcome::{Failed, NotRun, Passed, SyntaxError};

    use super::*;
    use crate::tests::verdict;

    #[test]
    fn passes_are_counted_per_test_and_the_best_is_kept() {
        let mut history = History::default();
        for tests in [vec![Passed, Failed], vec![Passed, Passed], vec![Failed, Failed]] {
            history.observe("a", &verdict(tests));
        }
        let task = history.task("a").unwrap();
        assert_eq!((task.attempts, &task.passes[..]), (3, &[2, 1][..]));
        assert_eq!(task.best, Some(Standing { class: OutcomeClass::PassedAll, passed: 2, total: 2 }));
        assert_eq!(history.task("b"), None);
    }

    #[test]
    fn a_task_whose_tests_changed_begins_anew() {
        let mut history = History::default();
        history.observe("a", &verdict(vec![Passed]));
        history.observe("a", &verdict(vec![Failed, Failed]));
        assert_eq!(history.task("a").unwrap().passes, [0, 0]);
        assert_eq!(history.task("a").unwrap().attempts, 1);
    }

    proptest! {
        #[test]
        fn the_order_of_attempts_does_not_matter_and_history_survives_the_disk(
            mut attempts in prop::collection::vec(prop::array::uniform3(0..4_usize), 1..8),
        ) {
            let outcomes = [Passed, Failed, NotRun, SyntaxError];
            let learn = |attempts: &[[usize; 3]]| {
                let mut history = History::default();
                for attempt in attempts {
                    history.observe("a", &verdict(attempt.iter().map(|index| outcomes[*index]).collect()));
                }
                history
            };
            let forth = learn(&attempts);
            attempts.reverse();
            prop_assert_eq!(&learn(&attempts), &forth);
            let text = serde_json::to_string(&forth).unwrap();
            prop_assert_eq!(serde_json::from_str::<History>(&text).unwrap(), forth);
        }
    }
}
