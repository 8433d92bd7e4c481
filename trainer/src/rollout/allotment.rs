//! How many attempts each task of a step gets, where groups differ in size.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Bounds of a group's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSizes {
    /// Fewest attempts.
    pub least: usize,
    /// Most attempts.
    pub most: usize,
}

/// The number of attempts at each of the tasks with these pass rates: `total` together, each within `bounds`.
///
/// A group teaches if one attempt passes and one does not. With pass rate `p` that happens to one of `n` attempts with
/// probability
///
/// ```text
/// 1 - p^n - (1 - p)^n
/// ```
///
/// (Knapsack RL, Li et al. 2025, arXiv:2509.25849), and one attempt more adds `p^n (1 - p) + (1 - p)^n p`, which falls with `n`.
/// So giving attempt after attempt to where it adds most makes the expected number of groups that teach as large as `total`
/// attempts can: tasks that are solved half of the time, whose few attempts differ anyway, hand some to those that are hardly
/// ever, or nearly always, solved. The paper multiplies the probability by what it expects a task to gain, `p (1 - p)^2`, which
/// takes from tasks that are nearly solved; here a curriculum does that by not drawing them.
///
/// A pure function. Of tasks where an attempt adds the same, the first gets it. A `total` that the bounds leave no room for is
/// brought to the nearest that they do.
pub fn allot(pass_rates: &[f64], total: usize, bounds: GroupSizes) -> Vec<usize> {
    let GroupSizes { least, most } = bounds;
    let mut sizes = vec![least; pass_rates.len()];
    let mut left = total.saturating_sub(least * pass_rates.len());
    let mut open: BinaryHeap<Open> =
        pass_rates.iter().enumerate().map(|(task, p)| Open::after(task, *p, least)).collect();
    while let Some(next) = open.pop().filter(|_| left > 0) {
        if sizes[next.task] < most {
            sizes[next.task] += 1;
            left -= 1;
            open.push(next.one_more());
        }
    }
    sizes
}

/// A task, and what one attempt more would add to the probability that its group teaches.
struct Open {
    task: usize,
    pass_rate: f64,
    /// Probabilities that all attempts so far pass, and that none does.
    all: f64,
    none: f64,
}

impl Open {
    fn after(task: usize, pass_rate: f64, attempts: usize) -> Open {
        let start = Open { task, pass_rate, all: 1.0, none: 1.0 };
        (0..attempts).fold(start, |open, _| open.one_more())
    }

    fn one_more(self) -> Open {
        Open { all: self.all * self.pass_rate, none: self.none * (1.0 - self.pass_rate), ..self }
    }

    fn adds(&self) -> f64 {
        self.all * (1.0 - self.pass_rate) + self.none * self.pass_rate
    }
}

impl Ord for Open {
    fn cmp(&self, other: &Open) -> Ordering {
        self.adds().total_cmp(&other.adds()).then(other.task.cmp(&self.task))
    }
}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Open) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Open {
    fn eq(&self, other: &Open) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Open {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Expected number of groups that teach.
    fn expected(pass_rates: &[f64], sizes: &[usize]) -> f64 {
        let teaches = |(p, n): (&f64, &usize)| 1.0 - p.powi(*n as i32) - (1.0 - p).powi(*n as i32);
        pass_rates.iter().zip(sizes).map(teaches).sum()
    }

    /// Every way to divide `total` among `tasks` groups within the bounds.
    fn every(tasks: usize, total: usize, bounds: GroupSizes) -> Vec<Vec<usize>> {
        if tasks == 0 {
            return if total == 0 { vec![Vec::new()] } else { Vec::new() };
        }
        let with = |size: usize| {
            let rest = every(tasks - 1, total - size, bounds).into_iter();
            rest.map(move |rest| [vec![size], rest].concat())
        };
        (bounds.least..=bounds.most.min(total)).flat_map(with).collect()
    }

    #[test]
    fn tasks_that_are_rarely_solved_get_attempts_of_those_that_are_solved_half_of_the_time() {
        let bounds = GroupSizes { least: 4, most: 16 };
        assert_eq!(allot(&[0.5, 0.1, 0.5, 0.9], 32, bounds), [5, 11, 5, 11]);
        assert_eq!(allot(&[0.5, 0.5, 0.5], 24, bounds), [8, 8, 8]);
        assert_eq!(allot(&[0.02, 0.5], 16, bounds), [10, 6]);
    }

    #[test]
    fn the_bounds_hold_whatever_is_asked_for() {
        let bounds = GroupSizes { least: 2, most: 3 };
        assert_eq!(allot(&[0.5, 0.1], 0, bounds), [2, 2]);
        assert_eq!(allot(&[0.5, 0.1], 100, bounds), [3, 3]);
        assert_eq!(allot(&[], 8, bounds), [0; 0]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_division_makes_more_groups_teach(
            pass_rates in prop::collection::vec(0.01..0.99f64, 1..4), mean in 2usize..7, below in 0usize..5, above in 0usize..5,
        ) {
            let bounds = GroupSizes { least: mean.saturating_sub(below).max(1), most: mean + above };
            let total = mean * pass_rates.len();
            let sizes = allot(&pass_rates, total, bounds);
            prop_assert_eq!(sizes.iter().sum::<usize>(), total);
            prop_assert!(sizes.iter().all(|size| (bounds.least..=bounds.most).contains(size)), "{:?}", sizes);
            let ours = expected(&pass_rates, &sizes);
            for other in every(pass_rates.len(), total, bounds) {
                prop_assert!(expected(&pass_rates, &other) <= ours + 1e-12, "{:?} is better than {:?}", other, sizes);
            }
        }
    }
}
