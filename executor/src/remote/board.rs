//! Which server has which jobs: a policy without clocks, sockets or servers.
//!
//! - A job goes to the server with the smallest share of its workers busy, of those with a lane to spare.
//! - A job whose server is lost goes to another one, and to a further one if that is lost as well, up to [`MOST_LOSSES`] times: losing a
//!   server says nothing about a job, unless it is the job that does it.
//! - A job with which a server's sandbox failed is tried by one other server.
//! - A job that does not come back is also given to a server that has nothing else to do; the first answer counts.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Servers that may be lost with a job before it is given up.
pub(crate) const MOST_LOSSES: usize = 16;

/// Servers whose sandbox may fail with a job.
const MOST_FAULTS: usize = 2;

/// All servers, by their numbers from 0, and all jobs that they have.
pub(crate) struct Board<T> {
    posts: Vec<Post>,
    flights: BTreeMap<u64, Flight<T>>,
    /// Jobs that are to be given to a server once more.
    again: VecDeque<u64>,
    count: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Post {
    is_here: bool,
    workers: usize,
    busy: usize,
    idle: usize,
    /// Whether it has answered since it can be reached.
    has_answered: bool,
}

struct Flight<T> {
    job: T,
    since: Instant,
    /// Servers that have it now.
    at: Vec<usize>,
    /// Servers whose sandbox has failed with it.
    faults: Vec<usize>,
    losses: usize,
}

/// What is to be done for a job that no server has any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<T> {
    /// It is tried again, or its answer is on its way from elsewhere.
    Goes,
    /// It is given up.
    Fails(T),
}

impl<T> Board<T> {
    /// So many servers, none of which can be reached yet.
    pub(crate) fn new(servers: usize) -> Self {
        Self {
            posts: vec![Post::default(); servers],
            flights: BTreeMap::new(),
            again: VecDeque::new(),
            count: 0,
        }
    }

    /// A server can be reached, and runs so many programs at the same time.
    pub(crate) fn arrive(&mut self, server: usize, workers: usize) {
        self.posts[server] = Post { is_here: true, workers: workers.max(1), ..Post::default() };
    }

    /// A server gets no more jobs.
    pub(crate) fn dismiss(&mut self, server: usize) {
        self.posts[server].is_here = false;
    }

    /// Whether a server gets jobs.
    pub(crate) fn is_here(&self, server: usize) -> bool {
        self.posts[server].is_here
    }

    /// Whether a server has answered anything since it can be reached.
    pub(crate) fn has_answered(&self, server: usize) -> bool {
        self.posts[server].has_answered
    }

    /// Whether no server gets jobs.
    pub(crate) fn is_deserted(&self) -> bool {
        self.posts.iter().all(|post| !post.is_here)
    }

    /// A lane of a server has nothing to do, or has again.
    pub(crate) fn rest(&mut self, server: usize, is_idle: bool) {
        let idle = &mut self.posts[server].idle;
        *idle = if is_idle { *idle + 1 } else { idle.saturating_sub(1) };
    }

    /// Whether a lane of this server takes the next new job: no other one with a lane to spare has less to do.
    pub(crate) fn is_turn(&self, server: usize) -> bool {
        let here = self.posts[server];
        here.is_here
            && self.posts.iter().enumerate().all(|(number, other)| {
                let is_behind = other.busy * here.workers < here.busy * other.workers;
                number == server || !other.is_here || other.idle == 0 || !is_behind
            })
    }

    /// A server is given a new job. Returns the job's number.
    pub(crate) fn begin(&mut self, server: usize, job: T, now: Instant) -> u64 {
        let number = self.count;
        self.count += 1;
        let flight = Flight { job, since: now, at: vec![server], faults: Vec::new(), losses: 0 };
        self.flights.insert(number, flight);
        self.posts[server].busy += 1;
        number
    }

    /// A server is given a job once more, if one waits for that which its sandbox has not failed with.
    pub(crate) fn begin_again(&mut self, server: usize) -> Option<u64> {
        if !self.is_here(server) {
            return None;
        }
        let fits =
            |number: &u64| self.flights.get(number).is_some_and(|flight| !flight.faults.contains(&server));
        let place = self.again.iter().position(fits)?;
        let number = self.again.remove(place)?;
        self.hand(server, number);
        Some(number)
    }

