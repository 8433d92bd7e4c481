//! Keeps servers busy: carries jobs to them and verdicts back, and does without those that are lost until they come back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::board::{Board, MOST_LOSSES, Next};
use super::connection::Connection;
use super::peer::{Greeting, Heard, Peer};
use super::target::{Target, connector};
use super::{RemoteConfig, RemoteError, RuntimeIdentity, Token};
use crate::intake::{Intake, Order};
use crate::pending::Decision;
use crate::pool::Closing;
use crate::protocol;
use crate::queue::{Started, Ticket};
use crate::{InfraError, Runtime};

/// How long a server that was lost is left alone, first and at most; twice as long every time that it is lost again without having
/// answered anything in between.
const REST: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(15));

/// How long a lane of a server that is full waits, likewise.
const CROWDED: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// How often a server is asked how it is: one that has stopped, but whose machine still holds its connections, says nothing.
const BEAT: Duration = Duration::from_secs(5);

/// How often it is looked whether there has been no server for too long.
const LOOK: Duration = Duration::from_millis(200);

/// Lanes for each program that a server runs at a time: while one verdict travels, the worker has another job.
const LANES_PER_WORKER: usize = 2;

/// All servers. Its functions are called from one thread.
pub(crate) struct Fleet {
    intake: Arc<Intake>,
    peers: Vec<Peer>,
    board: Mutex<Board<Errand>>,
    /// What verdicts are to depend on. What this build does not know, the first server says.
    identity: Mutex<RuntimeIdentity>,
    /// The last failure.
    failure: Mutex<Option<Arc<RemoteError>>>,
    /// Told when there is something to do for lanes.
    wake: Notify,
    /// Told when an answer came that others are still asked for.
    overtaken: Notify,
    most_at_once: Option<usize>,
    hedge: Duration,
    give_up: Duration,
}

/// A job on its way.
struct Errand {
    order: Order,
    ticket: Ticket,
    /// The job in JSON.
    body: Bytes,
}

impl Errand {
    fn new(started: Started<Order>) -> Self {
        let Started { job: order, ticket } = started;
        let body = Bytes::copy_from_slice(protocol::job_of(&order.request));
        Self { order, ticket, body }
    }
}

impl Fleet {
    /// The servers of a recipe; nothing is connected yet.
    pub(crate) fn new(
        intake: Arc<Intake>,
        remote: &RemoteConfig,
        runtime: Runtime,
    ) -> Result<Self, InfraError> {
        let peers =
            peers(remote, runtime).map_err(|error| InfraError::Servers { source: Arc::new(error) })?;
        Ok(Self {
            intake,
            board: Mutex::new(Board::new(peers.len())),
            peers,
            identity: Mutex::new(RuntimeIdentity::wanted(runtime)),
            failure: Mutex::new(None),
            wake: Notify::new(),
            overtaken: Notify::new(),
            most_at_once: remote.most_at_once.map(std::num::NonZeroUsize::get),
            hedge: Duration::from_millis(remote.hedge_ms),
            give_up: Duration::from_secs(remote.give_up_s),
        })
    }

    /// Tells lanes of jobs that come in. Does not end.
    async fn hand_out(&self) {
        loop {
            self.intake.work().await;
            self.wake.notify_waiters();
        }
    }

    /// Gives up what waits while there has been no server for too long. Does not end.
    async fn despair(&self) {
        let mut since = None;
        loop {
            sleep(LOOK).await;
            if !self.board().is_deserted() {
                since = None;
                continue;
            }
            if since.get_or_insert_with(Instant::now).elapsed() >= self.give_up {
                self.give_up();
            }
        }
    }

    fn give_up(&self) {
        let mut given_up = self.board().give_up();
        while let Some(started) = self.intake.pop(false, true) {
            given_up.push(Errand::new(started));
        }
        let unknown = || Arc::new(RemoteError::NoServers);
        let source = lock(&self.failure).clone().unwrap_or_else(unknown);
        let error = InfraError::Unreachable { seconds: self.give_up.as_secs(), source };
        for errand in given_up {
            self.finish(&errand, Err(error.clone()));
        }
    }

    /// Uses a server for as long as it can be reached, and comes back to it. `first` is told how the first try went. Does not end.
    async fn tend(self: Arc<Self>, server: usize, first: mpsc::Sender<Result<(), RemoteError>>) {
        let mut first = Some(first);
        let mut rest = REST.0;
        loop {
            let (told, error) = match self.greet(server).await {
                Ok((connection, workers)) => {
                    if let Some(first) = first.take() {
                        // Who does not listen any more has what it wanted.
                        let _ = first.send(Ok(())).await;
                    }
                    self.board().arrive(server, workers);
                    self.wake.notify_waiters();
                    let error = self.serve(server, workers, connection).await;
                    if self.board().has_answered(server) {
                        rest = REST.0;
                    }
                    self.lose(server);
                    (None, error)
                }
                Err(error) => (first.take(), error),
            };
            if let Some(first) = told {
                let _ = first.send(Err(error.clone())).await;
            }
            *lock(&self.failure) = Some(Arc::new(error));
            sleep(rest).await;
            rest = (2 * rest).min(REST.1);
        }
    }

