//! Which checkpoints to keep: a decision, not an act.

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU64, NonZeroUsize};

/// What to do with one checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Leave it.
    Keep(u64),
    /// Delete it.
    Delete(u64),
}

/// Which checkpoints are kept. Each rule keeps on its own account: what no rule keeps is deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct Retention {
    /// The newest so many.
    pub keep_last: NonZeroUsize,
    /// Those of steps that this number divides.
    pub keep_every: Option<NonZeroU64>,
    /// Scores by step, higher is better: the best of those that are there is kept, the newest of several equal ones. A step
    /// without a score, or with one that is not a number, is not the best.
    pub scores: BTreeMap<u64, f64>,
    /// Kept in any case: what is in use, such as a checkpoint that is being sent elsewhere.
    pub in_use: BTreeSet<u64>,
}

impl Retention {
    /// Only the newest `keep_last`.
    pub fn last(keep_last: NonZeroUsize) -> Self {
        Self { keep_last, keep_every: None, scores: BTreeMap::new(), in_use: BTreeSet::new() }
    }

    /// The step with the best score among `steps`, which are in ascending order.
    fn best(&self, steps: &[u64]) -> Option<u64> {
        let scored = steps.iter().filter_map(|step| Some((*step, *self.scores.get(step)?)));
        let best = scored.filter(|(_, score)| !score.is_nan()).max_by(|(_, a), (_, b)| a.total_cmp(b));
        best.map(|(step, _)| step)
    }
}

/// Decides what to do with each of `steps` after the checkpoint of step `written` is safely on disk.
///
/// The checkpoint of step `written`, which is whole, is kept in any case. Later steps are not counted and not touched: they
/// can only be damaged ones that a resumed run passed over, and counting them would delete the whole ones.
///
/// Returns one action per step, in ascending order of steps. Does no I/O.
pub fn plan(steps: &[u64], written: u64, retention: &Retention) -> Vec<Action> {
    let steps: Vec<u64> = steps.iter().copied().collect::<BTreeSet<u64>>().into_iter().collect();
    let (counted, later) = steps.split_at(steps.partition_point(|step| *step <= written));
    let best = retention.best(counted);
    let first_of_last = counted.len().saturating_sub(retention.keep_last.get());
    let action = |(place, step): (usize, &u64)| {
        let is_nth = retention.keep_every.is_some_and(|every| step.is_multiple_of(every.get()));
        let in_any_case = *step == written || retention.in_use.contains(step);
        if place >= first_of_last || is_nth || best == Some(*step) || in_any_case {
            Action::Keep(*step)
        } else {
            Action::Delete(*step)
        }
    };
    let counted = counted.iter().enumerate().map(action);
    counted.chain(later.iter().map(|step| Action::Keep(*step))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn deleted(actions: &[Action]) -> Vec<u64> {
        actions.iter().filter_map(|a| if let Action::Delete(step) = a { Some(*step) } else { None }).collect()
    }

    fn last(count: usize) -> Retention {
        Retention::last(NonZeroUsize::new(count).unwrap())
    }

    #[test]
    fn the_oldest_go_first() {
        assert_eq!(deleted(&plan(&[30, 10, 40, 20], 40, &last(2))), [10, 20]);
    }

    #[test]
    fn a_damaged_future_is_neither_counted_nor_deleted() {
        assert_eq!(deleted(&plan(&[10, 15, 20, 30], 15, &last(1))), [10]);
    }

    #[test]
    fn every_nth_stays() {
        let retention = Retention { keep_every: NonZeroU64::new(20), ..last(1) };
        assert_eq!(deleted(&plan(&[10, 20, 30, 40, 50], 50, &retention)), [10, 30]);
    }

    #[test]
    fn the_best_stays_until_a_better_or_an_equal_one_comes() {
        let scores =
            |scores: &[(u64, f64)]| Retention { scores: scores.iter().copied().collect(), ..last(1) };
        let steps = [10, 20, 30, 40];
        assert_eq!(deleted(&plan(&steps, 40, &scores(&[(10, 0.1), (20, 0.4), (30, 0.2)]))), [10, 30]);
        assert_eq!(deleted(&plan(&steps, 40, &scores(&[(20, 0.4), (30, 0.4)]))), [10, 20]);
        // What is not there, and what is not a number, is not the best.
        assert_eq!(deleted(&plan(&steps, 40, &scores(&[(5, 0.9), (20, 0.1), (30, f64::NAN)]))), [10, 30]);
    }

    #[test]
    fn what_is_in_use_stays_and_is_counted_like_any_other() {
        let retention = Retention { in_use: [10].into(), ..last(2) };
        assert_eq!(deleted(&plan(&[10, 20, 30, 40], 40, &retention)), [20]);
    }

    fn any_retention() -> impl Strategy<Value = Retention> {
        let score = prop_oneof![8 => 0.0..1.0f64, 1 => Just(f64::NAN), 1 => Just(f64::NEG_INFINITY)];
        let scores = prop::collection::btree_map(0..50u64, score, 0..20);
        let in_use = prop::collection::btree_set(0..50u64, 0..3);
        let rules = (1..5usize, prop::option::of(1..12u64), scores, in_use);
        rules.prop_map(|(keep_last, every, scores, in_use)| Retention {
            keep_last: NonZeroUsize::new(keep_last).unwrap(),
            keep_every: every.and_then(NonZeroU64::new),
            scores,
            in_use,
        })
    }

    proptest! {
        #[test]
        fn each_rule_keeps_what_it_is_for_and_nothing_else_is_kept(
            mut steps in prop::collection::vec(0..50u64, 0..20), written in 0..50u64, retention in any_retention(),
        ) {
            steps.push(written);
            let actions = plan(&steps, written, &retention);
            steps.sort_unstable();
            steps.dedup();
            let step_of = |action: &Action| match action { Action::Keep(step) | Action::Delete(step) => *step };
            prop_assert_eq!(&actions.iter().map(step_of).collect::<Vec<_>>(), &steps, "one action per step, in order");
            prop_assert!(actions.contains(&Action::Keep(written)), "the whole one just written stays");

            let counted: Vec<u64> = steps.iter().copied().filter(|step| *step <= written).collect();
            let score = |step: &u64| retention.scores.get(step).copied().filter(|score| !score.is_nan());
            let best = counted.iter().filter_map(score).max_by(f64::total_cmp);
            let newest_best = counted.iter().rev().find(|step| best.is_some() && score(step) == best);
            for action in &actions {
                let step = step_of(action);
                let newer = counted.iter().filter(|other| **other > step).count();
                let wanted = step > written
                    || newer < retention.keep_last.get()
                    || retention.keep_every.is_some_and(|every| step % every.get() == 0)
                    || newest_best == Some(&step)
                    || retention.in_use.contains(&step);
                prop_assert_eq!(matches!(action, Action::Keep(_)), wanted, "step {}", step);
            }
        }

        #[test]
        fn deleting_what_was_decided_leaves_nothing_more_to_delete(
            mut steps in prop::collection::vec(0..50u64, 0..20), written in 0..50u64, retention in any_retention(),
        ) {
            steps.push(written);
            let kept: Vec<u64> = plan(&steps, written, &retention).iter()
                .filter_map(|action| if let Action::Keep(step) = action { Some(*step) } else { None }).collect();
            prop_assert_eq!(deleted(&plan(&kept, written, &retention)), Vec::<u64>::new());
        }
    }
}
