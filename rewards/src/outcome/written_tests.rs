//! `written_tests`: tests that the model writes accept the right program and catch wrong ones.

use std::ops::RangeInclusive;

use crate::term::reward_config;
use crate::{Attempt, Input, Reward};

reward_config! {
    /// `[rewards.written_tests]`: for tasks that ask for tests: the share of wrong programs that they catch, from 0 to 1; -1 if the
    /// reference fails them.
    pub struct WrittenTestsConfig for "written_tests" {}
}

/// The mutation score of the tests that the model wrote.
#[derive(Clone, Copy, Debug)]
pub struct WrittenTestsReward;

impl Reward for WrittenTestsReward {
    fn name(&self) -> &str {
        "written_tests"
    }

    fn inputs(&self) -> &'static [Input] {
        &[Input::WrittenTests]
    }

    fn range(&self) -> RangeInclusive<f64> {
        -1.0..=1.0
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let tests = attempt.written_tests?;
        if !tests.reference_passed {
            return Some(-1.0);
        }
        (tests.wrong_programs > 0).then(|| tests.caught as f64 / tests.wrong_programs as f64)
    }

    fn explain(&self, attempt: &Attempt<'_>) -> String {
        match attempt.written_tests {
            Some(tests) if tests.reference_passed => {
                format!("{} of {} wrong programs caught", tests.caught, tests.wrong_programs)
            }
            Some(_) => "the reference fails these tests".to_owned(),
            None => "the attempt wrote no tests".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WrittenTests;
    use crate::tests::{task, verdict};

    #[test]
    fn catching_wrong_programs_earns_only_if_the_right_one_passes() {
        let score = |written_tests| {
            let (task, verdict) = (task(), verdict(vec![]));
            WrittenTestsReward.score(&Attempt { written_tests, ..Attempt::new(&task, "", "", &verdict) })
        };
        let tests = |reference_passed, caught, wrong_programs| {
            Some(WrittenTests { reference_passed, caught, wrong_programs })
        };
        assert_eq!(score(tests(true, 3, 4)), Some(0.75));
        assert_eq!(score(tests(false, 4, 4)), Some(-1.0));
        assert_eq!(score(tests(true, 0, 0)), None);
        assert_eq!(score(None), None);
    }
}
