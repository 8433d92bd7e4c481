//! `rollout.engine`, and `[rollout.remote]`: how servers are asked.

use std::num::NonZeroU64;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::FleetError;

/// Where attempts are sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutEngine {
    /// Here, by the trainer's own engine.
    #[default]
    Local,
    /// By SGLang's servers, or those of `rltrain serve`.
    Sglang,
    /// By vLLM's servers, or those of `rltrain serve`.
    Vllm,
}

impl RolloutEngine {
    /// Whether it is the trainer's own.
    pub fn is_local(&self) -> bool {
        *self == RolloutEngine::Local
    }
}

/// `[rollout.remote]`: how the servers of `rollout.servers` are asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteConfig {
    /// Time for one sample, or for loading the weights, in seconds. Default 600. A server that takes longer has lost the sample; a
    /// run of which no server has answered for as long ends.
    pub deadline_seconds: NonZeroU64,
    /// How often a sample that a server has lost is asked for again, of whichever server is free. Default 3.
    pub retries: u32,
    /// The folder into which the weights are written before they are sampled by; servers read them there, by the same path.
    /// Default: `weights` in the run folder. Only the newest version is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// The environment variable with the secret that servers want to hear, as `Authorization: Bearer SECRET`. Default none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key_variable: String,
}

impl Default for RemoteConfig {
    fn default() -> RemoteConfig {
        const DEADLINE: NonZeroU64 = NonZeroU64::new(600).expect("600 is not zero");
        RemoteConfig { deadline_seconds: DEADLINE, retries: 3, weights: None, key_variable: String::new() }
    }
}

impl RemoteConfig {
    /// Whether nothing was said.
    pub fn is_default(&self) -> bool {
        *self == RemoteConfig::default()
    }

    /// The secret, if servers want one.
    pub(super) fn secret(&self) -> Result<Option<String>, FleetError> {
        if self.key_variable.is_empty() {
            return Ok(None);
        }
        match std::env::var(&self.key_variable) {
            Ok(secret) if !secret.trim().is_empty() => Ok(Some(secret.trim().to_owned())),
            _ => Err(FleetError::Secret(self.key_variable.clone())),
        }
    }
}
