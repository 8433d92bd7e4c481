//! One rollout server.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::Agent;

use super::dialect::{Answer, Dialect, Wish, draws};
use super::error::ServerError;
use super::weights::Published;
use crate::policy::Tokenizer;

/// How long a server that failed is left alone at first; as long again after each failure that follows.
const FIRST_REST: Duration = Duration::from_millis(200);

/// How long at most.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// Longest answer: the tokens and logprobs of one sample.
const MOST_ANSWER: u64 = 64 << 20;

/// Characters of an answer that an error shows.
const SHOWN: usize = 300;

/// A rollout server.
pub(super) struct Server {
    pub(super) url: String,
    dialect: Dialect,
    secret: Option<String>,
    agent: Agent,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the weights are called that it has, if it can be relied on to have them.
    weights: Option<String>,
    /// What it calls its model.
    model: String,
    /// Failures since it last did what it was asked.
    failures: u32,
    rests_until: Option<Instant>,
}

/// Whether a server can be asked.
pub(super) enum Readiness {
    Ready,
    /// Not before this time.
    Rests(Instant),
    /// It was to load the weights, and did not.
    Failed(ServerError),
}

impl Server {
    pub(super) fn new(
        url: &str,
        dialect: Dialect,
        secret: Option<String>,
        deadline: Duration,
        concurrency: usize,
    ) -> Server {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // A redirected POST arrives as an empty GET.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(deadline))
            .max_idle_connections(concurrency)
            .max_idle_connections_per_host(concurrency)
            .user_agent(concat!("rltrain/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        let url = url.trim_end_matches('/').to_owned();
        Server { url, dialect, secret, agent, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the server take up the weights, unless it has them. Others that want the same wait.
    pub(super) fn prepare(&self, published: &Published) -> Readiness {
        let mut state = self.state();
        if let Some(until) = state.rests_until.filter(|until| *until > Instant::now()) {
            return Readiness::Rests(until);
        }
        if state.weights.as_ref() == Some(&published.label) {
            return Readiness::Ready;
        }
        match self.load(published) {
            Ok(model) => {
                *state = State { weights: Some(published.label.clone()), model, ..State::default() };
                Readiness::Ready
            }
            Err(error) => {
                state.rest();
                Readiness::Failed(error)
            }
        }
    }

    /// Returns what the server calls its model.
    fn load(&self, published: &Published) -> Result<String, ServerError> {
        let folder = published.folder.display().to_string();
        for (path, body) in self.dialect.load(&folder, &published.label) {
            let answer = self.post(path, &body, None)?;
            if let Some(message) = self.dialect.denies(&answer) {
                return Err(ServerError::Answer(format!("{path}: {message}")));
            }
        }
        if self.dialect == Dialect::Sglang {
            return Ok(String::new());
        }
        let models: Value = serde_json::from_str(&self.get("/v1/models")?).unwrap_or_default();
        let name = models["data"][0]["id"].as_str().map(str::to_owned);
        name.ok_or_else(|| ServerError::Answer("/v1/models names no model".to_owned()))
    }

    /// Asks for one sample.
    pub(super) fn ask(
        &self,
        wish: Wish<'_>,
        published: &Published,
        tokenizer: &Tokenizer,
    ) -> Result<Answer, ServerError> {
        let model = self.state().model.clone();
        let (path, body) = self.dialect.ask(wish, &model, tokenizer);
        let answer = self.dialect.read(&self.post(path, &body, Some(draws(wish)))?)?;
        match &answer.weights {
            Some(found) if *found != published.label => {
                Err(ServerError::OtherWeights { found: found.clone(), wanted: published.label.clone() })
            }
            _ => Ok(answer),
        }
    }

    /// Takes note that the server did what it was asked.
    pub(super) fn succeeded(&self) {
        self.state().failures = 0;
    }

    /// Takes note that it did not: it may be another one by now, so that it has to take up the weights before it is asked again.
    pub(super) fn failed(&self) {
        let mut state = self.state();
        state.weights = None;
        // What was asked at the same time fails at the same time: that is one failure.
        if state.rests_until.is_none_or(|until| until <= Instant::now()) {
            state.rest();
        }
    }

    fn post(&self, path: &str, body: &Value, header: Option<(&str, String)>) -> Result<String, ServerError> {
        let mut request = self.agent.post(format!("{}{path}", self.url)).content_type("application/json");
        if let Some(secret) = &self.secret {
            request = request.header("authorization", format!("Bearer {secret}"));
        }
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        self.read(request.send(body.to_string()))
    }

    fn get(&self, path: &str) -> Result<String, ServerError> {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if let Some(secret) = &self.secret {
            request = request.header("authorization", format!("Bearer {secret}"));
        }
        self.read(request.call())
    }

    fn read(
        &self,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<String, ServerError> {
        let unreachable = |error: ureq::Error| ServerError::Unreachable(error.to_string());
        let mut response = response.map_err(unreachable)?;
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let bytes =
            response.body_mut().with_config().limit(MOST_ANSWER).read_to_vec().map_err(unreachable)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if (200..300).contains(&status) {
            return Ok(text);
        }
        let message = text.trim().chars().take(SHOWN).collect();
        Err(ServerError::Status { status, message, retry_after })
    }
}

impl State {
    fn rest(&mut self) {
        let rest = FIRST_REST * 2u32.saturating_pow(self.failures.min(10));
        self.failures += 1;
        self.rests_until = Some(Instant::now() + rest.min(LONGEST_REST));
    }
}
