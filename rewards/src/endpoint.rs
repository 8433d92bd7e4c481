//! One HTTP address that answers JSON with JSON: time-outs, retries, and a key that no recipe holds.

use std::io;
use std::thread;
use std::time::Duration;

use ureq::Agent;
use ureq::http::Uri;

use crate::plugin::{PlugInError, shown};

/// Longest answer that is read, in bytes.
const MOST_ANSWER: u64 = 16 << 20;

/// The first wait before an endpoint is asked again; every further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// The longest wait, whatever the endpoint asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How an endpoint is asked.
#[derive(Clone, Debug)]
pub(crate) struct EndpointConfig {
    /// Where it is: `http` or `https`.
    pub(crate) url: String,
    /// The environment variable with the key that goes into the header `Authorization`; empty for none.
    pub(crate) key_variable: String,
    /// Time for one request, from the search for the host to the last byte of the answer.
    pub(crate) timeout: Duration,
    /// How often it is asked again.
    pub(crate) retries: usize,
    /// How many requests are with it at the same time, and connections that are kept for the next ones.
    pub(crate) concurrency: usize,
}

/// An HTTP address. Nothing is sent before the first [`ask`](Self::ask).
pub(crate) struct Endpoint {
    config: EndpointConfig,
    agent: Agent,
}

impl Endpoint {
    /// An address, checked as far as it can be without asking it, that gets at most `most_concurrency` requests at once.
    pub(crate) fn new(config: EndpointConfig, most_concurrency: usize) -> Result<Self, String> {
        if !(1..=most_concurrency).contains(&config.concurrency) {
            let found = config.concurrency;
            return Err(format!("`concurrency` is {found}, wanted from 1 to {most_concurrency}"));
        }
        let url = &config.url;
        let uri: Uri =
            url.parse().map_err(|error| format!("`url` is `{url}`, which is no address: {error}"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
            return Err(format!("`url` is `{url}`, wanted an address such as `http://127.0.0.1:8642/`"));
        }
        if config.timeout.is_zero() {
            return Err("`timeout_ms` is 0, wanted at least 1".to_owned());
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // What is sent must reach who it is meant for: a redirected POST arrives as an empty GET.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(config.timeout))
            .max_idle_connections(config.concurrency)
            .max_idle_connections_per_host(config.concurrency)
            .user_agent(concat!("rltrain/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Ok(Self { config, agent })
    }

    /// Sends `body`, made anew for every try, until an answer passes `read`.
    ///
    /// # Errors
    ///
    /// The last error, once the retries are used up or where asking again cannot help.
    pub(crate) fn ask<T>(
        &self,
        mut body: impl FnMut() -> Result<String, PlugInError>,
        mut read: impl FnMut(&str) -> Result<T, PlugInError>,
    ) -> Result<T, PlugInError> {
        let mut wait = FIRST_WAIT;
        let mut left = self.config.retries;
        loop {
            let error = match body().and_then(|body| self.post(&body)).and_then(|answer| read(&answer)) {
                Ok(value) => return Ok(value),
                Err(error) if left == 0 || !error.may_pass() => return Err(error),
                Err(error) => error,
            };
            left -= 1;
            thread::sleep(wait.max(error.wanted_wait()).min(LONGEST_WAIT));
            wait *= 2;
        }
    }

    /// One request; the text of the answer if it is one of success.
    fn post(&self, body: &str) -> Result<String, PlugInError> {
        let mut request = self.agent.post(&self.config.url).content_type("application/json");
        if let Some(key) = self.key()? {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let mut response = request.send(body).map_err(|error| self.failed(error))?;
        let status = response.status().as_u16();
        let seconds =
            response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let text = response.body_mut().with_config().limit(MOST_ANSWER).read_to_vec();
        let text = text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        if !(200..300).contains(&status) {
            let answer = shown(&text.unwrap_or_default());
            let wait = Duration::from_secs(seconds.unwrap_or(0));
            return Err(PlugInError::Status { status, answer, wait });
        }
        text.map_err(|error| self.failed(error))
    }

    fn key(&self) -> Result<Option<String>, PlugInError> {
        let name = &self.config.key_variable;
        if name.is_empty() {
            return Ok(None);
        }
        match std::env::var(name) {
            Ok(key) if !key.trim().is_empty() => Ok(Some(key.trim().to_owned())),
            _ => Err(PlugInError::Key(name.clone())),
        }
    }

    fn failed(&self, error: ureq::Error) -> PlugInError {
        match error {
            ureq::Error::Timeout(_) => PlugInError::Hung(self.config.timeout),
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                PlugInError::Hung(self.config.timeout)
            }
            error => PlugInError::Unreachable { url: self.config.url.clone(), message: error.to_string() },
        }
    }
}
