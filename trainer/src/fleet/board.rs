//! Samples that are to be asked for, and the threads that ask.
//!
//! Each server has a fixed number of threads, each with one request at a time, and all take from one board: a slow server takes
//! less, and none gets more at once than that.

use std::collections::VecDeque;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::dialect::{Answer, Wish};
use super::error::{FleetError, ServerError};
use super::server::{Readiness, Server};
use super::weights::Published;
use crate::policy::Tokenizer;
use crate::rollout::{Completion, Finish, Request, Sampling};

/// How patient one is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// How long no server may have answered.
    pub(super) deadline: Duration,
    /// How often a lost sample is asked for again.
    pub(super) retries: u32,
    /// Requests that are with one server at the same time.
    pub(super) concurrency: usize,
}

/// How often a thread looks whether it is needed any longer.
const LOOK: Duration = Duration::from_millis(100);

/// The samples of one call.
pub(super) struct Board<'a> {
    requests: &'a [Request],
    sampling: &'a Sampling,
    published: &'a Published,
    rules: Rules,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    open: VecDeque<Item>,
    /// Samples that have not come.
    missing: usize,
    /// Requests under way.
    asked: usize,
    /// When a server last did what it was asked.
    answered: Instant,
    retries: u64,
    failure: Option<FleetError>,
}

/// A sample that is to be asked for.
struct Item {
    request: usize,
    sample: usize,
    /// How often it was lost.
    lost: u32,
}

