//! `[executor.remote]`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RemoteError;
use super::target::Address;
use crate::Runtime;

/// What the servers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RemoteKind {
    /// `rltrain executor`: the same verdicts as on this machine.
    #[default]
    Rltrain,
    /// SandboxFusion servers: Python programs without fuel, memory figures and refusals, with time by the clock on the wall.
    SandboxFusion,
}

/// `[executor.remote]`: servers that run the programs. Each is given as many as it has use of, what was lost with one goes to another,
/// and a server that comes back is used again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoteConfig {
    /// What the servers are: `rltrain` (default) or `sandbox-fusion`.
    #[serde(default, skip_serializing_if = "is_rltrain")]
    pub kind: RemoteKind,
    /// Where they are, such as `https://sandbox-1:7443`: `http://` or `https://`, a name or address, and a port if it is not the usual
    /// one.
    #[schemars(length(min = 1))]
    pub servers: Vec<String>,
    /// File whose text is the token that the servers want. Absent: the environment variable `RLTRAIN_EXECUTOR_TOKEN` is the token, if
    /// it is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// PEM file of the certificates that those of `https://` servers have to lead to. Absent: those that web browsers trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Programs that each server is given at a time. Absent: twice as many as an `rltrain` server has workers, 16 of SandboxFusion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_at_once: Option<NonZeroUsize>,
    /// After how many milliseconds a program is also given to another server, if that has nothing else to do; the first answer counts.
    /// Default 2 000.
    #[serde(default = "default_hedge_ms")]
    pub hedge_ms: u64,
    /// For how many seconds no server can be reached before programs that wait are given up. Default 60.
    #[serde(default = "default_give_up_s")]
    pub give_up_s: u64,
}

impl RemoteConfig {
    /// Servers at these addresses, and everything else as it is where nothing is said.
    pub fn new(servers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            kind: RemoteKind::default(),
            servers: servers.into_iter().map(Into::into).collect(),
            token_file: None,
            ca_file: None,
            most_at_once: None,
            hedge_ms: default_hedge_ms(),
            give_up_s: default_give_up_s(),
        }
    }

    /// Whether there are servers, at addresses that can be ones, for programs that they can run. Reads no file and connects to
    /// nothing.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn check(&self, runtime: Runtime) -> Result<(), RemoteError> {
        if self.servers.is_empty() {
            return Err(RemoteError::NoServers);
        }
        if self.kind == RemoteKind::SandboxFusion
            && !matches!(runtime, Runtime::Python315 | Runtime::Python311Fast)
        {
            return Err(RemoteError::NotPython { runtime: runtime.name() });
        }
        self.servers.iter().try_for_each(|url| Address::parse(url).map(drop))
    }
}

fn is_rltrain(kind: &RemoteKind) -> bool {
    *kind == RemoteKind::Rltrain
}

fn default_hedge_ms() -> u64 {
    2_000
}

fn default_give_up_s() -> u64 {
    60
}
