//! What a server answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONNECTION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::{Semaphore, watch};

use crate::protocol::MOST_BYTES;
use crate::remote::Token;
use crate::remote::message::{Answer, HEALTH, Health, IDENTITY, JUDGE, identity_header};
use crate::{Executor, Job};

/// How long a job may take to arrive.
const MOST_ARRIVAL: Duration = Duration::from_secs(30);

/// What all connections share.
pub(super) struct Service {
    pub(super) executor: Executor,
    pub(super) token: Option<Token>,
    /// Places for jobs, taken before a job is read and given back when it is answered.
    pub(super) room: Arc<Semaphore>,
    pub(super) is_draining: AtomicBool,
    /// True once the time for jobs under way is up.
    pub(super) is_over: watch::Sender<bool>,
}

impl Service {
    /// Whether a request shows the token, if one is wanted.
    fn is_shown_token(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        self.token.as_ref().is_none_or(|token| token.is_shown_by(shown))
    }
}

/// The routes of a server.
pub(super) fn router(service: Arc<Service>) -> Router {
    Router::new().route(HEALTH, get(health)).route(JUDGE, post(judge)).with_state(service)
}

/// Open to everybody, for load balancers. A server that ends is not healthy, so that it gets no more.
async fn health(State(service): State<Arc<Service>>, headers: HeaderMap) -> Response {
    let draining = service.is_draining.load(Ordering::Relaxed);
    let health = Health {
        identity: service.executor.identity().clone(),
        workers: service.executor.workers(),
        free: service.room.available_permits(),
        draining,
        authorized: service.is_shown_token(&headers),
    };
    let status = if draining { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, Json(health)).into_response()
}

/// A job in, its verdict out. Where the client goes away, the job leaves the queue.
async fn judge(State(service): State<Arc<Service>>, headers: HeaderMap, body: Body) -> Response {
    let answer = answer(&service, &headers, body).await;
    let status = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(&answer)).into_response();
    let headers = response.headers_mut();
    match answer {
        Answer::Busy => _ = headers.insert(RETRY_AFTER, HeaderValue::from_static("1")),
        Answer::Draining => _ = headers.insert(CONNECTION, HeaderValue::from_static("close")),
        _ => {}
    }
    response
}

async fn answer(service: &Service, headers: &HeaderMap, body: Body) -> Answer {
    if !service.is_shown_token(headers) {
        return Answer::Unauthorized;
    }
    let identity = service.executor.identity();
    if headers.get(IDENTITY).is_some_and(|wanted| wanted.as_bytes() != identity_header(identity).as_bytes()) {
        return Answer::OtherIdentity(identity.clone());
    }
    if service.is_draining.load(Ordering::Relaxed) {
        return Answer::Draining;
    }
    let Ok(_place) = service.room.try_acquire() else { return Answer::Busy };
    let body = match tokio::time::timeout(MOST_ARRIVAL, to_bytes(body, MOST_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return Answer::TooLarge(format!("{error}, wanted at most {MOST_BYTES} bytes")),
        Err(_) => return Answer::Unreadable(format!("it did not arrive in {} s", MOST_ARRIVAL.as_secs())),
    };
    let job = match serde_json::from_slice::<Job>(&body) {
        Ok(job) => job,
        Err(error) => return Answer::Unreadable(error.to_string()),
    };
    let mut over = service.is_over.subscribe();
    tokio::select! {
        answer = async { service.executor.submit_async(job).await.verdict().await.into() } => answer,
        _ = over.wait_for(|over| *over) => Answer::Draining,
    }
}
