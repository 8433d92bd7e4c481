//! HTTP for object stores, by the client that the rest of rltrain has: one call on a thread that may wait.

use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use ureq::Agent;
use ureq::http::{Method, Request};

/// Longest time without a byte, in either direction, before a call is given up and tried again.
const SILENCE: Duration = Duration::from_secs(60);

/// Largest body of a response. Files are fetched in pieces far smaller, so that only a server that lies reaches it.
const MOST_BYTES: u64 = 256 << 20;

/// Makes clients for every kind of store.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // What asks a cloud machine for its credentials gives up after a second, because other machines have nobody to ask.
        let is_hasty = options.get_config_value(&ClientConfigKey::ConnectTimeout).as_deref() == Some("1s");
        let connect = if is_hasty { Duration::from_secs(1) } else { Duration::from_secs(20) };
        let config = Agent::config_builder()
            // The store reads statuses itself: an object that is absent is no failure of HTTP.
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            // A signature is good for one address; the store says what it makes of being sent elsewhere.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(connect))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .build();
        Ok(HttpClient::new(Client { agent: config.into() }))
    }
}

#[derive(Debug)]
struct Client {
    agent: Agent,
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let agent = self.agent.clone();
        let call = move || -> Result<HttpResponse, ureq::Error> {
            let has_body = !body.is_empty() || matches!(parts.method, Method::PUT | Method::POST);
            let response = if has_body {
                agent.run(Request::from_parts(parts, &body[..]))?
            } else {
                agent.run(Request::from_parts(parts, ()))?
            };
            let (parts, body) = response.into_parts();
            let body = body.into_with_config().limit(MOST_BYTES).read_to_vec()?;
            Ok(HttpResponse::from_parts(parts, body.into()))
        };
        let called = tokio::task::spawn_blocking(call).await;
        called.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?.map_err(failed)
    }
}

/// What went wrong, in the terms by which the store decides whether to try again.
fn failed(error: ureq::Error) -> HttpError {
    let kind = match &error {
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => HttpErrorKind::Connect,
        ureq::Error::Timeout(_) => HttpErrorKind::Timeout,
        ureq::Error::Io(cause) if cause.kind() == std::io::ErrorKind::ConnectionRefused => {
            HttpErrorKind::Connect
        }
        ureq::Error::Io(_) | ureq::Error::Protocol(_) => HttpErrorKind::Interrupted,
        ureq::Error::BodyExceedsLimit(_) => HttpErrorKind::Decode,
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error)
}
