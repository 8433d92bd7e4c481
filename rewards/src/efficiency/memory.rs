//! `memory`: a right program that holds less memory than the reference.

use std::ops::RangeInclusive;

use super::{greatest, relative, slack_problem};
use crate::term::reward_config;
use crate::{Attempt, Input, Reward};

reward_config! {
    /// `[rewards.memory]`: for a program that passes every test, its peak memory in comparison with the reference's: 1 for as much,
    /// more for less, 0 from `slack` times as much on. A program that fails a test scores 0.
    ///
    /// Both peaks hold the interpreter, so small programs differ little. A task whose reference was not run gives no score.
    pub struct MemoryConfig for "memory" {
        /// How many times the reference's memory scores 0, from 1.01 to 100. Default 2.
        pub slack: f64 = 2.0,
    }
}

/// `max(0, limit − peak) / (limit − reference)`, with the limit `slack` times the reference's peak.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    slack: f64,
}

impl Memory {
    pub(crate) fn new(config: &MemoryConfig) -> Result<Self, String> {
        slack_problem(config.slack).map_or(Ok(Self { slack: config.slack }), Err)
    }
}

impl Reward for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn inputs(&self) -> &'static [Input] {
        &[Input::ReferenceMemory]
    }

    fn range(&self) -> RangeInclusive<f64> {
        0.0..=greatest(self.slack)
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let reference =
            attempt.task.reference_run.filter(|run| run.peak_memory_bytes > 0)?.peak_memory_bytes as f64;
        if !attempt.verdict.all_passed() {
            return (attempt.verdict.total() > 0).then_some(0.0);
        }
        let score = relative(self.slack * reference, reference, attempt.verdict.peak_memory_bytes as f64);
        // Rounding must not carry the greatest score over itself.
        Some(score.min(greatest(self.slack)))
    }

    fn explain(&self, attempt: &Attempt<'_>) -> String {
        match attempt.task.reference_run {
            Some(run) => {
                let (used, reference) = (attempt.verdict.peak_memory_bytes, run.peak_memory_bytes);
                format!(
                    "{} MiB, of the reference {} MiB",
                    used.div_ceil(1 << 20),
                    reference.div_ceil(1 << 20)
                )
            }
            None => "the reference was not run".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rltrain_executor::Outcome::{Failed, Passed};

    use super::*;
    use crate::tests::verdict;
    use crate::{ReferenceRun, Task};

    #[test]
    fn less_memory_than_the_reference_earns_more() {
        let score = |peak, passes: bool| {
            let reference_run = Some(ReferenceRun { fuel: 1, peak_memory_bytes: 100 });
            let task = Task { reference_run, ..Task::default() };
            let mut verdict = verdict(vec![if passes { Passed } else { Failed }]);
            verdict.peak_memory_bytes = peak;
            Memory { slack: 1.5 }.score(&Attempt::new(&task, "", "", &verdict))
        };
        assert_eq!(score(100, true), Some(1.0));
        assert_eq!(score(50, true), Some(2.0));
        assert_eq!(score(150, true), Some(0.0));
        assert_eq!(score(400, true), Some(0.0));
        assert_eq!(score(50, false), Some(0.0));
    }

    #[test]
    fn a_slack_that_leaves_no_room_is_refused() {
        for slack in [1.0, 0.0, 101.0, f64::NAN] {
            assert!(Memory::new(&MemoryConfig { slack, ..MemoryConfig::default() }).is_err());
        }
    }
}