    /// Connects to a server, and sees whether it is one that can be used.
    async fn greet(&self, server: usize) -> Result<(Connection, usize), RemoteError> {
        let peer = &self.peers[server];
        let mut connection = Connection::open(&peer.target).await?;
        let greeting = peer.greet(&mut connection).await?;
        self.examine(server, &greeting)?;
        if greeting.draining {
            return Err(RemoteError::Draining { url: peer.target.url.clone() });
        }
        Ok((connection, greeting.workers))
    }

    /// Whether a server judges as others do.
    fn examine(&self, server: usize, greeting: &Greeting) -> Result<(), RemoteError> {
        let Some(found) = &greeting.identity else { return Ok(()) };
        let mut wanted = lock(&self.identity);
        if wanted.accepts(found) {
            wanted.interpreter.clone_from(&found.interpreter);
            return Ok(());
        }
        let url = self.peers[server].target.url.clone();
        let (found, wanted) = (Box::new(found.clone()), Box::new(wanted.clone()));
        Err(RemoteError::OtherIdentity { url, found, wanted })
    }

    /// Uses a server until it is lost or ends.
    async fn serve(self: &Arc<Self>, server: usize, workers: usize, connection: Connection) -> RemoteError {
        let count = self.most_at_once.unwrap_or(LANES_PER_WORKER * workers.max(1));
        let mut lanes = JoinSet::new();
        for _ in 0..count {
            let fleet = Arc::clone(self);
            lanes.spawn(async move { fleet.lane(server).await });
        }
        let draining = || RemoteError::Draining { url: self.peers[server].target.url.clone() };
        let ended = async {
            while let Some(ended) = lanes.join_next().await {
                if let Ok(Err(error)) = ended {
                    return error;
                }
            }
            draining()
        };
        tokio::select! {
            error = ended => error,
            error = self.watch(server, connection) => error,
        }
    }

    /// Asks a server how it is, again and again, until it does not answer.
    async fn watch(&self, server: usize, connection: Connection) -> RemoteError {
        let peer = &self.peers[server];
        let mut kept = Some(connection);
        loop {
            sleep(BEAT).await;
            // A connection that was closed meanwhile says nothing about the server.
            let old = match kept.take() {
                Some(mut connection) => peer.greet(&mut connection).await.ok().map(|said| (said, connection)),
                None => None,
            };
            let (greeting, connection) = match old {
                Some(old) => old,
                None => {
                    let greeted = async {
                        let mut connection = Connection::open(&peer.target).await?;
                        Ok((peer.greet(&mut connection).await?, connection))
                    };
                    match greeted.await {
                        Ok(new) => new,
                        Err(error) => return error,
                    }
                }
            };
            if let Err(error) = self.examine(server, &greeting) {
                return error;
            }
            if greeting.draining {
                self.dismiss(server);
            }
            kept = Some(connection);
        }
    }

    /// Carries one job at a time to a server and its verdict back, until the server ends. `Err` if it is lost.
    async fn lane(&self, server: usize) -> Result<(), RemoteError> {
        let mut connection = None;
        let mut pause = CROWDED.0;
        while let Some(number) = self.next(server).await {
            let heard = tokio::select! {
                heard = self.ask(server, &mut connection, number) => heard?,
                () = self.is_overtaken(number) => {
                    connection = None;
                    self.board().give_back(server, number);
                    continue;
                }
            };
            let busy = matches!(heard, Heard::Busy);
            self.heard(server, number, heard);
            if busy {
                sleep(pause).await;
                pause = (2 * pause).min(CROWDED.1);
            } else {
                pause = CROWDED.0;
            }
        }
        Ok(())
    }

    /// The next job for a lane; `None` when there will be none.
    async fn next(&self, server: usize) -> Option<u64> {
        loop {
            // Made before the look, so that nothing that is told in between is missed.
            let woken = self.wake.notified();
            let late = {
                let mut board = self.board();
                if !board.is_here(server) {
                    return None;
                }
                if let Some(number) = self.take(&mut board, server) {
                    drop(board);
                    // With this one, it may be another server's turn.
                    self.wake.notify_waiters();
                    return Some(number);
                }
                board.rest(server, true);
                board.next_hedge(server, self.hedge)
            };
            match late {
                None => woken.await,
                Some(late) => tokio::select! {
                    () = woken => {}
                    () = tokio::time::sleep_until(late.into()) => {}
                },
            }
            self.board().rest(server, false);
        }
    }

    fn take(&self, board: &mut Board<Errand>, server: usize) -> Option<u64> {
        let now = Instant::now();
        if let Some(number) = board.begin_again(server) {
            return Some(number);
        }
        if board.is_turn(server)
            && let Some(started) = self.intake.pop(false, true)
        {
            return Some(board.begin(server, Errand::new(started), now));
        }
        board.begin_beside(server, now, self.hedge)
    }

