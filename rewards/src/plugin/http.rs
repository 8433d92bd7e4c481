//! A plug-in that is an HTTP endpoint: one JSON object a request.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::batches::{Answer, in_batches};
use super::protocol::{Hello, Request, scores};
use super::{PlugIn, PlugInError, PlugInScore, range};
use crate::Attempt;
use crate::endpoint::{Endpoint, EndpointConfig};
use crate::term::reward_config;

reward_config! {
    /// `[rewards.http.NAME]`: an HTTP endpoint of your own that scores attempts: it gets batches as JSON by POST and answers with
    /// JSON. `rltrain reward new NAME --kind http` writes one; `docs/rewards.md` has the protocol.
    ///
    /// An endpoint that fails, hangs or answers nonsense is asked again after a while; the attempts of a batch that it never answers
    /// are lost, as if the sandbox had failed, and count neither as 0 nor as anything else.
    pub struct HttpConfig for "http" {
        /// Its address, such as `http://127.0.0.1:8642/`; `https` works too. Not empty.
        pub url: String = String::new(),
        /// The environment variable that holds a key, which is sent as `Authorization: Bearer KEY`. Default: none is sent.
        pub key_variable: String = String::new(),
        /// How many batches are with it at the same time, from 1 to 64. Default 4.
        pub concurrency: usize = 4,
        /// Most attempts in one batch, at least 1. Default 64.
        pub batch: usize = 64,
        /// Time for one request, in milliseconds, at least 1. Default 10000.
        pub timeout_ms: u64 = 10_000,
        /// How often it is asked again before a batch is given up: after 0.2 seconds, then after twice as long each time, or after
        /// what its header `Retry-After` says. Default 4.
        pub retries: usize = 4,
        /// The least that it may score. Default -1.
        pub least: f64 = -1.0,
        /// The most that it may score. Default 1.
        pub greatest: f64 = 1.0,
    }
}

/// A plug-in at an HTTP address, greeted when it is first needed.
pub struct Http {
    name: String,
    endpoint: Endpoint,
    batch: usize,
    range: RangeInclusive<f64>,
    lanes: Vec<()>,
    greeted: AtomicBool,
    asked: AtomicU64,
}

impl Http {
    pub(crate) fn new(name: &str, config: &HttpConfig) -> Result<Self, String> {
        if config.batch == 0 {
            return Err("`batch` is 0, wanted at least 1".to_owned());
        }
        let asked = EndpointConfig {
            url: config.url.clone(),
            key_variable: config.key_variable.clone(),
            timeout: Duration::from_millis(config.timeout_ms),
            retries: config.retries,
            concurrency: config.concurrency,
        };
        let endpoint = Endpoint::new(asked, 64)?;
        Ok(Self {
            name: name.to_owned(),
            endpoint,
            batch: config.batch,
            range: range(config.least, config.greatest)?,
            lanes: vec![(); config.concurrency],
            greeted: AtomicBool::new(false),
            asked: AtomicU64::new(0),
        })
    }

    /// Says hello, unless that was done since the last failure: whoever answers may then be another program.
    fn greet(&self) -> Result<(), PlugInError> {
        if !self.greeted.load(Ordering::Acquire) {
            self.endpoint.ask(|| Ok(Hello::of(&self.name).text()), Hello::check)?;
            self.greeted.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn score_batch(&self, attempts: &[Attempt<'_>]) -> Answer {
        self.greet()?;
        let id = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let request = Request::of(attempts);
        let answer = self
            .endpoint
            .ask(|| Ok(request.text(id)), |answer| scores(answer, id, attempts.len(), &self.range));
        if answer.is_err() {
            self.greeted.store(false, Ordering::Release);
        }
        answer
    }
}

impl PlugIn for Http {
    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<PlugInScore> {
        in_batches(&self.lanes, attempts, self.batch, |(), batch| self.score_batch(batch))
    }
}

#[cfg(test)]
pub(crate) mod tests;