    /// A server is given a second copy of the oldest job that another one has had for `hedge`, if there is one.
    pub(crate) fn begin_beside(&mut self, server: usize, now: Instant, hedge: Duration) -> Option<u64> {
        if !self.is_here(server) {
            return None;
        }
        let is_late = |flight: &Flight<T>| now.saturating_duration_since(flight.since) >= hedge;
        let fits = |(_, flight): &(&u64, &Flight<T>)| flight.has_use_of(server) && is_late(flight);
        let number = *self.flights.iter().find(fits)?.0;
        self.hand(server, number);
        Some(number)
    }

    /// When a server that has nothing to do is to look for such a job; `None` if there is nothing to look for.
    pub(crate) fn next_hedge(&self, server: usize, hedge: Duration) -> Option<Instant> {
        self.flights.values().find(|flight| flight.has_use_of(server))?.since.checked_add(hedge)
    }

    fn hand(&mut self, server: usize, number: u64) {
        if let Some(flight) = self.flights.get_mut(&number) {
            flight.at.push(server);
            self.posts[server].busy += 1;
        }
    }

    /// A job, unless its answer is known already.
    pub(crate) fn job(&self, number: u64) -> Option<&T> {
        self.flights.get(&number).map(|flight| &flight.job)
    }

    /// A server has answered. Returns the job, unless another one has answered before, and whether others still have it.
    pub(crate) fn answer(&mut self, server: usize, number: u64) -> Option<(T, bool)> {
        self.release(server);
        self.posts[server].has_answered = true;
        let flight = self.flights.remove(&number)?;
        Some((flight.job, flight.at.len() > 1))
    }

    /// A server does without a job after all: it is full, or the answer came from elsewhere.
    pub(crate) fn give_back(&mut self, server: usize, number: u64) {
        self.release(server);
        if self.leave(server, number) {
            self.again.push_front(number);
        }
    }

    /// A server's sandbox has failed with a job.
    pub(crate) fn fault(&mut self, server: usize, number: u64) -> Next<T> {
        self.release(server);
        if !self.leave(server, number) {
            return Next::Goes;
        }
        let Some(flight) = self.flights.get_mut(&number) else { return Next::Goes };
        flight.faults.push(server);
        let others =
            (0..self.posts.len()).any(|other| self.posts[other].is_here && !flight.faults.contains(&other));
        if flight.faults.len() < MOST_FAULTS && others {
            self.again.push_back(number);
            return Next::Goes;
        }
        self.flights.remove(&number).map_or(Next::Goes, |flight| Next::Fails(flight.job))
    }

    /// A server is lost with all that it had. Returns how many jobs are tried again, and those that are given up.
    pub(crate) fn lose(&mut self, server: usize) -> (usize, Vec<T>) {
        self.posts[server] = Post::default();
        let had = |flight: &Flight<T>| flight.at.contains(&server);
        let numbers: Vec<u64> =
            self.flights.iter().filter(|(_, flight)| had(flight)).map(|(number, _)| *number).collect();
        let (mut retried, mut given_up) = (0, Vec::new());
        for number in numbers.into_iter().rev() {
            if !self.leave(server, number) {
                continue;
            }
            let Some(flight) = self.flights.get_mut(&number) else { continue };
            flight.losses += 1;
            if flight.losses < MOST_LOSSES {
                self.again.push_front(number);
                retried += 1;
            } else if let Some(flight) = self.flights.remove(&number) {
                given_up.push(flight.job);
            }
        }
        (retried, given_up)
    }

    /// Takes out all jobs that wait to be tried again.
    pub(crate) fn give_up(&mut self) -> Vec<T> {
        let waiting = std::mem::take(&mut self.again);
        waiting.into_iter().filter_map(|number| Some(self.flights.remove(&number)?.job)).collect()
    }

    /// A server has one job less. One that was lost has none already.
    fn release(&mut self, server: usize) {
        let busy = &mut self.posts[server].busy;
        *busy = busy.saturating_sub(1);
    }

    /// Whether nobody has a job any more now that this server does not.
    fn leave(&mut self, server: usize, number: u64) -> bool {
        let Some(flight) = self.flights.get_mut(&number) else { return false };
        let had = flight.at.len();
        flight.at.retain(|other| *other != server);
        had > 0 && flight.at.is_empty()
    }
}

impl<T> Flight<T> {
    /// Whether one server has it, and this is another.
    fn has_use_of(&self, server: usize) -> bool {
        self.at.len() == 1 && !self.at.contains(&server) && !self.faults.contains(&server)
    }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
