//! `[executor]`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::process::ProcessConfig;
use crate::remote::{RemoteConfig, RemoteKind};
use crate::{Limits, Runtime};

/// `[executor]`: how programs are run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExecutorConfig {
    /// What runs the programs. Default `python-3.15`.
    pub runtime: Runtime,
    /// Worker processes. Absent: one per processor core. Verdicts do not depend on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<NonZeroUsize>,
    /// Programs that may wait for a worker. Who hands in more waits until there is room. Absent: 65 536.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_waiting: Option<NonZeroUsize>,
    /// Folder in which verdicts are kept from one run to the next, at most 1 GiB of them. Absent: they are kept for the run alone.
    /// Verdicts do not depend on it; how long they take does. Verdicts of native runtimes are not kept there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict_cache: Option<PathBuf>,
    /// What one job may use up.
    pub limits: Limits,
    /// Servers that run the programs. Absent: worker processes on this machine do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteConfig>,
    /// Of the native runtimes.
    #[serde(skip_serializing_if = "ProcessConfig::is_default")]
    pub process: ProcessConfig,
}

impl ExecutorConfig {
    /// Whether verdicts say what work a program did.
    pub fn counts_fuel(&self) -> bool {
        !matches!(self.runtime, Runtime::Native(_)) && !self.is_foreign()
    }

    /// Whether verdicts say how much memory a program held.
    pub fn measures_memory(&self) -> bool {
        !self.is_foreign()
    }

    /// Whether verdicts come from servers of another make.
    fn is_foreign(&self) -> bool {
        self.remote.as_ref().is_some_and(|remote| remote.kind != RemoteKind::Rltrain)
    }
}
