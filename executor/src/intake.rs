//! Where jobs come in and verdicts go out: the queue, the jobs under way, and the verdicts that are known.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::pending::{Decision, Pending, Slot};
use crate::protocol::{self, Request};
use crate::queue::{Place, Queue, Started, TaskKey, Ticket};
use crate::submission::Submission;
use crate::verdict_cache::{Identity, Key, VerdictCache, is_final};
use crate::verdict_store::VerdictStore;
use crate::{ExecutorStatistics, InfraError, Job, Limits};

/// Memory of the jobs that wait, in KiB.
const MOST_WAITING_KIB: usize = 256 << 10;

/// The side of an executor that is shared by those who hand in jobs and those who run them.
pub(crate) struct Intake {
    identity: Identity,
    store: Option<VerdictStore>,
    state: Mutex<State>,
    /// Told once per job that was handed in.
    work: Notify,
    /// Places in the queue, by number and by memory.
    room: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    queue: Queue<Order>,
    flights: HashMap<Key, Flight>,
    verdicts: VerdictCache,
    counts: ExecutorStatistics,
    /// Jobs that workers were given ahead, and that have not begun.
    ahead: usize,
    is_stopped: bool,
}

/// A job that waits or runs.
struct Flight {
    slot: Arc<Slot>,
    stage: Stage,
    /// Those who want its verdict.
    waiting: usize,
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It waits in the queue.
    Queued(Place),
    /// It waits for its worker.
    Ahead,
    /// It has begun.
    Running,
}

/// What a worker is to do. Whatever happens to it, its slot gets decided.
pub(crate) struct Order {
    pub(crate) request: Vec<u8>,
    pub(crate) limits: Limits,
    key: Key,
    slot: Arc<Slot>,
    /// Given back when the job begins.
    room: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl Drop for Order {
    fn drop(&mut self) {
        // Does nothing after a decision.
        self.slot.decide(Err(InfraError::Stopped));
    }
}

impl Intake {
    /// An empty one with room for `most_waiting` jobs.
    pub(crate) fn new(identity: Identity, store: Option<VerdictStore>, most_waiting: usize) -> Self {
        Self {
            identity,
            store,
            state: Mutex::default(),
            work: Notify::new(),
            room: Arc::new(Semaphore::new(most_waiting.min(Semaphore::MAX_PERMITS))),
            memory: Arc::new(Semaphore::new(MOST_WAITING_KIB)),
        }
    }

    /// Takes a job, waiting for room. A duplicate of a job that is known or under way needs none.
    pub(crate) async fn submit(self: &Arc<Self>, submission: Submission) -> Pending {
        let Submission { job, task } = submission;
        self.lock().counts.submitted += 1;
        match self.admit(&job, task).await {
            Ok(pending) => pending,
            Err(error) => {
                self.lock().counts.failures += 1;
                Pending::decided(Err(error))
            }
        }
    }

    async fn admit(self: &Arc<Self>, job: &Job, task: Option<TaskKey>) -> Result<Pending, InfraError> {
        if job.tests.is_empty() {
            return Err(InfraError::NoTests);
        }
        let request = protocol::encode(&Request::Judge(Cow::Borrowed(job))).map_err(too_large)?;
        let key = self.identity.key(&request);
        if let Some(pending) = self.known(&key) {
            return Ok(pending);
        }
        if let Some(verdict) = self.store.as_ref().and_then(|store| store.read(&key)) {
            let mut state = self.lock();
            state.counts.disk_hits += 1;
            state.verdicts.insert(key, verdict.clone());
            return Ok(Pending::decided(Ok(verdict)));
        }
        let stopped = |_| InfraError::Stopped;
        let kib = u32::try_from(request.len() >> 10).unwrap_or(u32::MAX).saturating_add(1);
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(stopped)?;
        let memory = Arc::clone(&self.memory).acquire_many_owned(kib).await.map_err(stopped)?;
        let task = match task {
            Some(task) => task,
            None => TaskKey::of_tests(job).map_err(too_large)?,
        };
        let slot = Arc::new(Slot::default());
        let order =
            Order { request, limits: job.limits, key, slot: Arc::clone(&slot), room: Some((room, memory)) };
        self.enqueue(task, order)
    }

    /// The pending verdict of a job that is known or under way.
    fn known(self: &Arc<Self>, key: &Key) -> Option<Pending> {
        let mut state = self.lock();
        let state = &mut *state;
        if let Some(verdict) = state.verdicts.get(key) {
            state.counts.memory_hits += 1;
            return Some(Pending::decided(Ok(verdict.clone())));
        }
        let flight = state.flights.get_mut(key)?;
        flight.waiting += 1;
        state.counts.shared += 1;
        Some(Pending::waiting(Arc::clone(&flight.slot), Arc::clone(self), *key))
    }

    fn enqueue(self: &Arc<Self>, task: TaskKey, order: Order) -> Result<Pending, InfraError> {
        let (key, slot) = (order.key, Arc::clone(&order.slot));
        // Somebody may have handed in the same while this one waited for room.
        if let Some(pending) = self.known(&key) {
            return Ok(pending);
        }
        let mut state = self.lock();
        if state.is_stopped {
            return Err(InfraError::Stopped);
        }
        state.counts.misses += 1;
        let place = state.queue.push(task, order);
        let flight = Flight { slot: Arc::clone(&slot), stage: Stage::Queued(place), waiting: 1 };
        state.flights.insert(key, flight);
        drop(state);
        self.work.notify_one();
        Ok(Pending::waiting(slot, Arc::clone(self), key))
    }

