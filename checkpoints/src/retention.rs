//! Which checkpoints to keep: a decision, not an act.

use std::num::NonZeroUsize;

/// What to do with one checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Leave it.
    Keep(u64),
    /// Delete it.
    Delete(u64),
}

/// Decides what to do with each of `steps` after the checkpoint of step `written` is safely on disk.
///
/// Keeps the newest `keep_last` steps up to and including `written`. Later steps are not counted and not touched: they
/// can only be damaged ones that a resumed run passed over, and counting them would delete the whole ones.
///
/// Returns one action per step, in ascending order of steps. Does no I/O.
pub fn plan(steps: &[u64], written: u64, keep_last: NonZeroUsize) -> Vec<Action> {
    let mut steps = steps.to_vec();
    steps.sort_unstable();
    steps.dedup();
    let counted = steps.partition_point(|&step| step <= written);
    let first_kept = counted.saturating_sub(keep_last.get());
    let action = |(index, step)| if index < first_kept { Action::Delete(step) } else { Action::Keep(step) };
    steps.into_iter().enumerate().map(action).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn deleted(actions: &[Action]) -> Vec<u64> {
        actions.iter().filter_map(|a| if let Action::Delete(step) = a { Some(*step) } else { None }).collect()
    }

    #[test]
    fn the_oldest_go_first() {
        let keep = NonZeroUsize::new(2).unwrap();
        assert_eq!(deleted(&plan(&[30, 10, 40, 20], 40, keep)), [10, 20]);
    }

    #[test]
    fn a_damaged_future_is_neither_counted_nor_deleted() {
        let keep = NonZeroUsize::new(1).unwrap();
        assert_eq!(deleted(&plan(&[10, 15, 20, 30], 15, keep)), [10]);
    }

    proptest! {
        #[test]
        fn the_one_just_written_is_always_kept(
            steps in prop::collection::vec(0..50u64, 0..20), written in 0..50u64, keep in 1..5usize,
        ) {
            let mut steps = steps;
            steps.push(written);
            let actions = plan(&steps, written, NonZeroUsize::new(keep).unwrap());
            prop_assert!(actions.contains(&Action::Keep(written)));
            let kept = actions.iter().filter(|a| matches!(a, Action::Keep(s) if *s <= written)).count();
            let older = actions.iter().filter(|a| matches!(a, Action::Keep(s) | Action::Delete(s) if *s <= written)).count();
            prop_assert_eq!(kept, keep.min(older));
        }
    }
}
