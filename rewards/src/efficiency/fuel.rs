//! `efficiency`: a right program that takes less fuel than the reference.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::{greatest, relative, slack_problem};
use crate::term::reward_config;
use crate::{Attempt, Input, Reward};

reward_config! {
    /// `[rewards.efficiency]`: for a program that passes every test, its fuel in comparison with the reference's: 1 for as much, more
    /// for less, 0 from `slack` times as much on. A program that fails a test scores 0.
    ///
    /// Fuel counts instructions, so the score is the same on every machine and under any load. A task whose reference was not run
    /// gives no score.
    pub struct EfficiencyConfig for "efficiency" {
        /// How many times the reference's fuel scores 0, from 1.01 to 100. Default 2.
        pub slack: f64 = 2.0,
    }
}

/// A level of difficulty of a task: tests on inputs of one size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// How much it counts, above 0.
    pub weight: f64,
    /// Fuel that the reference takes for its tests.
    pub reference_fuel: u64,
}

/// ENAMEL's efficiency score (Qiu et al. 2024, arXiv 2406.06647, section 3.2) with fuel for time:
///
/// ```text
/// limit = slack · max_l reference_l        f_l = max(0, limit − fuel_l) / (limit − reference_l)
/// score = Σ weight_l f_l / Σ weight_l
/// ```
///
/// From the first level on that runs over the limit, levels score 0: the next ones are larger and were not run (right censoring).
/// Without levels, the whole job is one.
#[derive(Clone, Copy, Debug)]
pub struct Efficiency {
    slack: f64,
}

impl Efficiency {
    pub(crate) fn new(config: &EfficiencyConfig) -> Result<Self, String> {
        slack_problem(config.slack).map_or(Ok(Self { slack: config.slack }), Err)
    }

    /// The score of a right program; `fuel` has one number per level that was run.
    fn over_levels(&self, levels: &[Level], fuel: &[u64]) -> Option<f64> {
        let most = levels.iter().map(|level| level.reference_fuel).max().filter(|most| *most > 0)?;
        let limit = self.slack * most as f64;
        let (mut sum, mut weights, mut censored) = (0.0, 0.0, false);
        for (index, level) in levels.iter().enumerate() {
            weights += level.weight;
            let used = fuel.get(index).map(|fuel| *fuel as f64).filter(|used| *used < limit);
            censored |= used.is_none();
            if let Some(used) = used.filter(|_| !censored) {
                sum += level.weight * relative(limit, level.reference_fuel as f64, used);
            }
        }
        // Rounding must not carry the greatest score over itself.
        Some((sum / weights).min(greatest(self.slack)))
    }
}

impl Reward for Efficiency {
    fn name(&self) -> &str {
        "efficiency"
    }

    fn inputs(&self) -> &'static [Input] {
        &[Input::ReferenceFuel]
    }

    fn range(&self) -> RangeInclusive<f64> {
        0.0..=greatest(self.slack)
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let run = attempt.task.reference_run?;
        if !attempt.verdict.all_passed() {
            return (attempt.verdict.total() > 0).then_some(0.0);
        }
        match attempt.task.levels {
            [] => {
                self.over_levels(&[Level { weight: 1.0, reference_fuel: run.fuel }], &[attempt.verdict.fuel])
            }
            levels => self.over_levels(levels, attempt.level_fuel),
        }
    }

    fn explain(&self, attempt: &Attempt<'_>) -> String {
        match attempt.task.reference_run {
            Some(run) => format!("fuel {}, of the reference {}", attempt.verdict.fuel, run.fuel),
            None => "the reference was not run".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rltrain_executor::Outcome::{Failed, Passed};

    use super::*;
    use crate::tests::verdict;
    use crate::{ReferenceRun, Task};

    fn levels(fuels: &[u64], weights: &[f64]) -> Vec<Level> {
        let level = |(reference_fuel, weight): (&u64, &f64)| Level {
            weight: *weight,
            reference_fuel: *reference_fuel,
        };
        fuels.iter().zip(weights).map(level).collect()
    }

    #[test]
    fn the_score_of_a_problem_is_that_of_enamel() {
        let efficiency = Efficiency { slack: 2.0 };
        let score =
            efficiency.over_levels(&levels(&[100, 200, 400], &[3.0, 3.0, 4.0]), &[100, 350, 900]).unwrap();
        assert!((score - 0.525).abs() < 1e-12, "{score}");
    }

    #[test]
    fn levels_after_one_that_ran_over_the_limit_score_nothing() {
        let (efficiency, levels) = (Efficiency { slack: 2.0 }, levels(&[10, 10, 10], &[1.0, 1.0, 1.0]));
        let score = |fuel: &[u64]| efficiency.over_levels(&levels, fuel).unwrap();
        assert_eq!(score(&[10, 10, 10]), 1.0);
        assert_eq!(score(&[10, 20, 10]), 1.0 / 3.0);
        assert_eq!(score(&[10]), 1.0 / 3.0);
    }

    fn score(fuel: u64, reference: Option<u64>, passes: bool) -> Option<f64> {
        let reference_run = reference.map(|fuel| ReferenceRun { fuel, peak_memory_bytes: 1 });
        let task = Task { reference_run, ..Task::default() };
        let mut verdict = verdict(vec![if passes { Passed } else { Failed }]);
        verdict.fuel = fuel;
        Efficiency { slack: 2.0 }.score(&Attempt::new(&task, "", "", &verdict))
    }

    #[test]
    fn only_a_right_program_can_be_fast() {
        assert_eq!(score(100, Some(100), true), Some(1.0));
        assert_eq!(score(150, Some(100), true), Some(0.5));
        assert_eq!(score(0, Some(100), true), Some(2.0));
        assert_eq!(score(1, Some(100), false), Some(0.0));
        assert_eq!(score(1, None, true), None);
        assert_eq!(score(1, Some(0), true), None);
    }

    proptest! {
        #[test]
        fn more_fuel_never_earns_more_and_scores_stay_in_range(
            slack in 1.01..100.0f64, reference in 1..1_000_000u64, fuel in 0..4_000_000u64,
        ) {
            let efficiency = Efficiency { slack };
            let score = |fuel| efficiency.over_levels(&[Level { weight: 2.0, reference_fuel: reference }], &[fuel]).unwrap();
            prop_assert!(score(fuel) >= score(fuel + 1));
            prop_assert!(efficiency.range().contains(&score(fuel)), "{}", score(fuel));
            prop_assert!(efficiency.range().contains(&score(0)));
        }
    }
}
