//! Which tasks a step trains on.

use super::TaskSet;
use crate::rng::{Stream, uniform};

/// Places in `tasks` of the next `count` tasks after `drawn` others: a pure function of the number of tasks, the seed, and
/// those two numbers.
///
/// Training walks through epochs, each a permutation of all tasks of its own, without a gap between draws or
/// epochs: at any time no task was drawn more than once more often than another. A draw that asks for more tasks
/// than are left in an epoch takes the rest from the next, so a task can be drawn twice in it.
pub fn draw(tasks: &TaskSet, seed: u64, drawn: u64, count: usize) -> Vec<usize> {
    draw_places(tasks.len(), seed, drawn, count)
}

/// What [`draw_by_chance`] returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Places of the tasks that were taken, in order.
    pub taken: Vec<usize>,
    /// Tasks that were passed by on the way, those that were taken included: how far the walk has come.
    pub walked: u64,
}

/// Walks on from the place that is `first` tasks behind the start of [`draw`]'s walk, and takes each task with its chance until
/// `count` are taken: a pure function of its arguments.
///
/// Whether a task is taken derives from the place in the walk, so that it does not depend on how the walk is divided into
/// draws. With chances of 1 this is [`draw`]. A task can be taken once an epoch, as there.
///
/// # Panics
///
/// If no chance is above 0, which is a bug: the walk would never end.
pub fn draw_by_chance(chances: &[f64], seed: u64, first: u64, count: usize) -> Walk {
    assert!(chances.iter().any(|chance| *chance > 0.0), "no task has a chance");
    let len = chances.len() as u64;
    let (mut taken, mut place) = (Vec::with_capacity(count), first);
    while taken.len() < count {
        let order = permutation(chances.len(), seed, place / len);
        for task in &order[(place % len) as usize..] {
            if taken.len() == count {
                break;
            }
            if uniform(seed, Stream::Curriculum, &[place]) < chances[*task] {
                taken.push(*task);
            }
            place += 1;
        }
    }
    Walk { taken, walked: place - first }
}

fn draw_places(len: usize, seed: u64, first: u64, count: usize) -> Vec<usize> {
    let (mut epoch, mut place) = (first / len as u64, (first % len as u64) as usize);
    let mut drawn = Vec::with_capacity(count);
    while drawn.len() < count {
        let order = permutation(len, seed, epoch);
        let taken = (count - drawn.len()).min(len - place);
        drawn.extend_from_slice(&order[place..place + taken]);
        (epoch, place) = (epoch.wrapping_add(1), 0);
    }
    drawn
}

/// The numbers below `len` in the order of an epoch.
///
/// Fisher–Yates, as in Knuth, The Art of Computer Programming 2, algorithm P. 53 random bits choose among `len`
/// places with a bias below `len / 2^53`.
fn permutation(len: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    for last in (1..len).rev() {
        let choices = last + 1;
        let other = (uniform(seed, Stream::TaskOrder, &[epoch, last as u64]) * choices as f64) as usize;
        order.swap(last, other.min(last));
    }
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn walk(len: usize, seed: u64, steps: u64, count: usize) -> Vec<usize> {
        (0..steps).flat_map(|step| draw_places(len, seed, step * count as u64, count)).collect()
    }

    /// A run that is resumed by another build must draw the same tasks.
    #[test]
    fn the_order_never_changes() {
        assert_eq!(walk(5, 1, 2, 5), [2, 4, 3, 0, 1, 2, 3, 1, 4, 0]);
    }

    #[test]
    fn epochs_and_seeds_differ_in_order() {
        let orders = [permutation(50, 1, 0), permutation(50, 1, 1), permutation(50, 2, 0)];
        assert!(orders[0] != orders[1] && orders[0] != orders[2] && orders[1] != orders[2]);
    }

    #[test]
    fn every_place_is_as_likely_for_every_task() {
        let mut at_front = [0; 4];
        for epoch in 0..4000 {
            at_front[permutation(4, 9, epoch)[0]] += 1;
        }
        // 1000 expected, with a standard deviation of 27.
        assert!(at_front.iter().all(|count| (880..1120).contains(count)), "{at_front:?}");
    }

    #[test]
    fn tasks_are_taken_as_often_as_their_chances_say() {
        let chances = [1.0, 0.5, 0.1, 0.0];
        let walk = draw_by_chance(&chances, 3, 0, 8000);
        let epochs = walk.walked as f64 / chances.len() as f64;
        for (task, chance) in chances.iter().enumerate() {
            let taken = walk.taken.iter().filter(|taken| **taken == task).count() as f64;
            // Standard deviation at most 0.0071 of some 5000 epochs.
            assert!((taken / epochs - chance).abs() < 0.03, "task {task}: {taken} times in {epochs} epochs");
        }
    }

    proptest! {
        #[test]
        fn every_task_is_drawn_once_per_epoch(
            len in 1usize..40, count in 1usize..60, seed: u64, epochs in 1usize..4,
        ) {
            let steps = (len * epochs).div_ceil(count) as u64;
            let drawn = walk(len, seed, steps, count);
            for epoch in drawn.chunks_exact(len).take(epochs) {
                let mut sorted = epoch.to_vec();
                sorted.sort_unstable();
                prop_assert_eq!(sorted, (0..len).collect::<Vec<_>>());
            }
        }

        #[test]
        fn a_draw_does_not_depend_on_the_draws_before_it(
            len in 1usize..40, count in 1usize..60, seed: u64, step in 0u64..9,
        ) {
            let start = step as usize * count;
            let straight = walk(len, seed, step + 1, count);
            prop_assert_eq!(&straight[start..], draw_places(len, seed, step * count as u64, count));
        }

        #[test]
        fn only_the_position_in_the_walk_counts(len in 1usize..40, half in 1usize..30, seed: u64, step in 0u64..9) {
            let whole = draw_places(len, seed, step * 2 * half as u64, 2 * half);
            let half_of = |which: u64| draw_places(len, seed, (2 * step + which) * half as u64, half);
            let halves = [half_of(0), half_of(1)].concat();
            prop_assert_eq!(whole, halves);
        }

        #[test]
        fn with_chances_of_one_a_walk_by_chance_is_a_draw(
            len in 1usize..40, count in 0usize..60, seed: u64, first in 0u64..1000,
        ) {
            let walk = draw_by_chance(&vec![1.0; len], seed, first, count);
            prop_assert_eq!(walk, Walk { taken: draw_places(len, seed, first, count), walked: count as u64 });
        }

        #[test]
        fn a_walk_by_chance_does_not_depend_on_how_it_is_divided(
            chances in prop::collection::vec(0.05..1.0f64, 1..20), halves in (0usize..20, 0usize..20), seed: u64,
        ) {
            let whole = draw_by_chance(&chances, seed, 7, halves.0 + halves.1);
            let one = draw_by_chance(&chances, seed, 7, halves.0);
            let other = draw_by_chance(&chances, seed, 7 + one.walked, halves.1);
            prop_assert_eq!(&whole.taken, &[one.taken, other.taken].concat());
            prop_assert_eq!(whole.walked, one.walked + other.walked);
        }

        #[test]
        fn any_place_can_be_drawn_from(len in 1usize..40, count in 0usize..60, seed: u64, first: u64) {
            let drawn = draw_places(len, seed, first, count);
            prop_assert_eq!(drawn.len(), count);
            prop_assert!(drawn.iter().all(|place| *place < len));
        }
    }
}
