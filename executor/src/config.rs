//! `[executor]`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::process::ProcessConfig;
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
    /// Of the native runtimes.
    #[serde(skip_serializing_if = "ProcessConfig::is_default")]
    pub process: ProcessConfig,
}
