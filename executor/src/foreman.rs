//! Keeps workers busy: carries jobs to them and verdicts back, and replaces those that are lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::crew::{Crew, MOST_AHEAD, TakenBack};
use crate::intake::{Intake, Order};
use crate::launcher::Launcher;
use crate::protocol::{self, Reply, Request};
use crate::queue::Started;
use crate::worker_process::{WorkerProcess, patience};
use crate::{InfraError, Limits};

/// Workers that a job is tried on.
const ATTEMPTS: usize = 2;

/// Jobs that a worker may have at a time, where there is use in it: short ones for some twenty milliseconds.
const DEPTH: usize = 64;

/// Jobs that a worker may have before it gets one of a task of which nothing is known: it may be long.
const MOST_BLIND: usize = 16;

/// Bytes on their way to a worker beyond which it is given nothing ahead.
const MOST_UNSENT: usize = 1 << 16;

/// How long the thread that serves workers rests before it looks for what has come, while all of them have plenty to do. Every
/// answer would wake it otherwise, and with as many workers as cores it takes its core from one of them, whose caches it leaves
/// cold: a short job then costs the worker 440 instead of 320 microseconds. Shorter than what plenty of the shortest jobs take.
const REST: Duration = Duration::from_millis(4);

/// Serves all workers. Its functions are called from one thread.
pub(crate) struct Foreman {
    intake: Arc<Intake>,
    launcher: Arc<Launcher>,
    state: Mutex<State>,
    /// For each worker, told when there is something for it.
    posts: Vec<Notify>,
    /// Told when jobs wait behind others.
    ahead: Notify,
    is_rest_due: AtomicBool,
}

struct State {
    crew: Crew<Assignment>,
    /// For each worker, what is to be sent to it.
    unsent: Vec<Vec<u8>>,
}

struct Assignment {
    started: Started<Order>,
    /// The worker that this is, of those that the job is tried on.
    attempt: usize,
}

impl Foreman {
    /// One for so many workers; `has_use_of_more` says whether these run jobs that are short enough to be given more than one.
    pub(crate) fn new(
        intake: Arc<Intake>,
        launcher: Arc<Launcher>,
        workers: usize,
        has_use_of_more: bool,
    ) -> Self {
        let crew = Crew::new(workers, if has_use_of_more { DEPTH } else { 1 }, Instant::now());
        Self {
            intake,
            launcher,
            state: Mutex::new(State { crew, unsent: vec![Vec::new(); workers] }),
            posts: (0..workers).map(|_| Notify::new()).collect(),
            ahead: Notify::new(),
            is_rest_due: AtomicBool::new(false),
        }
    }

    /// Called by the thread that serves workers when it has nothing to do.
    pub(crate) fn rest(&self) {
        if self.is_rest_due.load(Ordering::Relaxed) {
            std::thread::sleep(REST);
        }
    }

    /// Hands out jobs as they come in. Does not end.
    pub(crate) async fn hand_out(&self) {
        loop {
            self.intake.work().await;
            self.dispatch();
        }
    }

    /// Takes back jobs that wait behind slow ones. Does not end.
    pub(crate) async fn take_back(&self) {
        loop {
            self.ahead.notified().await;
            while self.lock().crew.is_ahead() {
                tokio::time::sleep(MOST_AHEAD).await;
                // Answers that have come meanwhile are taken in first.
                tokio::task::yield_now().await;
                self.take_back_once();
            }
        }
    }

    fn take_back_once(&self) {
        let mut state = self.lock();
        let taken = state.crew.take_back(Instant::now());
        for TakenBack { worker, number, job } in taken {
            state.unsent[worker].extend(forget(number));
            self.posts[worker].notify_one();
            self.intake.put_back(job.started);
        }
        drop(state);
        self.dispatch();
    }

    /// Gives jobs to whoever can take them.
    fn dispatch(&self) {
        let mut state = self.lock();
        let now = Instant::now();
        while let Some(turn) = state.crew.turn(now) {
            if turn.is_ahead && state.unsent[turn.worker].len() > MOST_UNSENT {
                break;
            }
            let Some(started) = self.intake.pop(turn.is_ahead, state.crew.count(turn.worker) < MOST_BLIND)
            else {
                break;
            };
            state.unsent[turn.worker].extend_from_slice(&started.job.request);
            let is_short = started.ticket.is_short;
            state.crew.hand(turn.worker, Assignment { started, attempt: 1 }, is_short, now);
            self.posts[turn.worker].notify_one();
            if turn.is_ahead {
                self.ahead.notify_one();
            }
        }
        self.is_rest_due.store(state.crew.has_plenty(), Ordering::Relaxed);
    }

