//! `repair`: a patch makes failing tests pass and breaks none.

use std::ops::RangeInclusive;

use crate::term::reward_config;
use crate::{Attempt, Input, Reward};

reward_config! {
    /// `[rewards.repair]`: the share of the tests that failed before the attempt and pass after it, less the share of those that
    /// passed before and fail after; from -1 to 1.
    ///
    /// For tasks that change a program. An attempt without a program before it has no score, and neither has one that was given
    /// nothing to repair.
    pub struct RepairConfig for "repair" {}
}

/// `fixed / failing − broken / passing`, with the tests that failed (`failing`) and passed (`passing`) before. A patch that is
/// to earn 1 fixes everything and breaks nothing.
#[derive(Clone, Copy, Debug)]
pub struct Repair;

/// Tests by what the patch did to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Change {
    failing: u32,
    fixed: u32,
    passing: u32,
    broken: u32,
}

impl Change {
    fn of(attempt: &Attempt<'_>) -> Option<Self> {
        let before = attempt.before?;
        if before.total() != attempt.verdict.total() {
            return None;
        }
        let mut change = Self::default();
        for (before, after) in before.tests.iter().zip(&attempt.verdict.tests) {
            let (all, changed) = match before.passed() {
                false => (&mut change.failing, &mut change.fixed),
                true => (&mut change.passing, &mut change.broken),
            };
            *all += 1;
            *changed += u32::from(before.passed() != after.passed());
        }
        (change.failing > 0).then_some(change)
    }
}

impl Reward for Repair {
    fn name(&self) -> &str {
        "repair"
    }

    fn inputs(&self) -> &'static [Input] {
        &[Input::Before]
    }

    fn range(&self) -> RangeInclusive<f64> {
        -1.0..=1.0
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let Change { failing, fixed, passing, broken } = Change::of(attempt)?;
        Some(f64::from(fixed) / f64::from(failing) - f64::from(broken) / f64::from(passing.max(1)))
    }

    fn explain(&self, attempt: &Attempt<'_>) -> String {
        match Change::of(attempt) {
            Some(Change { failing, fixed, passing, broken }) => {
                format!(
                    "{fixed} of {failing} failing tests fixed, {broken} of {passing} passing tests broken"
                )
            }
            None => "there is no program before this one with a failing test".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rltrain_executor::Outcome::{self, Failed, NotRun, Passed, Raised};

    use super::*;
    use crate::tests::{task, verdict};

    fn score(before: &[Outcome], after: &[Outcome]) -> Option<f64> {
        let (task, before, after) = (task(), verdict(before.to_vec()), verdict(after.to_vec()));
        Repair.score(&Attempt { before: Some(&before), ..Attempt::new(&task, "", "", &after) })
    }

    #[test]
    fn fixing_earns_and_breaking_costs() {
        assert_eq!(score(&[Failed, Passed], &[Passed, Passed]), Some(1.0));
        assert_eq!(score(&[Failed, Raised], &[Passed, NotRun]), Some(0.5));
        assert_eq!(score(&[Failed, Passed], &[Passed, Failed]), Some(0.0));
        assert_eq!(score(&[Failed, Passed], &[Failed, Failed]), Some(-1.0));
        assert_eq!(score(&[Failed], &[Passed]), Some(1.0));
    }

    #[test]
    fn nothing_to_repair_is_no_score() {
        assert_eq!(score(&[Passed], &[Passed]), None);
        assert_eq!(score(&[Failed], &[Passed, Passed]), None);
        let (task, after) = (task(), verdict(vec![Passed]));
        assert_eq!(Repair.score(&Attempt::new(&task, "", "", &after)), None);
    }
}