    /// Has a server judge a job. A connection that is broken is replaced once: the server may have closed it for having been idle.
    async fn ask(
        &self,
        server: usize,
        kept: &mut Option<Connection>,
        number: u64,
    ) -> Result<Heard, RemoteError> {
        let peer = &self.peers[server];
        let identity = lock(&self.identity).clone();
        let job = self.board().job(number).map(|errand| (errand.body.clone(), errand.order.limits));
        let Some((body, limits)) = job else { return Ok(Heard::Busy) };
        if let Some(mut connection) = kept.take() {
            match peer.judge(&mut connection, body.clone(), limits, &identity).await {
                Err(RemoteError::Broken { .. }) => {}
                heard => {
                    *kept = Some(connection);
                    return heard;
                }
            }
        }
        let mut connection = Connection::open(&peer.target).await?;
        let heard = peer.judge(&mut connection, body, limits, &identity).await?;
        *kept = Some(connection);
        Ok(heard)
    }

    /// Waits until the answer to a job has come from elsewhere.
    async fn is_overtaken(&self, number: u64) {
        loop {
            let told = self.overtaken.notified();
            if self.board().job(number).is_none() {
                return;
            }
            told.await;
        }
    }

    /// Takes in what a server says.
    fn heard(&self, server: usize, number: u64, heard: Heard) {
        match heard {
            Heard::Decided(decision) => {
                let answered = self.board().answer(server, number);
                if let Some((errand, is_elsewhere)) = answered {
                    if is_elsewhere {
                        self.overtaken.notify_waiters();
                    }
                    self.finish(&errand, decision);
                }
            }
            Heard::Failed(why) => {
                let next = self.board().fault(server, number);
                match next {
                    Next::Goes => self.wake.notify_waiters(),
                    Next::Fails(errand) => self.finish(&errand, Err(InfraError::Sandbox(why))),
                }
            }
            Heard::Busy => {
                self.board().give_back(server, number);
                self.wake.notify_waiters();
            }
            Heard::Draining => {
                self.board().give_back(server, number);
                self.dismiss(server);
            }
        }
    }

    /// A server gets no more jobs; those that it has may end.
    fn dismiss(&self, server: usize) {
        self.board().dismiss(server);
        self.wake.notify_waiters();
    }

    /// A server is lost. What it had goes elsewhere.
    fn lose(&self, server: usize) {
        let (retried, given_up) = self.board().lose(server);
        self.intake.count_server_loss(retried);
        for errand in given_up {
            self.finish(&errand, Err(InfraError::ServersLost { count: MOST_LOSSES }));
        }
        self.wake.notify_waiters();
    }

    fn finish(&self, errand: &Errand, decision: Decision) {
        self.intake.finish(&errand.order, errand.ticket, decision);
    }

    fn board(&self) -> MutexGuard<'_, Board<Errand>> {
        lock(&self.board)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The servers of a recipe.
fn peers(remote: &RemoteConfig, runtime: Runtime) -> Result<Vec<Peer>, RemoteError> {
    remote.check(runtime)?;
    let token = Token::find(remote.token_file.as_deref());
    let token = token.map_err(|error| RemoteError::Token(Arc::new(error)))?;
    let authorization = token.map(|token| token.header());
    let tls = connector(remote.ca_file.as_deref())?;
    let peer = |url: &String| Ok(Peer::new(remote.kind, Target::new(url, &tls)?, authorization.clone()));
    remote.servers.iter().map(peer).collect()
}

/// Connects, reports which servers cannot be reached, and keeps the others busy until told to stop.
pub(crate) async fn supervise(
    fleet: Arc<Fleet>,
    _closing: Closing,
    mut stopped: watch::Receiver<bool>,
    report: std::sync::mpsc::Sender<Result<Vec<String>, InfraError>>,
) {
    let count = fleet.peers.len();
    let (first, mut tried) = mpsc::channel(count);
    let mut tending = JoinSet::new();
    for server in 0..count {
        tending.spawn(Arc::clone(&fleet).tend(server, first.clone()));
    }
    drop(first);
    let mut failures = Vec::new();
    while let Some(tried) = tried.recv().await {
        failures.extend(tried.err());
    }
    let lasting = failures.iter().position(RemoteError::is_lasting);
    let refused = lasting.or((failures.len() == count).then_some(0));
    let reported = match refused {
        Some(refused) => Err(InfraError::Servers { source: Arc::new(failures.swap_remove(refused)) }),
        None => Ok(failures.iter().map(message).collect()),
    };
    let is_refused = reported.is_err();
    if report.send(reported).is_err() || is_refused {
        return;
    }
    // Nothing but the first of these ends unless by a panic. Dropping the set ends its tasks; with the fleet all jobs are decided.
    tokio::select! {
        _ = stopped.wait_for(|stopped| *stopped) => {}
        _ = tending.join_next() => {}
        () = fleet.hand_out() => {}
        () = fleet.despair() => {}
    }
}

/// A server that cannot be reached, in words.
fn message(error: &RemoteError) -> String {
    let mut text = format!("going on without a server: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