impl<'a> Board<'a> {
    pub(super) fn new(
        requests: &'a [Request],
        sampling: &'a Sampling,
        published: &'a Published,
        rules: Rules,
    ) -> Board<'a> {
        let samples = |(request, asked): (usize, &Request)| {
            (0..asked.samples).map(move |sample| Item { request, sample, lost: 0 })
        };
        let open: VecDeque<Item> = requests.iter().enumerate().flat_map(samples).collect();
        let missing = open.len();
        let state = State { open, missing, asked: 0, answered: Instant::now(), retries: 0, failure: None };
        Board { requests, sampling, published, rules, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many samples were asked for again.
    pub(super) fn retries(&self) -> u64 {
        self.state().retries
    }

    /// Asks until every sample has come, and hands each over.
    pub(super) fn work(
        &self,
        servers: &[Server],
        tokenizer: &Tokenizer,
        on_finished: &mut dyn FnMut(Completion),
    ) -> Result<(), FleetError> {
        let threads = self.rules.concurrency.min(self.state().missing);
        let (finished, arriving) = channel();
        thread::scope(|scope| {
            for server in servers {
                for _ in 0..threads {
                    let finished = finished.clone();
                    scope.spawn(move || self.serve(server, tokenizer, &finished));
                }
            }
            drop(finished);
            arriving.into_iter().for_each(on_finished);
        });
        self.state().failure.take().map_or(Ok(()), Err)
    }

    /// What one thread of a server does.
    fn serve(&self, server: &Server, tokenizer: &Tokenizer, finished: &Sender<Completion>) {
        while self.awaits_work() {
            match server.prepare(self.published) {
                Readiness::Ready => {}
                Readiness::Rests(until) => {
                    thread::sleep(until.saturating_duration_since(Instant::now()).min(LOOK));
                    continue;
                }
                Readiness::Failed(error) => {
                    self.give_up_if_silent(server, error);
                    continue;
                }
            }
            let Some(item) = self.take() else { continue };
            let wish =
                Wish { request: &self.requests[item.request], sample: item.sample, sampling: self.sampling };
            let answer = server.ask(wish, self.published, tokenizer);
            match answer.and_then(|answer| self.completion(&item, answer, tokenizer)) {
                Ok(completion) => {
                    server.succeeded();
                    self.arrived();
                    // Whoever waits, waits for all of them.
                    let _ = finished.send(completion);
                }
                Err(error) => self.put_back(server, item, error),
            }
        }
    }

    /// Waits for something to ask for; `false` once nothing will come.
    fn awaits_work(&self) -> bool {
        let mut state = self.state();
        while state.missing > 0 && state.failure.is_none() {
            if !state.open.is_empty() {
                return true;
            }
            let waited = self.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    fn take(&self) -> Option<Item> {
        let mut state = self.state();
        let item = state.open.pop_front()?;
        state.asked += 1;
        Some(item)
    }

    fn arrived(&self) {
        let mut state = self.state();
        state.asked -= 1;
        state.missing -= 1;
        state.answered = Instant::now();
        self.changed.notify_all();
    }

    /// A sample that did not come is open again, unless that is no use.
    fn put_back(&self, server: &Server, mut item: Item, error: ServerError) {
        let url = server.url.clone();
        let busy = error.busy();
        let mut state = self.state();
        state.asked -= 1;
        if busy.is_none() {
            server.failed();
            item.lost += 1;
            state.retries += 1;
        }
        if !error.may_pass() {
            state.failure.get_or_insert(FleetError::Refused { url, source: error });
        } else if item.lost > self.rules.retries {
            state.failure.get_or_insert(FleetError::Lost { tries: item.lost, url, source: error });
        } else {
            state.open.push_front(item);
        }
        self.changed.notify_all();
        drop(state);
        if let Some(seconds) = busy {
            // The server is well, and has enough to do.
            thread::sleep(Duration::from_secs(seconds).clamp(LOOK, Duration::from_secs(10)));
        }
    }

    /// Ends everything if no server has answered for too long.
    fn give_up_if_silent(&self, server: &Server, error: ServerError) {
        let mut state = self.state();
        if !error.may_pass() {
            state.failure.get_or_insert(FleetError::Refused { url: server.url.clone(), source: error });
        } else if state.asked == 0 && state.answered.elapsed() > self.rules.deadline {
            let (seconds, url) = (self.rules.deadline.as_secs(), server.url.clone());
            state.failure.get_or_insert(FleetError::Silent { seconds, url, source: error });
        }
    }

    /// The completion that an answer is.
    fn completion(
        &self,
        item: &Item,
        answer: Answer,
        tokenizer: &Tokenizer,
    ) -> Result<Completion, ServerError> {
        let Answer { mut tokens, mut logprobs, .. } = answer;
        let wrong = |what: &str| Err(ServerError::Answer(what.to_owned()));
        let most = self.sampling.max_tokens;
        if tokens.len() != logprobs.len() || tokens.is_empty() || tokens.len() > most {
            let (found, beside) = (tokens.len(), logprobs.len());
            return wrong(&format!(
                "{found} tokens and {beside} logprobs, wanted as many of both, up to {most}"
            ));
        }
        if !logprobs.iter().all(|logprob| logprob.is_finite()) {
            return wrong("a logprob is no number");
        }
        let decode =
            |tokens: &[i64]| tokenizer.decode(tokens).map_err(|error| ServerError::Answer(error.to_string()));
        let stop_in =
            |text: &str| self.sampling.stop.iter().filter_map(|stop| text.find(stop.as_str())).min();
        if stop_in(&decode(&tokens)?).is_some() {
            // A server may know fewer stop texts, or see one late; what comes behind the first is not what was asked for.
            let lengths: Vec<usize> = (1..tokens.len()).collect();
            let lacks =
                |length: &usize| decode(&tokens[..*length]).is_ok_and(|text| stop_in(&text).is_none());
            let length = lengths.partition_point(lacks) + 1;
            tokens.truncate(length);
            logprobs.truncate(length);
        }
        let mut text = decode(&tokens)?;
        let stop = stop_in(&text);
        let ended = tokens.last().is_some_and(|last| tokenizer.stop_ids.contains(last));
        let finish = if stop.is_some() || ended { Finish::Stop } else { Finish::Length };
        if finish == Finish::Length && tokens.len() < most {
            return wrong(&format!(
                "it ends after {} tokens, with none that ends a completion",
                tokens.len()
            ));
        }
        text.truncate(stop.unwrap_or(text.len()));
        Ok(Completion {
            request: item.request,
            sample: item.sample,
            unshaped_logprobs: logprobs.clone(),
            weights: Some(self.published.version),
            tokens,
            logprobs,
            text,
            finish,
            ..Completion::default()
        })
    }
}
