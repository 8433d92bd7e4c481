//! Which worker has which jobs: a policy without clocks, processes or pipes.
//!
//! A worker that has answered and finds its next job in its pipe does not sleep, and its parent need not hurry to wake it; for
//! short programs that is a third of all work. So a worker may have jobs ahead of the one it runs. Nobody is to wait for
//! a slow program because of that:
//!
//! - a worker that has nothing gets a job before any other gets one ahead;
//! - nothing is handed out behind a job of a task whose jobs are known to be long, or one that has run for [`MOST_AHEAD`];
//! - what was handed out ahead, and still waits when the job before it has run that long, is taken back.
//!
//! A job that was taken back may have begun in that moment: then it is judged twice, and the first worker's answer is not
//! looked at. Verdicts do not depend on who gives them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a job may run while others wait behind it. A short one takes a quarter of a millisecond.
pub(crate) const MOST_AHEAD: Duration = Duration::from_millis(5);

/// What every worker has, with the one that runs, when there is no hurry to give it more.
const PLENTY: usize = 32;

/// All workers, by their numbers from 0.
pub(crate) struct Crew<T> {
    lanes: Vec<Lane<T>>,
    depth: usize,
}

/// What one worker has.
struct Lane<T> {
    /// Whether there is a worker. A lane without one has at most one job, for which one is started.
    is_manned: bool,
    /// The first of these runs, in the order in which they were sent.
    jobs: VecDeque<Sent<T>>,
    /// When the first began.
    since: Instant,
    /// Jobs that this worker was ever sent.
    count: u64,
}

struct Sent<T> {
    /// Absent once it was taken back: the worker still answers for it.
    job: Option<T>,
    number: u64,
    is_short: bool,
}

/// Who is to get the next job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The worker.
    pub(crate) worker: usize,
    /// Whether it has others to do before.
    pub(crate) is_ahead: bool,
}

/// A job that its worker is to forget.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TakenBack<T> {
    pub(crate) worker: usize,
    /// Which of its jobs, as the worker counts them.
    pub(crate) number: u64,
    pub(crate) job: T,
}

impl<T> Crew<T> {
    /// So many workers without jobs, each of which may have `depth` at a time.
    pub(crate) fn new(workers: usize, depth: usize, now: Instant) -> Self {
        let lane = |_| Lane { is_manned: true, jobs: VecDeque::new(), since: now, count: 0 };
        Self { lanes: (0..workers).map(lane).collect(), depth }
    }

    /// Who is to get the next job; `None` if all have what they can take.
    pub(crate) fn turn(&self, now: Instant) -> Option<Turn> {
        let (worker, lane) = self
            .lanes
            .iter()
            .enumerate()
            .filter(|(_, lane)| lane.has_room(self.depth, now))
            .min_by_key(|(_, lane)| (lane.jobs.len(), !lane.is_manned))?;
        Some(Turn { worker, is_ahead: !lane.jobs.is_empty() })
    }

    /// Gives a worker a job.
    pub(crate) fn hand(&mut self, worker: usize, job: T, is_short: bool, now: Instant) {
        let lane = &mut self.lanes[worker];
        if lane.jobs.is_empty() {
            lane.since = now;
        }
        lane.jobs.push_back(Sent { job: Some(job), number: lane.count, is_short });
        lane.count += 1;
    }

    /// The job that a worker runs, and since when; `None` if it has none, or runs one that was taken back.
    pub(crate) fn running(&mut self, worker: usize) -> Option<(&mut T, Instant)> {
        let lane = &mut self.lanes[worker];
        let since = lane.since;
        lane.jobs.front_mut()?.job.as_mut().map(|job| (job, since))
    }

    /// How many jobs a worker has.
    pub(crate) fn count(&self, worker: usize) -> usize {
        self.lanes[worker].jobs.len()
    }

    /// Whether a worker has anything to answer for.
    pub(crate) fn is_busy(&self, worker: usize) -> bool {
        !self.lanes[worker].jobs.is_empty()
    }

    /// A worker has answered. Returns the job that it ran, unless that was taken back; the next one runs.
    pub(crate) fn answered(&mut self, worker: usize, now: Instant) -> Option<T> {
        let lane = &mut self.lanes[worker];
        lane.since = now;
        lane.jobs.pop_front()?.job
    }

    /// Takes back what waits behind jobs that have run for long.
    pub(crate) fn take_back(&mut self, now: Instant) -> Vec<TakenBack<T>> {
        let mut taken = Vec::new();
        for (worker, lane) in self.lanes.iter_mut().enumerate() {
            if !lane.is_quick(now) {
                let waiting = lane.jobs.iter_mut().skip(1);
                taken.extend(waiting.filter_map(|Sent { job, number, .. }| {
                    Some(TakenBack { worker, number: *number, job: job.take()? })
                }));
            }
        }
        taken
    }

    /// A worker is gone. Returns the job that it ran, unless that was taken back, and those that had not begun.
    pub(crate) fn lost(&mut self, worker: usize) -> (Option<T>, Vec<T>) {
        let lane = &mut self.lanes[worker];
        (lane.is_manned, lane.count) = (false, 0);
        let mut jobs = std::mem::take(&mut lane.jobs).into_iter();
        let running = jobs.next().and_then(|sent| sent.job);
        (running, jobs.filter_map(|sent| sent.job).collect())
    }

    /// There is another worker in the place of one that was lost. It begins with the job that is there.
    pub(crate) fn replaced(&mut self, worker: usize, now: Instant) {
        (self.lanes[worker].is_manned, self.lanes[worker].since) = (true, now);
    }

    /// Whether jobs wait behind others.
    pub(crate) fn is_ahead(&self) -> bool {
        self.lanes.iter().any(|lane| lane.jobs.iter().skip(1).any(|sent| sent.job.is_some()))
    }

    /// Whether every worker has enough to do for a while.
    pub(crate) fn has_plenty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.jobs.len() >= PLENTY)
    }
}

impl<T> Lane<T> {
    fn has_room(&self, depth: usize, now: Instant) -> bool {
        self.jobs.is_empty()
            || self.is_manned
                && self.jobs.len() < depth
                && self.is_quick(now)
                && self.jobs.iter().all(|sent| sent.is_short)
    }

    fn is_quick(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < MOST_AHEAD
    }
}

#[cfg(test)]
#[path = "crew_tests.rs"]
mod tests;
