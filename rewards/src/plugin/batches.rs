//! Attempts cut into batches, and batches shared between several who can score them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{PlugInError, PlugInScore};
use crate::Attempt;

/// What a batch is answered with.
pub(super) type Answer = Result<Vec<Option<f64>>, PlugInError>;

/// Scores every attempt, in order, at most `size` at a time: each of `lanes` takes a batch whenever it is free. A batch that fails
/// is tried again group by group; a group that fails leaves its error with each of its attempts, and the others as they are.
pub(super) fn in_batches<L: Sync>(
    lanes: &[L],
    attempts: &[Attempt<'_>],
    size: usize,
    score: impl Fn(&L, &[Attempt<'_>]) -> Answer + Sync,
) -> Vec<PlugInScore> {
    let lost = |error: PlugInError, batch: &[Attempt<'_>]| vec![Err(error); batch.len()];
    let found = |scores: Vec<Option<f64>>| scores.into_iter().map(Ok).collect::<Vec<_>>();
    let of_batch = |lane: &L, batch: &&[Attempt<'_>]| match score(lane, batch) {
        Ok(scores) => found(scores),
        Err(error) if groups(batch).count() == 1 => lost(error, batch),
        // What one attempt did to the plug-in is no reason to lose others.
        Err(_) => {
            let each =
                groups(batch).map(|group| score(lane, group).map_or_else(|error| lost(error, group), found));
            each.flatten().collect()
        }
    };
    side_by_side(lanes, &batches(attempts, size), of_batch).into_iter().flatten().collect()
}

/// Attempts at one task each, which stand behind each other.
fn groups<'a, 'b>(attempts: &'b [Attempt<'a>]) -> impl Iterator<Item = &'b [Attempt<'a>]> {
    attempts.chunk_by(|one, next| std::ptr::eq(one.task, next.task))
}

/// The attempts cut into batches of at most `size`: as few as hold whole groups, so that a plug-in that compares attempts at a task has
/// all of them. A larger group is cut.
fn batches<'a, 'b>(attempts: &'b [Attempt<'a>], size: usize) -> Vec<&'b [Attempt<'a>]> {
    let mut cut = Vec::new();
    let (mut start, mut end) = (0, 0);
    for group in groups(attempts) {
        if end - start + group.len() > size {
            cut.extend(attempts[start..end].chunks(size));
            start = end;
        }
        end += group.len();
    }
    cut.extend(attempts[start..end].chunks(size));
    cut
}

/// The result of `work` on every item, in order: each of `lanes` takes one whenever it is free.
pub(crate) fn side_by_side<L: Sync, I: Sync, R: Send>(
    lanes: &[L],
    items: &[I],
    work: impl Fn(&L, &I) -> R + Sync,
) -> Vec<R> {
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let take = |lane: &L| {
        while let Some((item, result)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            items.get(index).zip(results.get(index))
        } {
            *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(work(lane, item));
        }
    };
    thread::scope(|scope| {
        let take = &take;
        let mut lanes = lanes.iter().take(items.len());
        // One of them is the thread that asks.
        let first = lanes.next();
        for lane in lanes {
            scope.spawn(move || take(lane));
        }
        first.into_iter().for_each(take);
    });
    let taken = |result: Mutex<Option<R>>| result.into_inner().unwrap_or_else(PoisonError::into_inner);
    results
        .into_iter()
        .map(|result| taken(result).expect("every item was taken by a lane by contract"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use rltrain_executor::Outcome;

    use super::*;
    use crate::Task;
    use crate::tests::{task, verdict};

    /// Programs of groups of these sizes, each named by its group and place.
    fn programs(sizes: &[usize]) -> Vec<Vec<String>> {
        let group = |(group, size): (usize, &usize)| (0..*size).map(|n| format!("{group}.{n}")).collect();
        sizes.iter().enumerate().map(group).collect()
    }

    #[test]
    fn batches_hold_whole_groups_and_a_group_that_fails_takes_no_other_with_it() {
        let verdict = verdict(vec![Outcome::Passed]);
        let programs = programs(&[3, 2, 4, 9, 1, 1]);
        let tasks: Vec<Task<'_>> = programs.iter().map(|_| task()).collect();
        let attempts: Vec<Attempt<'_>> = programs
            .iter()
            .zip(&tasks)
            .flat_map(|(group, task)| group.iter().map(|program| Attempt::new(task, "", program, &verdict)))
            .collect();
        let asked = Mutex::new(Vec::new());
        let scores = in_batches(&[()], &attempts, 6, |(), batch| {
            asked.lock().unwrap().push(batch.iter().map(|one| one.program).collect::<Vec<_>>().join(" "));
            let fails = batch.iter().any(|one| one.program == "1.1");
            if fails {
                Err(PlugInError::Reported("1.1".to_owned()))
            } else {
                Ok(vec![Some(0.5); batch.len()])
            }
        });
        assert_eq!(
            asked.into_inner().unwrap(),
            [
                "0.0 0.1 0.2 1.0 1.1",
                "0.0 0.1 0.2",
                "1.0 1.1",
                "2.0 2.1 2.2 2.3",
                "3.0 3.1 3.2 3.3 3.4 3.5",
                "3.6 3.7 3.8",
                "4.0 5.0"
            ]
        );
        let failed: Vec<&str> = attempts
            .iter()
            .zip(&scores)
            .filter(|(_, score)| score.is_err())
            .map(|(one, _)| one.program)
            .collect();
        assert_eq!((failed, scores.len()), (vec!["1.0", "1.1"], attempts.len()));
        assert!(in_batches(&[()], &[], 6, |(), _| unreachable!("nothing is asked about nothing")).is_empty());
    }
}
