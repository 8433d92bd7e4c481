//! The server: its address, its routes, its limits, and how it ends.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, oneshot};

use super::desk::{Desk, Served};
use super::worker::Worker;
use super::{openai, sglang, vllm};
use crate::policy::{Policy, PolicyError};
use crate::rollout::{KvRoom, Room, Wanted};
use crate::stop::end_at_once;

/// Largest body of a request, in bytes: token ids of the longest contexts fit in.
const MAX_BODY_BYTES: usize = 16 << 20;

/// How a model is served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; port 0 is any that is free.
    pub address: SocketAddr,
    /// What the model is called.
    pub name: String,
    /// The folder that it was loaded from.
    pub folder: String,
    /// Architectures of the model, as its configuration names them.
    pub architectures: serde_json::Value,
    /// Room for what is under way.
    pub room: Room,
    /// Most samples that wait for room.
    pub queue: usize,
    /// What requests must say, if anything.
    pub secret: Option<String>,
}

/// Why a model is not served, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is not loopback, and no secret protects it.
    #[error(
        "`{0}` can be reached from other machines, and whoever reaches it can have it load any folder; name a file with a secret, \
         `--secret-file FILE`, or listen on 127.0.0.1"
    )]
    Open(SocketAddr),
    /// The memory allowed does not hold the least number of rows.
    #[error("there is no room for the engine")]
    Room(#[source] PolicyError),
    /// The address cannot be listened on.
    #[error("cannot listen on `{address}`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The server ended by itself.
    #[error("the server failed")]
    Server(#[source] io::Error),
    /// The engine thread ended by itself.
    #[error("the engine failed; what it said is above")]
    Engine,
}

/// Serves `policy` until SIGINT or SIGTERM: then nothing new is let in, and what is under way is ended. A second signal ends the
/// process at once, with exit code 130. `announce` is told where the server listens, and that it is ending.
///
/// # Errors
///
/// If it cannot listen there, or the engine fails.
pub fn serve(
    policy: Policy,
    settings: Settings,
    announce: impl Fn(Notice) + Send + Sync + 'static,
) -> Result<(), ServeError> {
    let Settings { address, room, .. } = settings;
    if !address.ip().is_loopback() && settings.secret.is_none() {
        return Err(ServeError::Open(address));
    }
    let sizes = policy.architecture.sizes();
    let wanted = Wanted {
        attempts: room.max_batch,
        longest_prompt: room.context,
        longest_written: 0,
        max_tokens: if sizes.has_encoder { room.context } else { 0 },
        max_batch: room.max_batch,
        kv_memory_mib: room.kv_memory_mib,
    };
    KvRoom::of(&wanted, &sizes, policy.compute).map_err(ServeError::Room)?;
    let (commands, told) = channel();
    let all_places = room.max_batch + settings.queue;
    let version = "default".to_owned();
    let desk = Arc::new(Desk {
        commands,
        tokenizer: Arc::clone(&policy.tokenizer),
        name: settings.name,
        architectures: settings.architectures,
        context: room.context,
        vocabulary: sizes.vocab_size,
        places: Arc::new(Semaphore::new(all_places)),
        all_places,
        served: Mutex::new(Served { folder: settings.folder, version: version.clone() }),
        secret: settings.secret,
        started: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
    });
    let (ended, engine_ended) = oneshot::channel::<()>();
    let worker = Worker { policy, room, version, commands: told };
    let engine = std::thread::Builder::new()
        .name("engine".to_owned())
        .spawn(move || {
            // Dropped whichever way the thread ends.
            let _ended = ended;
            worker.run();
        })
        .map_err(ServeError::Server)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(ServeError::Server)?;
    let listened = runtime.block_on(listen(address, desk, engine_ended, announce));
    // Requests that were given up hold the way to the engine no longer.
    runtime.shutdown_timeout(Duration::from_secs(1));
    let engine = engine.join();
    match listened? {
        Ending::Asked if engine.is_ok() => Ok(()),
        _ => Err(ServeError::Engine),
    }
}

/// What whoever serves is told.
#[derive(Clone, Copy, Debug)]
pub enum Notice {
    /// The server listens here.
    Listening(SocketAddr),
    /// It ends what is under way, and then itself.
    Ending,
}

/// Why a server ended.
enum Ending {
    Asked,
    Engine,
}

async fn listen(
    address: SocketAddr,
    desk: Arc<Desk>,
    engine_ended: oneshot::Receiver<()>,
    announce: impl Fn(Notice) + Send + Sync + 'static,
) -> Result<Ending, ServeError> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|source| ServeError::Listen { address, source })?;
    let address = listener.local_addr().map_err(ServeError::Server)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Server)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Server)?;
    announce(Notice::Listening(address));
    let (end, asked) = oneshot::channel();
    let signals = async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        announce(Notice::Ending);
        // The server may have ended.
        let _ = end.send(());
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        end_at_once(130);
    };
    tokio::spawn(signals);
    let serving = axum::serve(listener, routes(desk)).with_graceful_shutdown(async move {
        // Nobody asks any more where the sender is gone.
        let _ = asked.await;
    });
    tokio::select! {
        served = serving.into_future() => served.map(|()| Ending::Asked).map_err(ServeError::Server),
        _ = engine_ended => Ok(Ending::Engine),
    }
}

fn routes(desk: Arc<Desk>) -> Router {
    let guarded = Router::new()
        .route("/v1/models", get(openai::models))
        .route("/v1/completions", post(openai::completions))
        .route("/v1/chat/completions", post(openai::chat_completions))
        .route("/generate", post(sglang::generate).put(sglang::generate))
        .route("/model_info", get(sglang::model_info))
        .route("/get_model_info", get(sglang::model_info))
        .route("/update_weights_from_disk", post(sglang::update_weights_from_disk))
        .route("/flush_cache", get(sglang::flush_cache).post(sglang::flush_cache))
        .route("/collective_rpc", post(vllm::collective_rpc))
        .route("/reset_prefix_cache", post(vllm::reset_prefix_cache))
        .layer(from_fn_with_state(Arc::clone(&desk), guard));
    Router::new()
        .route("/health", get(sglang::health))
        .route("/health_generate", get(sglang::health))
        .merge(guarded)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(desk)
}

/// Lets through who knows the secret.
async fn guard(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    match desk.admits(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.to_openai(),
    }
}
