//! What SandboxFusion's `POST /run_code` takes and gives, as its documentation has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A request.
#[derive(Serialize)]
pub(super) struct RunCode {
    pub(super) language: &'static str,
    pub(super) code: String,
    /// In seconds.
    pub(super) compile_timeout: f64,
    /// In seconds.
    pub(super) run_timeout: f64,
    #[serde(rename = "memory_limit_MB")]
    pub(super) memory_limit_mb: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stdin: Option<String>,
    /// Content in base64, by path.
    pub(super) files: BTreeMap<String, String>,
}

/// The answer to it.
#[derive(Debug, Deserialize)]
pub(super) struct Reply {
    pub(super) status: ReplyStatus,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) run_result: Option<Ran>,
}

/// How it went as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum ReplyStatus {
    /// Everything ended with code 0.
    Success,
    /// Something ended otherwise, or was stopped.
    Failed,
    /// The sandbox itself failed.
    SandboxError,
}

/// How the file was run.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Ran {
    pub(super) status: RanStatus,
    #[serde(default)]
    pub(super) return_code: Option<i64>,
    #[serde(default)]
    pub(super) stdout: Option<String>,
    #[serde(default)]
    pub(super) stderr: Option<String>,
}

/// How that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum RanStatus {
    /// By itself.
    Finished,
    /// The sandbox failed.
    Error,
    /// It was stopped.
    TimeLimitExceeded,
}
