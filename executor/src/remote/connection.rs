//! One HTTP/1.1 connection to a server, with one request at a time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::RemoteError;
use super::target::Target;
use crate::protocol::MOST_BYTES;

/// How long it may take to connect, and to shake hands.
const MOST_CONNECTING: Duration = Duration::from_secs(5);

/// Where a request goes, and what it says.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) body: Bytes,
    /// The value of the header `Authorization`.
    pub(crate) authorization: Option<&'a str>,
    /// One more header.
    pub(crate) header: Option<(&'static str, String)>,
}

/// What a server says to it.
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// An open connection. Closed when dropped, which tells the server that its answer is not wanted any more.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(target: &Target) -> Result<Self, RemoteError> {
        let failed =
            |source: io::Error| RemoteError::Connect { url: target.url.clone(), source: Arc::new(source) };
        let connected = async {
            let stream = TcpStream::connect((target.address.host.as_str(), target.address.port))
                .await
                .map_err(failed)?;
            // Requests are short, and waited for.
            stream.set_nodelay(true).map_err(failed)?;
            match &target.tls {
                None => Self::over(stream, target).await,
                Some((tls, name)) => {
                    let stream = tls.connect(name.clone(), stream).await.map_err(failed)?;
                    Self::over(stream, target).await
                }
            }
        };
        match timeout(MOST_CONNECTING, connected).await {
            Ok(connection) => connection,
            Err(_) => {
                Err(RemoteError::Silent { url: target.url.clone(), seconds: MOST_CONNECTING.as_secs() })
            }
        }
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        target: &Target,
    ) -> Result<Self, RemoteError> {
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(target, error))?;
        let driver = tokio::spawn(async move {
            // Who waits for an answer is told.
            let _ = connection.await;
        });
        Ok(Self { sender, driver })
    }

    /// Sends a request and waits for what the server says, for so long at most.
    pub(crate) async fn ask(
        &mut self,
        target: &Target,
        ask: Ask<'_>,
        most: Duration,
    ) -> Result<Said, RemoteError> {
        let path = format!("{}{}", target.address.prefix, ask.path);
        let mut request =
            Request::builder().method(ask.method).uri(path).header(HOST, &target.address.authority);
        if let Some(authorization) = ask.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some((name, value)) = ask.header {
            request = request.header(name, value);
        }
        if !ask.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(ask.body)).map_err(|error| broken(target, error))?;
        let answered = async {
            self.sender.ready().await.map_err(|error| broken(target, error))?;
            let response = self.sender.send_request(request).await.map_err(|error| broken(target, error))?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
            let body = body.map_err(|source| RemoteError::Broken {
                url: target.url.clone(),
                source: Arc::from(source),
            })?;
            Ok(Said { status, body: body.to_bytes() })
        };
        match timeout(most, answered).await {
            Ok(said) => said,
            Err(_) => Err(RemoteError::Silent { url: target.url.clone(), seconds: most.as_secs() }),
        }
    }
}

fn broken(target: &Target, error: impl std::error::Error + Send + Sync + 'static) -> RemoteError {
    RemoteError::Broken { url: target.url.clone(), source: Arc::new(error) }
}
