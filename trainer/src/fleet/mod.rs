//! Rollout servers elsewhere: the weights go there as a folder, prompts as token ids, and samples come back as token ids with their
//! log-probabilities.
//!
//! ```text
//! publish(policy, version) ─▶ weights/VERSION/ ─▶ each server loads it before its next sample
//! requests ─▶ board ─▶ threads of each server ─▶ SGLang's or vLLM's HTTP API ─▶ Completion
//! ```
//!
//! A server that does not answer is left alone for a while, and loads the weights anew before it is asked again; what it was asked
//! goes back to the board. Random numbers belong to samples and not to servers, so that a sample is the same wherever it is drawn
//! again, as far as the server follows seeds.

mod board;
mod config;
mod dialect;
mod error;
mod server;
mod weights;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use config::{RemoteConfig, RolloutEngine};
pub use error::FleetError;

use self::board::{Board, Rules};
use self::dialect::Dialect;
use self::server::Server;
use self::weights::Published;
use crate::policy::{Policy, Tokenizer};
use crate::recipe::Recipe;
use crate::rollout::{Completion, Request, Sampling};
use crate::telemetry::Metrics;

/// The rollout servers of a run. Made by [`Fleet::of`]; asked by whoever makes attempts.
pub struct Fleet {
    servers: Vec<Server>,
    folder: PathBuf,
    /// Sets the versions of this process apart from those of any other that the servers may still have.
    nonce: u64,
    published: Mutex<Option<Published>>,
    rules: Rules,
    retries: AtomicU64,
}

impl Fleet {
    /// Those that the recipe names; `None` where attempts are sampled here. Nothing is asked of them yet.
    ///
    /// # Errors
    ///
    /// If the secret that the recipe names is not there, or prompts are read by an encoder.
    pub fn of(recipe: &Recipe, policy: &Policy) -> Result<Option<Fleet>, FleetError> {
        let (rollout, remote) = (&recipe.rollout, &recipe.rollout.remote);
        let Some(dialect) = Dialect::of(rollout.engine) else { return Ok(None) };
        if policy.architecture.sizes().has_encoder {
            return Err(FleetError::Encoder);
        }
        let secret = remote.secret()?;
        let deadline = Duration::from_secs(remote.deadline_seconds.get());
        let concurrency = rollout.max_batch.get();
        let servers = rollout
            .servers
            .iter()
            .map(|url| Server::new(url, dialect, secret.clone(), deadline, concurrency))
            .collect();
        Ok(Some(Fleet {
            servers,
            folder: remote.weights.clone().unwrap_or_else(|| recipe.run.join("weights")),
            nonce: getrandom::u64().map_err(|error| FleetError::Random(error.to_string()))?,
            published: Mutex::new(None),
            rules: Rules { deadline, retries: remote.retries, concurrency },
            retries: AtomicU64::new(0),
        }))
    }

    /// Has samples be of these weights from here on: `version` is the number of rollouts that they have learnt from.
    ///
    /// # Errors
    ///
    /// If the folder cannot be written.
    pub fn publish(&self, policy: &Policy, version: u64) -> Result<(), FleetError> {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        if published.as_ref().is_none_or(|published| published.version != version) {
            *published = Some(Published::write(&self.folder, self.nonce, policy, version)?);
        }
        Ok(())
    }

    /// Samples every request by the weights that were published, and hands over each completion the moment it comes.
    ///
    /// # Errors
    ///
    /// If the servers refuse a request, lose one as often as the recipe bears, or none of them answers any more.
    pub fn generate(
        &self,
        tokenizer: &Tokenizer,
        requests: &[Request],
        sampling: &Sampling,
        on_finished: &mut dyn FnMut(Completion),
    ) -> Result<(), FleetError> {
        let published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        let published = published.as_ref().ok_or(FleetError::Unpublished)?;
        let board = Board::new(requests, sampling, published, self.rules);
        let done = board.work(&self.servers, tokenizer, on_finished);
        self.retries.fetch_add(board.retries(), Ordering::Relaxed);
        done
    }

    /// Adds what the servers cost the last step beside time.
    pub fn add_retries(&self, timings: &mut Metrics) {
        timings.push("rollout/retries", self.retries.swap(0, Ordering::Relaxed) as f64);
    }
}
