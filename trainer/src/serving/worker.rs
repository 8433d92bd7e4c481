//! The engine thread: the only one that has the model.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, TryRecvError};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::policy::{Policy, PolicyError};
use crate::rollout::{Audience, Completion, Histories, OpenEngine, Request, Room, Sampling};

/// What the engine thread is told.
pub(super) enum Command {
    /// Sample this.
    Sample(Box<Ticket>),
    /// Go on with other weights, as soon as nothing is under way.
    Load(Load),
    /// Give up everything that is under way or waits.
    Abort,
}

/// A request, with where to say what comes of it.
pub(super) struct Ticket {
    pub(super) request: Request,
    pub(super) sampling: Sampling,
    /// Number of its first sample among all that were asked for together.
    pub(super) first: usize,
    /// Whether each token is told of as it is drawn.
    pub(super) streams: bool,
    pub(super) events: UnboundedSender<Event>,
    /// Its place among the requests that are let in.
    pub(super) place: OwnedSemaphorePermit,
}

/// What comes of a request.
pub(super) enum Event {
    /// A sample, by its number among all that were asked for together, has one more token.
    Token { choice: usize, token: i64 },
    /// A sample is done, by the weights of this version.
    Done { choice: usize, completion: Box<Completion>, version: String },
    /// The request was given up.
    Aborted,
    /// The engine failed.
    Failed(String),
}

/// Other weights.
pub(super) struct Load {
    /// A Hugging Face folder of the same architecture.
    pub(super) folder: PathBuf,
    /// What they are called; `None` keeps the name.
    pub(super) version: Option<String>,
    /// Where to say whether they are there.
    pub(super) done: oneshot::Sender<Result<(), String>>,
}

/// What the engine thread owns.
pub(super) struct Worker {
    pub(super) policy: Policy,
    pub(super) room: Room,
    /// What the weights are called.
    pub(super) version: String,
    pub(super) commands: Receiver<Command>,
}

/// Requests that are not with the engine yet, and changes of weights that are not done.
#[derive(Default)]
struct Waiting {
    tickets: VecDeque<Box<Ticket>>,
    loads: VecDeque<Load>,
    /// Whether nobody can say anything any more.
    is_closed: bool,
}

impl Waiting {
    fn take(&mut self, command: Command, under_way: &mut BTreeMap<usize, UnderWay>) {
        match command {
            Command::Sample(ticket) => self.tickets.push_back(ticket),
            Command::Load(load) => self.loads.push_back(load),
            Command::Abort => {
                let events = self.tickets.drain(..).map(|ticket| ticket.events);
                events
                    .chain(std::mem::take(under_way).into_values().map(|under_way| under_way.events))
                    .for_each(|events| {
                        // Whoever asked may have gone.
                        let _ = events.send(Event::Aborted);
                    });
            }
        }
    }

    /// Takes what there is to take; waits for something if there is nothing to do.
    fn listen(
        &mut self,
        commands: &Receiver<Command>,
        is_idle: bool,
        under_way: &mut BTreeMap<usize, UnderWay>,
    ) {
        if is_idle && self.tickets.is_empty() && self.loads.is_empty() {
            match commands.recv() {
                Ok(command) => self.take(command, under_way),
                Err(_) => self.is_closed = true,
            }
        }
        loop {
            match commands.try_recv() {
                Ok(command) => self.take(command, under_way),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.is_closed = true;
                    return;
                }
            }
        }
    }
}

/// A request that the engine has.
struct UnderWay {
    events: UnboundedSender<Event>,
    first: usize,
    /// Samples that are not done.
    missing: usize,
    _place: OwnedSemaphorePermit,
}

/// Tells a request's tokens to whoever asked. A request that was given up has no receiver, or is not under way.
struct Listener {
    events: UnboundedSender<Event>,
    first: usize,
    streams: bool,
}

impl Audience for Listener {
    fn drawn(&self, sample: usize, token: i64, _logprob: f32) {
        if self.streams {
            // Whoever asked may have gone.
            let _ = self.events.send(Event::Token { choice: self.first + sample, token });
        }
    }

    fn is_gone(&self) -> bool {
        self.events.is_closed()
    }
}

impl Worker {
    /// Samples what it is told to, until nobody can tell it anything.
    pub(super) fn run(mut self) {
        let mut waiting = Waiting::default();
        loop {
            if self.sample(&mut waiting).is_err() {
                // There was room before, and there is none now: nothing will be sampled any more.
                return;
            }
            while let Some(Load { folder, version, done }) = waiting.loads.pop_front() {
                let loaded = self.load(&folder).map_err(|error| with_causes(&error));
                if let (Ok(()), Some(version)) = (&loaded, version) {
                    self.version = version;
                }
                // Whoever asked may have gone.
                let _ = done.send(loaded);
            }
            if waiting.is_closed && waiting.tickets.is_empty() {
                return;
            }
        }
    }

    /// Samples with the weights as they are, until others are wanted or nobody can say anything.
    fn sample(&self, waiting: &mut Waiting) -> Result<(), PolicyError> {
        let network = tch::no_grad(|| self.policy.model());
        let mut histories = Histories::off(&network);
        let mut engine = OpenEngine::new(&mut histories, &self.policy.tokenizer, self.room)?;
        let mut under_way: BTreeMap<usize, UnderWay> = BTreeMap::new();
        let mut next = 0;
        loop {
            waiting.listen(&self.commands, engine.is_idle(), &mut under_way);
            while waiting.loads.is_empty() && engine.free_rows() > 0 {
                let Some(ticket) = waiting.tickets.pop_front() else { break };
                let Ticket { request, sampling, first, streams, events, place } = *ticket;
                let listener = Listener { events: events.clone(), first, streams };
                under_way.insert(next, UnderWay { events, first, missing: request.samples, _place: place });
                engine.admit(next, request, sampling, Box::new(listener));
                next += 1;
            }
            if engine.is_idle() && (waiting.is_closed || !waiting.loads.is_empty()) {
                return Ok(());
            }
            let stepped = engine.step(&mut |completion| self.hand_over(completion, &mut under_way));
            under_way.retain(|_, asked| !asked.events.is_closed());
            if let Err(error) = stepped {
                let message = with_causes(&error);
                under_way.into_values().for_each(|asked| {
                    let _ = asked.events.send(Event::Failed(message.clone()));
                });
                return Ok(());
            }
        }
    }

    fn hand_over(&self, completion: Completion, under_way: &mut BTreeMap<usize, UnderWay>) {
        let number = completion.request;
        let Some(asked) = under_way.get_mut(&number) else { return };
        asked.missing -= 1;
        let (choice, version) = (asked.first + completion.sample, self.version.clone());
        // Whoever asked may have gone.
        let _ = asked.events.send(Event::Done { choice, completion: Box::new(completion), version });
        if asked.missing == 0 {
            under_way.remove(&number);
        }
    }

    /// Takes the weights of `folder` in place of the present ones, which stay if it does not fit.
    fn load(&mut self, folder: &std::path::Path) -> Result<(), PolicyError> {
        let device = self.policy.weights.device();
        let policy = Policy::load(folder, self.policy.compute, device)?;
        if policy.architecture.shapes() != self.policy.architecture.shapes()
            || !policy.tokenizer.same_as(&self.policy.tokenizer)
        {
            return Err(PolicyError::OtherModel { path: folder.to_owned() });
        }
        self.policy = policy;
        Ok(())
    }
}

/// An error in one line, its causes included.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