    /// Serves one worker, and replaces it when it is lost. Does not end.
    pub(crate) async fn serve(&self, number: usize, worker: WorkerProcess) {
        let mut error = self.carry(number, worker).await;
        loop {
            self.lost(number, error);
            while !self.lock().crew.is_busy(number) {
                self.posts[number].notified().await;
            }
            error = match self.launcher.replace().await {
                Ok(worker) => {
                    self.replaced(number);
                    self.carry(number, worker).await
                }
                Err(error) => error,
            };
        }
    }

    /// Carries jobs to a worker and verdicts back until it is lost.
    async fn carry(&self, number: usize, mut worker: WorkerProcess) -> InfraError {
        let lost = |error: std::io::Error| InfraError::WorkerLost(error.to_string());
        loop {
            match worker.reply() {
                Ok(Some(Reply::Fault(message))) => return InfraError::Sandbox(message),
                Ok(Some(reply)) => {
                    if let Err(error) = self.answered(number, reply) {
                        return error;
                    }
                    continue;
                }
                Ok(None) => {}
                Err(error) => return lost(error),
            }
            worker.post(&mut self.lock().unsent[number]);
            let Some(deadline) = self.deadline(number) else {
                self.posts[number].notified().await;
                continue;
            };
            tokio::select! {
                biased;
                exchanged = worker.exchange() => if let Err(error) = exchanged {
                    return lost(error);
                },
                () = self.posts[number].notified() => {}
                () = tokio::time::sleep_until(deadline.into()) => {
                    return InfraError::WorkerLost("it stalled".to_owned());
                }
            }
        }
    }

    /// When a worker counts as stalled; `None` if it has nothing to do.
    fn deadline(&self, number: usize) -> Option<Instant> {
        let mut state = self.lock();
        if !state.crew.is_busy(number) {
            return None;
        }
        // One that runs what was taken back is in nobody's way.
        let longest = Limits::longest();
        Some(match state.crew.running(number) {
            Some((assignment, since)) => since + patience(assignment.started.job.limits),
            None => Instant::now() + patience(longest),
        })
    }

    /// Takes in an answer. `Err` if it is not one to what the worker was asked.
    fn answered(&self, number: usize, reply: Reply) -> Result<(), InfraError> {
        let mut state = self.lock();
        if reply == Reply::Forgotten && state.crew.running(number).is_some() {
            return Err(InfraError::WorkerLost("it has forgotten a job".to_owned()));
        }
        let answered = state.crew.answered(number, Instant::now());
        if let Some((next, _)) = state.crew.running(number) {
            self.intake.begin(&mut next.started.job);
        }
        drop(state);
        self.dispatch();
        if let Some(Assignment { started: Started { job, ticket }, .. }) = answered {
            self.intake.finish(&job, ticket, reply.into());
        }
        Ok(())
    }

    /// A worker is lost, or could not be started. The job that it ran is tried on another one, if that is not the second.
    fn lost(&self, number: usize, error: InfraError) {
        let mut state = self.lock();
        state.unsent[number].clear();
        let (running, waiting) = state.crew.lost(number);
        for assignment in waiting {
            self.intake.put_back(assignment.started);
        }
        let wanted = running.map(|assignment| {
            let is_retried = assignment.attempt < ATTEMPTS && self.intake.is_wanted(&assignment.started.job);
            (assignment, is_retried)
        });
        self.intake.count_loss(wanted.as_ref().is_some_and(|(_, is_retried)| *is_retried));
        match wanted {
            Some((Assignment { started, attempt }, true)) => {
                let again = Assignment { started, attempt: attempt + 1 };
                state.crew.hand(number, again, false, Instant::now());
                drop(state);
            }
            Some((Assignment { started: Started { job, ticket }, .. }, false)) => {
                drop(state);
                self.intake.finish(&job, ticket, Err(error));
            }
            None => drop(state),
        }
        self.dispatch();
    }

    /// Another worker begins with the job that is there.
    fn replaced(&self, number: usize) {
        let mut state = self.lock();
        state.crew.replaced(number, Instant::now());
        let request =
            state.crew.running(number).map(|(assignment, _)| assignment.started.job.request.clone());
        state.unsent[number] = request.unwrap_or_default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget(number: u64) -> Vec<u8> {
    protocol::encode(&Request::Forget(number)).expect("a number fits a frame")
}
