//! An executor that other machines hand jobs to, over HTTP.
//!
//! HTTP/1.1 with one job per request, rather than the frames that workers speak: load balancers and probes understand it, a client
//! that goes away is noticed, and a request costs a tenth of what the shortest program does. Jobs and verdicts are the types of this
//! crate in JSON, so that what comes out is what the executor said there, fuel included.

mod error;
mod routes;
mod tls;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
pub use error::ServerError;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use routes::Service;
pub use tls::TlsFiles;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::Executor;
use crate::remote::Token;

/// Threads that read and write; the programs have theirs elsewhere.
const THREADS: usize = 2;

/// How long a client may take to shake hands.
const MOST_GREETING: Duration = Duration::from_secs(10);

/// How long answers may take to leave after the last one is known, or is known not to come.
const MOST_PARTING: Duration = Duration::from_secs(2);

/// How long a client may be silent. One that comes back later connects anew.
const MOST_SILENCE: Duration = Duration::from_secs(60);

/// How long to wait where no connection can be taken in: there may be too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Most jobs that a server has at a time, whatever is asked for: they are in memory.
const MOST_JOBS: usize = 65_536;

/// How a server serves.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where it listens. Port 0 is any free one.
    pub listen: SocketAddr,
    /// What clients have to show; without one, only this machine may be listened to.
    pub token: Option<Token>,
    /// The certificate; without one, the server speaks plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Jobs that it has at a time, those that wait included, at most 65 536. Who brings more is told to come again.
    pub most_jobs: NonZeroUsize,
    /// How long jobs under way may take to end after SIGTERM.
    pub drain: Duration,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parting {
    /// Jobs that were not done in time.
    pub abandoned: usize,
}

/// A server that listens.
pub struct Server {
    runtime: Runtime,
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    service: Arc<Service>,
    options: ServerOptions,
    signals: [Signal; 2],
}

impl Server {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// If there is no token and others than this machine could connect, a certificate cannot be used, or the address cannot be
    /// listened on.
    pub fn bind(executor: Executor, options: ServerOptions) -> Result<Self, ServerError> {
        let address = options.listen;
        if options.token.is_none() && !address.ip().is_loopback() {
            return Err(ServerError::NoToken { address });
        }
        let acceptor = options.tls.as_ref().map(tls::acceptor).transpose()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("server")
            .enable_all()
            .build()
            .map_err(ServerError::Setup)?;
        let (listener, signals) = {
            let _inside = runtime.enter();
            let listener = runtime.block_on(TcpListener::bind(address));
            let listener = listener.map_err(|source| ServerError::Bind { address, source })?;
            let heard = |kind| signal(kind).map_err(ServerError::Setup);
            (listener, [heard(SignalKind::terminate())?, heard(SignalKind::interrupt())?])
        };
        let service = Arc::new(Service {
            executor,
            token: options.token.clone(),
            room: Arc::new(Semaphore::new(places(&options))),
            is_draining: AtomicBool::new(false),
            is_over: watch::Sender::new(false),
        });
        Ok(Self { runtime, listener, acceptor, service, options, signals })
    }

    /// Its address, with `http://` or `https://` in front.
    ///
    /// # Errors
    ///
    /// If the operating system does not tell.
    pub fn url(&self) -> std::io::Result<String> {
        let scheme = if self.acceptor.is_some() { "https" } else { "http" };
        Ok(format!("{scheme}://{}", self.listener.local_addr()?))
    }

    /// Serves until SIGTERM or SIGINT. Then takes no more jobs, waits for those under way, and ends; `drain` is told when that
    /// begins. A second signal ends the wait.
    pub fn run(self, drain: impl FnOnce()) -> Parting {
        let Self { runtime, listener, acceptor, service, options, signals: [mut terminate, mut interrupt] } =
            self;
        runtime.block_on(async {
            let shutdown = GracefulShutdown::new();
            let router = routes::router(Arc::clone(&service));
            tokio::select! {
                () = accept(&listener, acceptor.as_ref(), &router, &shutdown) => {}
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            service.is_draining.store(true, Ordering::Relaxed);
            drain();
            let all = u32::try_from(places(&options)).unwrap_or(u32::MAX);
            tokio::select! {
                // Whoever asks meanwhile is told that there is nothing to be had here.
                () = accept(&listener, acceptor.as_ref(), &router, &shutdown) => {}
                _ = timeout(options.drain, service.room.acquire_many(all)) => {}
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            let abandoned = places(&options) - service.room.available_permits();
            // Who still waits is told to go elsewhere. Whoever has not heard it by then is left behind.
            service.is_over.send_replace(true);
            let _ = timeout(MOST_PARTING, shutdown.shutdown()).await;
            Parting { abandoned }
        })
    }
}

fn places(options: &ServerOptions) -> usize {
    options.most_jobs.get().min(MOST_JOBS)
}

/// Takes connections in. Does not end.
async fn accept(
    listener: &TcpListener,
    acceptor: Option<&TlsAcceptor>,
    router: &Router,
    shutdown: &GracefulShutdown,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (router, acceptor, watcher) = (router.clone(), acceptor.cloned(), shutdown.watcher());
        tokio::spawn(async move { greet(stream, acceptor, router, watcher).await });
    }
}

/// Shakes hands with a client, and serves it.
async fn greet(stream: TcpStream, acceptor: Option<TlsAcceptor>, router: Router, watcher: Watcher) {
    // Answers are short, and waited for.
    let _ = stream.set_nodelay(true);
    match acceptor {
        None => serve(stream, router, watcher).await,
        Some(acceptor) => {
            // Who does not get that far is no client.
            if let Ok(Ok(stream)) = timeout(MOST_GREETING, acceptor.accept(stream)).await {
                serve(stream, router, watcher).await;
            }
        }
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    watcher: Watcher,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(MOST_SILENCE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // A connection that breaks has a client that knows.
    let _ = watcher.watch(connection).await;
}
