//! Where requests are let in: what may be asked, and how much at once.

use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, header};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{Semaphore, oneshot};

use super::ask::Ask;
use super::refusal::Refusal;
use super::worker::{Command, Event, Load, Ticket};
use crate::policy::Tokenizer;
use crate::rollout::{Completion, Request};

/// What the handlers of requests share.
pub(super) struct Desk {
    pub(super) commands: Sender<Command>,
    pub(super) tokenizer: Arc<Tokenizer>,
    /// What the model is called.
    pub(super) name: String,
    /// Architectures of the model, as its configuration names them.
    pub(super) architectures: serde_json::Value,
    /// Most tokens of a prompt and what follows it.
    pub(super) context: usize,
    /// Token ids that the model has.
    pub(super) vocabulary: i64,
    /// Places for samples under way or waiting.
    pub(super) places: Arc<Semaphore>,
    /// How many there are.
    pub(super) all_places: usize,
    /// What is served at present.
    pub(super) served: Mutex<Served>,
    /// What requests must say, if anything.
    pub(super) secret: Option<String>,
    /// When the server started, in seconds since 1970.
    pub(super) started: u64,
}

/// The weights that are served.
#[derive(Clone)]
pub(super) struct Served {
    /// Their folder.
    pub(super) folder: String,
    /// What they are called.
    pub(super) version: String,
}

/// A finished sample.
pub(super) struct Sampled {
    pub(super) completion: Completion,
    /// What the weights are called that sampled it.
    pub(super) version: String,
}

impl Desk {
    /// Whether whoever asks may ask.
    pub(super) fn admits(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(secret) = &self.secret else { return Ok(()) };
        let said = headers.get(header::AUTHORIZATION).map(axum::http::HeaderValue::as_bytes);
        let said = said.and_then(|said| said.strip_prefix(b"Bearer ")).unwrap_or_default();
        // Hashes take as long to compare whatever the secret is.
        if blake3::hash(said) == blake3::hash(secret.as_bytes()) { Ok(()) } else { Err(Refusal::Unknown) }
    }

    /// What is served at present.
    pub(super) fn served(&self) -> Served {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Hands a request to the engine; what comes of it is told by its events.
    pub(super) fn submit(&self, ask: Ask) -> Result<UnboundedReceiver<Event>, Refusal> {
        let Ask { prompts, samples, sampling, streams, draws } = ask;
        let most = sampling.max_tokens;
        for prompt in &prompts {
            self.check(prompt, most)?;
        }
        if samples * prompts.len() > self.all_places {
            let most = self.all_places;
            return Err(Refusal::of(
                "n",
                format!("{} samples at once, this server takes up to {most}", samples * prompts.len()),
            ));
        }
        let count = u32::try_from(samples).map_err(|_| Refusal::Full)?;
        let place = || Arc::clone(&self.places).try_acquire_many_owned(count).map_err(|_| Refusal::Full);
        let places: Vec<_> = prompts.iter().map(|_| place()).collect::<Result<_, _>>()?;
        let (events, received) = unbounded_channel();
        for (number, (prompt, place)) in prompts.into_iter().zip(places).enumerate() {
            let request = match &draws {
                Some(draws) => Request { prompt, samples, ..draws.clone() },
                None => Request { prompt, samples, task: number as u64, ..Request::default() },
            };
            let (sampling, events, first) = (sampling.clone(), events.clone(), number * samples);
            let ticket = Ticket { request, sampling, first, streams, events, place };
            self.commands.send(Command::Sample(Box::new(ticket))).map_err(|_| gone())?;
        }
        Ok(received)
    }

    fn check(&self, prompt: &[i64], most: usize) -> Result<(), Refusal> {
        let wrong = |message: String| Err(Refusal::Wrong { key: None, message });
        if prompt.is_empty() {
            return wrong("the prompt has no tokens".to_owned());
        }
        if let Some(token) = prompt.iter().find(|token| !(0..self.vocabulary).contains(*token)) {
            return wrong(format!("the model has no token {token}, it has {} of them", self.vocabulary));
        }
        if prompt.len().saturating_add(most) > self.context {
            return wrong(format!(
                "a prompt of {} tokens and up to {most} more are over the {} tokens that this server has room for",
                prompt.len(),
                self.context
            ));
        }
        Ok(())
    }

    /// Waits for all of `count` samples.
    pub(super) async fn collect(
        mut events: UnboundedReceiver<Event>,
        count: usize,
    ) -> Result<Vec<Sampled>, Refusal> {
        let mut found: Vec<Option<Sampled>> = (0..count).map(|_| None).collect();
        let mut missing = count;
        while missing > 0 {
            match events.recv().await.ok_or_else(gone)? {
                Event::Token { .. } => {}
                Event::Done { choice, completion, version } => {
                    found[choice] = Some(Sampled { completion: *completion, version });
                    missing -= 1;
                }
                Event::Aborted => return Err(Refusal::Aborted),
                Event::Failed(message) => return Err(Refusal::Failed(message)),
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// Goes on with the weights in `folder` once nothing is under way, or once that was given up.
    pub(super) async fn load(
        &self,
        folder: &Path,
        version: Option<String>,
        aborts: bool,
    ) -> Result<(), String> {
        let (done, loaded) = oneshot::channel();
        if aborts {
            self.commands.send(Command::Abort).map_err(|_| GONE)?;
        }
        let load = Load { folder: folder.to_owned(), version: version.clone(), done };
        self.commands.send(Command::Load(load)).map_err(|_| GONE)?;
        loaded.await.map_err(|_| GONE)??;
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.folder = folder.display().to_string();
        served.version = version.unwrap_or_else(|| served.version.clone());
        Ok(())
    }
}

const GONE: &str = "the engine has stopped";

/// The engine thread has ended.
pub(super) fn gone() -> Refusal {
    Refusal::Failed(GONE.to_owned())
}
