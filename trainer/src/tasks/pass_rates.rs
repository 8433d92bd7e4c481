//! How often each task is solved, as far as the last visits tell.
//!
//! What a curriculum and the sizes of groups are decided by. Whole numbers, so that a checkpoint holds them exactly.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

/// One group of attempts at a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Visit {
    /// Attempts that passed every hidden test.
    pub passed: u32,
    /// Attempts with a verdict, at least one.
    pub judged: u32,
}

/// The last visits to every task. Made at the start of a run; told of every group; read by [`Curriculum`](super::Curriculum)
/// and by [`allot`](crate::rollout::allot).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassRates {
    most_visits: usize,
    /// By task, the newest visit last.
    visits: Vec<Vec<Visit>>,
}

impl PassRates {
    /// No visit yet to any of `tasks` tasks; of each, the last `most_visits` are remembered.
    pub fn new(tasks: usize, most_visits: NonZeroUsize) -> PassRates {
        PassRates { most_visits: most_visits.get(), visits: vec![Vec::new(); tasks] }
    }

    /// The state that [`PassRates::visits`] of a run over as many tasks has had.
    pub fn restored(visits: Vec<Vec<Visit>>, most_visits: NonZeroUsize) -> PassRates {
        PassRates { most_visits: most_visits.get(), visits }
    }

    /// By task, the visits that are remembered, the newest last: what a checkpoint has to hold.
    pub fn visits(&self) -> &[Vec<Visit>] {
        &self.visits
    }

    /// Takes note of a group. One without any verdict, because the infrastructure failed, is no visit.
    pub fn observe(&mut self, task: usize, passed: u32, judged: u32) {
        if judged == 0 {
            return;
        }
        let visits = &mut self.visits[task];
        visits.push(Visit { passed, judged });
        visits.drain(..visits.len().saturating_sub(self.most_visits));
    }

    /// The share of attempts at `task` that can be expected to pass: `(passed + 1) / (judged + 2)` over the visits that are
    /// remembered. The mean under a uniform prior (Laplace's rule of succession): 1/2 for a task that was never tried, and
    /// never quite 0 or 1.
    pub fn estimate(&self, task: usize) -> f64 {
        let sum = |of: fn(&Visit) -> u32| self.visits[task].iter().map(of).map(f64::from).sum::<f64>();
        (sum(|visit| visit.passed) + 1.0) / (sum(|visit| visit.judged) + 2.0)
    }

    /// Whether `task` has been visited.
    pub fn knows(&self, task: usize) -> bool {
        !self.visits[task].is_empty()
    }

    /// How many of the last visits to `task` ended with every attempt passing.
    pub fn solved_in_a_row(&self, task: usize) -> usize {
        self.visits[task].iter().rev().take_while(|visit| visit.passed == visit.judged).count()
    }

    /// Number of tasks.
    pub fn len(&self) -> usize {
        self.visits.len()
    }

    /// Whether there are no tasks.
    pub fn is_empty(&self) -> bool {
        self.visits.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(most_visits: usize) -> PassRates {
        PassRates::new(2, NonZeroUsize::new(most_visits).unwrap())
    }

    #[test]
    fn an_estimate_is_of_the_last_visits_and_one_half_before_the_first() {
        let mut rates = rates(2);
        assert_eq!((rates.estimate(0), rates.knows(0)), (0.5, false));
        rates.observe(0, 0, 8);
        assert_eq!((rates.estimate(0), rates.knows(0)), (0.1, true));
        rates.observe(0, 8, 8);
        assert_eq!(rates.estimate(0), 0.5);
        rates.observe(0, 8, 8);
        assert_eq!(rates.estimate(0), 17.0 / 18.0, "the first visit is forgotten");
        assert_eq!(rates.estimate(1), 0.5, "other tasks have nothing to do with it");
    }

    #[test]
    fn solved_visits_are_counted_from_the_last_one_back() {
        let mut rates = rates(3);
        let mut after = |passed| {
            rates.observe(1, passed, 4);
            rates.solved_in_a_row(1)
        };
        assert_eq!([after(4), after(3), after(4), after(4), after(4), after(4)], [1, 0, 1, 2, 3, 3]);
    }

    #[test]
    fn a_group_that_the_infrastructure_lost_is_no_visit() {
        let mut rates = rates(3);
        rates.observe(0, 0, 0);
        assert_eq!(rates, PassRates::new(2, NonZeroUsize::new(3).unwrap()));
    }

    #[test]
    fn what_a_checkpoint_holds_is_all_there_is() {
        let mut rates = rates(3);
        rates.observe(1, 3, 8);
        let text = serde_json::to_string(rates.visits()).unwrap();
        assert_eq!(text, r#"[[],[{"passed":3,"judged":8}]]"#);
        let read = PassRates::restored(serde_json::from_str(&text).unwrap(), NonZeroUsize::new(3).unwrap());
        assert_eq!(read, rates);
    }
}
