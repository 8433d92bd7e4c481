//! `[executor]`.

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Limits, Runtime};

/// `[executor]`: how programs are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExecutorConfig {
    /// Interpreter that runs the programs. Default `python-3.15`.
    pub runtime: Runtime,
    /// Worker processes. Absent: one per processor core. Verdicts do not depend on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<NonZeroUsize>,
    /// What one job may use up.
    pub limits: Limits,
}