    /// One of those who wait for a job does so no more.
    pub(crate) fn forgo(&self, key: &Key, slot: &Arc<Slot>) {
        let mut state = self.lock();
        let Some(flight) = state.flights.get_mut(key).filter(|flight| Arc::ptr_eq(&flight.slot, slot)) else {
            return;
        };
        flight.waiting -= 1;
        if flight.waiting > 0 || flight.stage == Stage::Running {
            return;
        }
        let stage = flight.stage;
        state.flights.remove(key);
        state.counts.cancelled += 1;
        let order = match stage {
            Stage::Queued(place) => state.queue.remove(place),
            // If it has not begun when it is looked at again, it never will.
            Stage::Ahead | Stage::Running => {
                state.ahead -= 1;
                None
            }
        };
        drop(state);
        drop(order);
    }

    /// Waits until a job has come in since this was last called.
    pub(crate) async fn work(&self) {
        self.work.notified().await;
    }

    /// The next job, for a worker that is to begin it at once, or one that is to have it ahead: such jobs are not
    /// known to be long, and where `may_be_unknown` does not hold, known to be short.
    pub(crate) fn pop(&self, is_ahead: bool, may_be_unknown: bool) -> Option<Started<Order>> {
        let mut state = self.lock();
        let mut started = if is_ahead { state.queue.pop_short(may_be_unknown) } else { state.queue.pop() }?;
        state.ahead += 1;
        if let Some(flight) = state.flight_of(&started.job) {
            flight.stage = Stage::Ahead;
        }
        drop(state);
        if !is_ahead {
            self.begin(&mut started.job);
        }
        Some(started)
    }

    /// A job begins.
    pub(crate) fn begin(&self, order: &mut Order) {
        let mut state = self.lock();
        state.counts.running += 1;
        if let Some(flight) = state.flight_of(order) {
            flight.stage = Stage::Running;
            state.ahead -= 1;
        }
        drop(state);
        order.room = None;
    }

    /// Takes in again a job that has not begun.
    pub(crate) fn put_back(&self, started: Started<Order>) {
        let mut state = self.lock();
        let state = &mut *state;
        // If nobody wants it any more, it has been counted as cancelled.
        if let Some(flight) = state.flights.get_mut(&started.job.key)
            && Arc::ptr_eq(&flight.slot, &started.job.slot)
        {
            state.ahead -= 1;
            flight.stage = Stage::Queued(state.queue.put_back(started));
        }
    }

    /// Whether anybody wants the verdict of a job that runs.
    pub(crate) fn is_wanted(&self, order: &Order) -> bool {
        self.lock().flight_of(order).is_some_and(|flight| flight.waiting > 0)
    }

    /// Tells what came of a job. What may come out differently next time is not kept for the next one who asks.
    pub(crate) fn finish(&self, order: &Order, ticket: Ticket, decision: Decision) {
        let mut state = self.lock();
        state.counts.running -= 1;
        if state.flight_of(order).is_some() {
            state.flights.remove(&order.key);
        }
        match &decision {
            Ok(verdict) => {
                state.queue.finished(ticket, verdict.fuel);
                if is_final(verdict) {
                    state.verdicts.insert(order.key, verdict.clone());
                }
            }
            Err(_) => state.counts.failures += 1,
        }
        drop(state);
        if let (Some(store), Ok(verdict)) = (&self.store, &decision)
            && is_final(verdict)
        {
            store.write(order.key, verdict);
        }
        order.slot.decide(decision);
    }

    /// A worker was lost; `is_retried` says whether its job goes to another.
    pub(crate) fn count_loss(&self, is_retried: bool) {
        let mut state = self.lock();
        state.counts.workers_lost += 1;
        state.counts.retries += u64::from(is_retried);
    }

    /// A server was lost; `retried` of its jobs go to others.
    pub(crate) fn count_server_loss(&self, retried: usize) {
        let mut state = self.lock();
        state.counts.workers_lost += 1;
        state.counts.retries += retried as u64;
    }

    /// Nothing is taken any more, and what waits is not run.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.is_stopped = true;
        let orders = state.queue.drain();
        state.flights.clear();
        drop(state);
        self.room.close();
        self.memory.close();
        drop(orders);
    }

    /// What was done so far.
    pub(crate) fn statistics(&self) -> ExecutorStatistics {
        let state = self.lock();
        ExecutorStatistics { waiting: state.queue.len() + state.ahead, ..state.counts }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The flight of an order, unless nobody wants it any more.
    fn flight_of(&mut self, order: &Order) -> Option<&mut Flight> {
        self.flights.get_mut(&order.key).filter(|flight| Arc::ptr_eq(&flight.slot, &order.slot))
    }
}

fn too_large(error: std::io::Error) -> InfraError {
    InfraError::TooLarge(error.to_string())
}
