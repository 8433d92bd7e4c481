//! Which tasks are worth a visit: those that are solved now and then.

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PassRates;

/// `[tasks.curriculum]`: draws tasks by how often they are solved. Without it, every task comes once in each pass over the
/// file.
///
/// A pass still goes through all tasks in an order of its own; each is taken with the chance `max(4 p (1 - p), least_weight)`,
/// `p` its pass rate over the last `tasks.pass_rate_visits` visits, and passed over otherwise. `p (1 - p)` is the learnability
/// of Foster et al. 2025 (arXiv:2502.12272): the variance of success, which the signal of a group grows with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CurriculumConfig {
    /// Chance of a task that is always solved, or never, compared with one that is solved half of the time; above 0, at
    /// most 1. Default 0.1: now and then it is seen whether that still holds.
    #[schemars(extend("exclusiveMinimum" = 0.0, "maximum" = 1.0))]
    pub least_weight: f64,
    /// A task is drawn no more after so many visits in a row in which every attempt solved it; at most
    /// `tasks.pass_rate_visits`. Default 3. 0: never. When every task is dropped, all come back.
    pub drop_after: usize,
}

impl Default for CurriculumConfig {
    fn default() -> Self {
        Self { least_weight: 0.1, drop_after: 3 }
    }
}

impl CurriculumConfig {
    /// The chance of a task of this pass rate, from `least_weight` to 1.
    fn weight(&self, pass_rate: f64) -> f64 {
        (4.0 * pass_rate * (1.0 - pass_rate)).max(self.least_weight)
    }

    /// Whether a task was solved often enough.
    fn drops(&self, rates: &PassRates, task: usize) -> bool {
        self.drop_after > 0 && rates.solved_in_a_row(task) >= self.drop_after
    }
}

/// What a curriculum makes of the pass rates: a chance for every task.
#[derive(Clone, Debug, PartialEq)]
pub struct Curriculum {
    /// The chance of each task to be taken when its turn comes, 0 for those that are dropped; one of them is above 0.
    pub chances: Vec<f64>,
    /// Tasks that are solved often enough, whether or not others are left.
    pub dropped: usize,
}

impl Curriculum {
    /// A function of the recipe and of what the run has seen so far.
    pub fn of(config: &CurriculumConfig, rates: &PassRates) -> Curriculum {
        let dropped = (0..rates.len()).filter(|task| config.drops(rates, *task)).count();
        let nothing_left = dropped == rates.len();
        let chance = |task| {
            if config.drops(rates, task) && !nothing_left { 0.0 } else { config.weight(rates.estimate(task)) }
        };
        Curriculum { chances: (0..rates.len()).map(chance).collect(), dropped }
    }
}

/// Default of `tasks.pass_rate_visits`.
pub(crate) fn default_visits() -> NonZeroUsize {
    const { NonZeroUsize::new(4).expect("4 is not 0") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rates(visits: &[&[(u32, u32)]]) -> PassRates {
        let mut rates = PassRates::new(visits.len(), default_visits());
        for (task, visits) in visits.iter().enumerate() {
            for (passed, judged) in *visits {
                rates.observe(task, *passed, *judged);
            }
        }
        rates
    }

    #[test]
    fn the_middle_is_favoured_and_solved_tasks_are_dropped() {
        let rates = rates(&[&[(4, 8)], &[], &[(0, 8)], &[(0, 8), (0, 8), (0, 8)], &[(8, 8), (8, 8)]]);
        let config = CurriculumConfig { least_weight: 0.2, drop_after: 2 };
        let Curriculum { chances, dropped } = Curriculum::of(&config, &rates);
        // Half solved and never tried; 1/10; 1/26, which the floor lifts; dropped.
        assert_eq!(chances, [1.0, 1.0, 4.0 * 0.1 * 0.9, 0.2, 0.0]);
        assert_eq!(dropped, 1);
        let kept = CurriculumConfig { drop_after: 0, ..config };
        assert_eq!(Curriculum::of(&kept, &rates).chances[4], 4.0 * (17.0 / 18.0) * (1.0 - 17.0 / 18.0));
    }

    #[test]
    fn when_every_task_is_dropped_all_come_back() {
        let solved: &[(u32, u32)] = &[(4, 4), (4, 4), (4, 4)];
        let Curriculum { chances, dropped } =
            Curriculum::of(&CurriculumConfig::default(), &rates(&[solved, solved]));
        assert_eq!(dropped, 2);
        assert!(chances.iter().all(|chance| *chance > 0.0), "{chances:?}");
    }

    proptest! {
        #[test]
        fn a_chance_is_between_the_floor_and_one_and_the_same_for_a_rate_and_its_complement(
            least_weight in 1e-3..1.0f64, passed in 0u32..9, failed in 0u32..9,
        ) {
            let config = CurriculumConfig { least_weight, drop_after: 0 };
            let judged = passed + failed;
            let chance = |passed| Curriculum::of(&config, &rates(&[&[(passed, judged)]])).chances[0];
            prop_assert!((least_weight..=1.0).contains(&chance(passed)));
            prop_assert!((chance(passed) - chance(failed)).abs() < 1e-12);
        }
    }
}
