//! Verdicts of jobs that were seen before.
//!
//! Models repeat themselves: attempts at one task are often the same text. A job is known by the hash of everything that its
//! verdict depends on.

use std::collections::{HashMap, VecDeque};

use crate::{Cause, Ending, Outcome, Verdict};

/// Verdicts that are kept in memory. The oldest go first.
const MOST_KEPT: usize = 16_384;

/// Memory that they may take, in bytes: verdicts are small unless the programs print.
const MOST_BYTES: usize = 16 << 20;

/// What identifies a job.
pub(crate) type Key = [u8; 32];

/// What a verdict depends on besides its job: the runtime and, where verdicts outlive the process, the code that judges.
pub(crate) struct Identity([u8; 32]);

impl Identity {
    /// What `parts` name.
    pub(crate) fn new(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("rltrain 2026 identity of verdicts");
        for part in parts {
            // Every part is preceded by its length, so that no two lists are written the same.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The key of a job, by the request that a worker gets for it: program, tests and limits, all of them.
    pub(crate) fn key(&self, request: &[u8]) -> Key {
        *blake3::keyed_hash(&self.0, request).as_bytes()
    }
}

/// Whether the same job always gets this verdict, so that it may be kept. Processor time is the exception.
pub(crate) fn is_final(verdict: &Verdict) -> bool {
    verdict.endings().all(|ending| *ending != Outcome::OutOfTime)
}

/// Verdicts by key.
#[derive(Default)]
pub(crate) struct VerdictCache {
    verdicts: HashMap<Key, Verdict>,
    ages: VecDeque<(Key, usize)>,
    bytes: usize,
}

impl VerdictCache {
    /// The verdict of a job, if it is known.
    pub(crate) fn get(&self, key: &Key) -> Option<&Verdict> {
        self.verdicts.get(key)
    }

    /// Keeps a verdict; the oldest go to make room.
    pub(crate) fn insert(&mut self, key: Key, verdict: Verdict) {
        let bytes = memory(&verdict);
        if self.verdicts.insert(key, verdict).is_some() {
            return;
        }
        self.ages.push_back((key, bytes));
        self.bytes += bytes;
        while self.ages.len() > MOST_KEPT || self.bytes > MOST_BYTES {
            let Some((oldest, bytes)) = self.ages.pop_front() else { return };
            self.verdicts.remove(&oldest);
            self.bytes -= bytes;
        }
    }
}

/// About what a verdict takes in memory.
fn memory(verdict: &Verdict) -> usize {
    let causes = verdict.endings().filter_map(|ending| ending.cause.as_ref()).map(|cause| match cause {
        Cause::WrongAnswer { actual, expected } => actual.len() + expected.len(),
        Cause::Exception { kind, message, .. } => kind.len() + message.len(),
        Cause::Note(note) => note.len(),
    });
    let denied = verdict.denied.keys().map(|name| 2 * size_of::<String>() + name.len());
    size_of::<(Key, Verdict, Key, usize)>()
        + verdict.tests.len() * size_of::<Ending>()
        + verdict.stdout.len()
        + verdict.stderr.len()
        + causes.chain(denied).sum::<usize>()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::protocol::encode;
    use crate::{Job, Limits, WallTime};

    fn job(program: &str, tests: &[&str]) -> Job {
        Job::new(program, tests.iter().copied(), Limits::default())
    }

    /// A verdict with one test and this output.
    pub(crate) fn verdict(stdout: &str, outcome: Outcome) -> Verdict {
        Verdict {
            load: Ending::PASSED,
            tests: vec![Ending::because(outcome, Cause::Note("because".to_owned()))],
            public: 0,
            fuel: 1,
            peak_memory_bytes: 1,
            wall: WallTime::default(),
            stdout: stdout.to_owned(),
            stderr: String::new(),
            denied: [("sock_send".to_owned(), 2)].into(),
        }
    }

    #[test]
    fn jobs_and_runtimes_that_differ_anywhere_have_different_keys() {
        let mut jobs = vec![job("ab", &["c"]), job("a", &["bc"]), job("ab", &["c", ""]), job("abc", &[])];
        for change in [
            |limits: &mut Limits| limits.timeout_ms = 11_000.try_into().unwrap(),
            |limits: &mut Limits| limits.fuel = 11_000_000.try_into().unwrap(),
            |limits: &mut Limits| limits.memory_mib = 65.try_into().unwrap(),
            |limits: &mut Limits| limits.output_bytes = 11.try_into().unwrap(),
        ] {
            let mut other = job("ab", &["c"]);
            change(&mut other.limits);
            jobs.push(other);
        }
        let identities = [&[][..], &[&b"xy"[..]], &[&b"x"[..], b"y"]].map(Identity::new);
        let keys: std::collections::BTreeSet<Key> = identities
            .iter()
            .flat_map(|identity| jobs.iter().map(|job| identity.key(&encode(job).unwrap())))
            .collect();
        assert_eq!(keys.len(), 3 * jobs.len());
    }

    #[test]
    fn what_is_kept_is_bounded_by_number_and_by_memory() {
        let mut cache = VerdictCache::default();
        let key = |number: usize| *blake3::hash(&number.to_le_bytes()).as_bytes();
        for number in 0..MOST_KEPT + 10 {
            cache.insert(key(number), verdict("", Outcome::Passed));
        }
        assert_eq!((cache.verdicts.len(), cache.ages.len()), (MOST_KEPT, MOST_KEPT));
        assert!(cache.get(&key(9)).is_none() && cache.get(&key(10)).is_some());
        let long = "x".repeat(2048);
        for number in 0..MOST_KEPT {
            cache.insert(key(number), verdict(&long, Outcome::Passed));
        }
        assert!(cache.bytes <= MOST_BYTES && cache.bytes > MOST_BYTES / 2);
        let counted: usize = cache.verdicts.values().map(memory).sum();
        assert_eq!(counted, cache.bytes);
    }

    #[test]
    fn what_processor_time_has_decided_is_not_final() {
        assert!(is_final(&verdict("", Outcome::OutOfFuel)));
        assert!(!is_final(&verdict("", Outcome::OutOfTime)));
        assert!(!is_final(&Verdict { load: Outcome::OutOfTime.into(), ..verdict("", Outcome::NotRun) }));
    }
}
