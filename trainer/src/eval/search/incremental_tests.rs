//! Incremental tests: the public tests are revealed one by one, each once the program passes those before it.
//!
//! Piya and Sullivan 2023, LLM4TDD (arXiv:2312.04687). As a difference: a program that does not come right after some repairs is given up
//! for a fresh one, which is shown as many tests.

use super::config::IncrementalTestsConfig;
use super::proposal::{Draws, Proposal, Search, SoFar};

/// One chain of programs.
pub(super) struct IncrementalTests {
    config: IncrementalTestsConfig,
    /// Tests that are shown.
    revealed: usize,
    /// Repairs since the last test was revealed or the last fresh program.
    repairs: usize,
}

impl IncrementalTests {
    pub(super) fn new(config: IncrementalTestsConfig) -> IncrementalTests {
        IncrementalTests { config, revealed: 1, repairs: 0 }
    }
}

impl Search for IncrementalTests {
    fn next(&mut self, so_far: &SoFar<'_>, _: &mut Draws) -> Vec<Proposal> {
        let tests = so_far.task.public_tests.len();
        let Some(last) = so_far.programs().next_back() else {
            return vec![Proposal { revealed: Some(self.revealed.min(tests)), ..Proposal::default() }];
        };
        let node = &so_far.nodes[last];
        let mut gave_up = false;
        if node.passes_first(self.revealed) && self.revealed < tests {
            // It may pass the next one already: what is revealed is the first test that tells it something.
            let told = (self.revealed..tests).find(|place| !node.passes_first(place + 1));
            self.revealed = told.map_or(tests, |place| place + 1);
            self.repairs = 1;
        } else if self.repairs < self.config.repairs && node.verdict.is_some() && !node.passes() {
            self.repairs += 1;
        } else {
            self.repairs = 0;
            gave_up = true;
        }
        let revealed = Some(self.revealed.min(tests));
        let parent = Some(last).filter(|_| !gave_up);
        vec![Proposal { parent, revealed, ..Proposal::default() }]
    }
}

#[cfg(test)]
mod tests {
    use super::super::proposal::tests::Toy;
    use super::*;
    use crate::tasks::Task;

    #[test]
    fn a_test_is_revealed_once_those_before_it_pass() {
        let mut toy = Toy::new();
        toy.task = Task { public_tests: ["a", "b", "c", "d"].map(Into::into).to_vec(), ..Task::default() };
        let mut search = IncrementalTests::new(IncrementalTestsConfig { repairs: 2 });
        // How many tests each program passes, from the first on.
        let passed = [0, 1, 2, 2, 2, 3, 4];
        let mut rounds = Vec::new();
        for _ in passed {
            let round = toy.round(&mut search, |_, place| (String::new(), passed[place], 4));
            let [Proposal { parent, revealed, .. }] = &round[..] else { panic!("{round:?}") };
            rounds.push((*parent, revealed.unwrap()));
        }
        let wanted = [
            (None, 1),
            (Some(0), 1), // The first fails, and is repaired.
            (Some(1), 2), // It passes the first test: the second one.
            (Some(2), 3),
            (Some(3), 3), // The third test still fails.
            (None, 3),    // Two repairs were not enough.
            (Some(5), 4),
        ];
        assert_eq!(rounds, wanted);
    }

    #[test]
    fn tests_that_pass_already_are_not_dwelt_on() {
        let mut toy = Toy::new();
        toy.task = Task { public_tests: ["a", "b", "c"].map(Into::into).to_vec(), ..Task::default() };
        let mut search = IncrementalTests::new(IncrementalTestsConfig { repairs: 1 });
        toy.round(&mut search, |_, _| (String::new(), 2, 3));
        let round = toy.round(&mut search, |_, _| (String::new(), 3, 3));
        assert_eq!(round[0].revealed, Some(3));
    }
}
