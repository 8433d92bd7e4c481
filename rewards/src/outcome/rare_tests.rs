//! `rare_tests`: the share of tests that pass, each weighed by how rarely attempts at the task have passed it so far.

use crate::history::TaskHistory;
use crate::term::reward_config;
use crate::{Attempt, Reward};

reward_config! {
    /// `[rewards.rare_tests]`: the share of hidden tests that pass, where a test counts the more the fewer attempts passed it in
    /// earlier steps; from 0 to 1.
    ///
    /// A task's first step weighs all tests alike.
    pub struct RareTestsConfig for "rare_tests" {}
}

/// `Σ wᵢ·passedᵢ / Σ wᵢ` with `wᵢ = 1 − (passesᵢ + 1) / (attempts + 2)`: one minus the pass rate of test `i` in earlier steps, as
/// the mean of a Beta(1, 1) prior has it, so that no weight is ever 0 or 1.
#[derive(Clone, Copy, Debug)]
pub struct RareTests;

/// The weight of each of `tests` tests.
fn weights(history: Option<&TaskHistory>, tests: usize) -> Vec<f64> {
    match history {
        Some(task) if task.passes.len() == tests => {
            let rate = |passes: &u64| (*passes as f64 + 1.0) / (task.attempts as f64 + 2.0);
            task.passes.iter().map(|passes| 1.0 - rate(passes)).collect()
        }
        _ => vec![1.0; tests],
    }
}

impl Reward for RareTests {
    fn name(&self) -> &str {
        "rare_tests"
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let verdict = attempt.verdict;
        if verdict.total() == 0 {
            return None;
        }
        if verdict.all_passed() {
            // Exactly, whatever rounding does to the sums.
            return Some(1.0);
        }
        let weights = weights(attempt.history, verdict.total());
        let passed = verdict.tests.iter().zip(&weights).filter(|(ending, _)| ending.passed());
        Some(passed.map(|(_, weight)| weight).sum::<f64>() / weights.iter().sum::<f64>())
    }

    fn explain(&self, attempt: &Attempt<'_>) -> String {
        match attempt.history {
            Some(task) => format!("weights from {} earlier attempts", task.attempts),
            None => "no earlier attempt, so all tests weigh the same".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rltrain_executor::Outcome::{Failed, Passed};

    use super::*;
    use crate::History;
    use crate::tests::{task, verdict};

    fn score(history: &History, tests: Vec<rltrain_executor::Outcome>) -> f64 {
        let (task, verdict) = (task(), verdict(tests));
        let attempt = Attempt { history: history.task("task"), ..Attempt::new(&task, "", "", &verdict) };
        RareTests.score(&attempt).unwrap()
    }

    #[test]
    fn the_test_that_few_pass_counts_more() {
        let mut history = History::default();
        assert_eq!(score(&history, vec![Passed, Failed]), 0.5);
        for _ in 0..2 {
            history.observe("task", &verdict(vec![Passed, Failed]));
        }
        // Pass rates (2+1)/4 and (0+1)/4: weights 1/4 and 3/4.
        assert_eq!(score(&history, vec![Passed, Failed]), 0.25);
        assert_eq!(score(&history, vec![Failed, Passed]), 0.75);
    }

    proptest! {
        #[test]
        fn passing_more_never_earns_less(seen in prop::collection::vec(any::<[bool; 3]>(), 0..9), now in any::<[bool; 3]>()) {
            let outcome = |passed: bool| if passed { Passed } else { Failed };
            let mut history = History::default();
            for attempt in seen {
                history.observe("task", &verdict(attempt.map(outcome).to_vec()));
            }
            let before = score(&history, now.map(outcome).to_vec());
            prop_assert!((0.0..=1.0).contains(&before));
            for test in 0..3 {
                let mut more = now;
                more[test] = true;
                prop_assert!(score(&history, more.map(outcome).to_vec()) >= before);
            }
            prop_assert_eq!(score(&history, vec![Passed; 3]), 1.0);
            prop_assert_eq!(score(&history, vec![Failed; 3]), 0.0);
        }
    }
}
