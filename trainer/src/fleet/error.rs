//! Why attempts cannot be sampled elsewhere.

use std::path::PathBuf;

use rltrain_checkpoints::WriteError;

/// Why attempts cannot be sampled elsewhere.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// The environment variable with the secret is not there.
    #[error("the environment variable `{0}`, which `rollout.remote.key_variable` names, is not set")]
    Secret(String),
    /// Prompts are read by an encoder.
    #[error(
        "the model has an encoder, and servers are asked with what was written behind the prompt; set `rollout.engine = \"local\"`"
    )]
    Encoder,
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
    /// Nothing was published.
    #[error("no weights were published before samples were asked for")]
    Unpublished,
    /// The folder of the weights cannot be written.
    #[error("the weights cannot be written to `{}`, where rollout servers read them", path.display())]
    Write {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: WriteError,
    },
    /// The folder of the weights cannot be looked after.
    #[error("the weights cannot be written to `{}`, where rollout servers read them", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A server refuses what it is asked.
    #[error("the rollout server `{url}` refuses what it is asked")]
    Refused {
        /// Its address.
        url: String,
        /// What it said.
        source: ServerError,
    },
    /// A sample was lost too often.
    #[error(
        "a sample was lost {tries} times, the last time by `{url}`; `rollout.remote.retries` says how often that may happen"
    )]
    Lost {
        /// How often it was asked for.
        tries: u32,
        /// The last server.
        url: String,
        /// What happened there.
        source: ServerError,
    },
    /// No server answers.
    #[error(
        "no rollout server has answered for {seconds} s, `rollout.remote.deadline_seconds`; the last that did not is `{url}`"
    )]
    Silent {
        /// How long that is.
        seconds: u64,
        /// One of them.
        url: String,
        /// What happened there.
        source: ServerError,
    },
}

impl FleetError {
    /// Whether the user can mend it by changing what they gave us.
    pub fn is_bad_input(&self) -> bool {
        matches!(self, FleetError::Secret(_) | FleetError::Encoder)
    }
}

/// What happened to one request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// No answer came.
    #[error("no answer came: {0}")]
    Unreachable(String),
    /// The answer is not of success.
    #[error("status {status}: {message}")]
    Status {
        /// HTTP status.
        status: u16,
        /// The beginning of what was said.
        message: String,
        /// Seconds after which to try again, if the server says so.
        retry_after: Option<u64>,
    },
    /// The answer is not what the API promises.
    #[error("the answer is not what the API promises: {0}")]
    Answer(String),
    /// The sample is of other weights.
    #[error(
        "the sample is of the weights `{found}`, wanted `{wanted}`: the server was started anew, or somebody else changed them"
    )]
    OtherWeights {
        /// What the server calls its weights.
        found: String,
        /// What they should be called.
        wanted: String,
    },
}

impl ServerError {
    /// Whether asking again, or somebody else, can help.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            ServerError::Status { status, .. } => *status >= 500 || [408, 409, 425, 429].contains(status),
            _ => true,
        }
    }

    /// How long a busy server wants to be left alone.
    pub(super) fn busy(&self) -> Option<u64> {
        match self {
            ServerError::Status { status: 429 | 503, retry_after: Some(seconds), .. } => Some(*seconds),
            _ => None,
        }
    }
}
