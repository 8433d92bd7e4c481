//! Verdicts of jobs that were seen before, and of jobs under way.
//!
//! Models repeat themselves: attempts at one task are often the same text. A job is known by the hash of everything that its
//! verdict depends on; a duplicate waits for the first one, or gets its verdict at once.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::{InfraError, Job, Outcome, Runtime, Verdict};

/// Verdicts that are kept. The oldest go first.
const MOST_KEPT: usize = 65_536;

/// What identifies a job.
pub(crate) type Key = [u8; 32];

type Outcomes = Result<Verdict, InfraError>;

/// The place that a verdict will come to.
#[derive(Default)]
pub(crate) struct Slot {
    result: Mutex<Option<Outcomes>>,
    decided: Condvar,
}

impl Slot {
    /// Waits for the result.
    pub(crate) fn wait(&self) -> Outcomes {
        let mut result = lock(&self.result);
        loop {
            match &*result {
                Some(result) => return result.clone(),
                None => result = self.decided.wait(result).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Sets the result, if there is none yet.
    pub(crate) fn decide(&self, decision: Outcomes) {
        lock(&self.result).get_or_insert(decision);
        self.decided.notify_all();
    }
}

/// Slots by key.
#[derive(Default)]
pub(crate) struct VerdictCache {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    slots: HashMap<Key, Arc<Slot>>,
    ages: VecDeque<Key>,
}

impl VerdictCache {
    /// The slot of a job, and whether it is new: then the caller must see to it that it is decided.
    pub(crate) fn slot(&self, key: Key) -> (Arc<Slot>, bool) {
        let mut entries = lock(&self.entries);
        if let Some(slot) = entries.slots.get(&key) {
            return (Arc::clone(slot), false);
        }
        if entries.ages.len() >= MOST_KEPT
            && let Some(oldest) = entries.ages.pop_front()
        {
            entries.slots.remove(&oldest);
        }
        let slot = Arc::new(Slot::default());
        entries.slots.insert(key, Arc::clone(&slot));
        entries.ages.push_back(key);
        (slot, true)
    }

    /// Decides a slot. What may come out differently next time is not kept for the next one who asks.
    pub(crate) fn decide(&self, key: &Key, slot: &Slot, decision: Outcomes) {
        let is_final = decision
            .as_ref()
            .is_ok_and(|verdict| verdict.endings().all(|ending| *ending != Outcome::OutOfTime));
        if !is_final {
            let mut entries = lock(&self.entries);
            entries.slots.remove(key);
            entries.ages.retain(|kept| kept != key);
        }
        slot.decide(decision);
    }
}

/// Hash of everything that a verdict depends on.
pub(crate) fn key(runtime: Runtime, job: &Job) -> io::Result<Key> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(runtime.wasm_hash().as_bytes());
    serde_json::to_writer(&mut hasher, job)?;
    Ok(*hasher.finalize().as_bytes())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    fn job(program: &str, tests: &[&str]) -> Job {
        Job::new(program, tests.iter().copied(), Limits::default())
    }

    #[test]
    fn jobs_that_differ_anywhere_have_different_keys() {
        let mut jobs = vec![job("ab", &["c"]), job("a", &["bc"]), job("ab", &["c", ""]), job("abc", &[])];
        let mut longer = job("ab", &["c"]);
        longer.limits.timeout_ms = 11_000.try_into().unwrap();
        jobs.push(longer);
        let keys: std::collections::BTreeSet<Key> =
            jobs.iter().map(|job| key(Runtime::Python315, job).unwrap()).collect();
        assert_eq!(keys.len(), jobs.len());
    }

    #[test]
    fn a_failure_is_told_to_all_who_wait_and_not_kept() {
        let cache = VerdictCache::default();
        let (first, is_new) = cache.slot([0; 32]);
        let (second, is_second_new) = cache.slot([0; 32]);
        assert!(is_new && !is_second_new);
        cache.decide(&[0; 32], &first, Err(InfraError::Stopped));
        assert!(matches!(second.wait(), Err(InfraError::Stopped)));
        assert!(cache.slot([0; 32]).1);
    }
}
