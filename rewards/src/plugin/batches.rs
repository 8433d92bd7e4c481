//! Attempts cut into batches, and batches shared between several who can score them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{PlugInError, PlugInScore};
use crate::Attempt;

/// What a batch is answered with.
pub(super) type Answer = Result<Vec<Option<f64>>, PlugInError>;

/// Scores every attempt, in order, at most `size` at a time: each of `lanes` takes a batch whenever it is free. A batch that fails
/// leaves its error with each of its attempts, and the others as they are.
pub(super) fn in_batches<L: Sync>(
    lanes: &[L],
    attempts: &[Attempt<'_>],
    size: usize,
    score: impl Fn(&L, &[Attempt<'_>]) -> Answer + Sync,
) -> Vec<PlugInScore> {
    let batches: Vec<&[Attempt<'_>]> = attempts.chunks(size).collect();
    let answers = side_by_side(lanes, &batches, |lane, batch| score(lane, batch));
    let mut all = Vec::with_capacity(attempts.len());
    for (batch, answer) in batches.iter().zip(answers) {
        match answer {
            Ok(scores) => all.extend(scores.into_iter().map(Ok)),
            Err(error) => all.extend(batch.iter().map(|_| Err(error.clone()))),
        }
    }
    all
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
