//! What goes wrong with plug-ins.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// Why a plug-in gave no scores.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum PlugInError {
    /// It cannot be started.
    #[error("cannot start `{command}`: {message}")]
    Start {
        /// What was to be started.
        command: String,
        /// What the system said.
        message: String,
    },
    /// It ended, or closed its output.
    #[error("the plug-in ended before it answered{}", said(.stderr))]
    Ended {
        /// The end of what it wrote to standard error.
        stderr: String,
    },
    /// It did not answer in time.
    #[error("the plug-in did not answer within {} ms", .0.as_millis())]
    Hung(Duration),
    /// Its answer cannot be read.
    #[error("the plug-in answered {answer}; {wanted}")]
    Garbage {
        /// What it said, cut off when long.
        answer: String,
        /// What was wanted.
        wanted: String,
    },
    /// It speaks another version of the protocol.
    #[error("the plug-in speaks version {found} of the protocol, wanted {wanted}")]
    Version {
        /// Its version.
        found: u64,
        /// Ours.
        wanted: u64,
    },
    /// It gave more or fewer scores than there are attempts.
    #[error("the plug-in gave {found} scores for {wanted} attempts")]
    Count {
        /// Scores given.
        found: usize,
        /// Attempts.
        wanted: usize,
    },
    /// A score is no number, or not within the plug-in's range.
    #[error(
        "the plug-in scored attempt {index} of the batch with {found}, wanted null or a number from {least} to {greatest}"
    )]
    Score {
        /// Which attempt, from 0.
        index: usize,
        /// What it gave.
        found: String,
        /// Least score.
        least: f64,
        /// Greatest score.
        greatest: f64,
    },
    /// An endpoint answered with a status that is none of success.
    #[error("the endpoint answered with status {status}: {answer}")]
    Status {
        /// The status of HTTP.
        status: u16,
        /// What it said, cut off when long.
        answer: String,
        /// How long it asks to be left alone.
        wait: Duration,
    },
    /// An endpoint cannot be talked to.
    #[error("cannot reach `{url}`: {message}")]
    Unreachable {
        /// Its address.
        url: String,
        /// What went wrong.
        message: String,
    },
    /// The key of an endpoint is not there.
    #[error("the environment variable `{0}`, which `key_variable` names, is not set")]
    Key(String),
    /// A component was stopped, or stopped itself.
    #[error("the component trapped: {0}")]
    Trapped(String),
    /// A judge has nothing left to pay with.
    #[error("the budget is spent: {0}")]
    Spent(String),
    /// What is to be kept on disk cannot be.
    #[error("cannot keep `{}`: {message}", path.display())]
    Folder {
        /// The file.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
    /// It said itself that it cannot score.
    #[error("the plug-in reports: {0}")]
    Reported(String),
    /// The pipe to it broke.
    #[error("cannot talk to the plug-in: {0}")]
    Pipe(String),
}

impl PlugInError {
    /// Whether asking an endpoint again may help.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            // Request time-out, too early, too many requests: the ones that are meant to be sent again.
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            Self::Key(_) | Self::Version { .. } | Self::Spent(_) | Self::Folder { .. } => false,
            _ => true,
        }
    }

    /// How long an endpoint asked to be left alone.
    pub(crate) fn wanted_wait(&self) -> Duration {
        match self {
            Self::Status { wait, .. } => *wait,
            _ => Duration::ZERO,
        }
    }
}

impl From<io::Error> for PlugInError {
    fn from(error: io::Error) -> Self {
        Self::Pipe(error.to_string())
    }
}

/// What it wrote to standard error, if anything.
fn said(stderr: &str) -> String {
    match stderr.trim() {
        "" => String::new(),
        stderr => format!("; it wrote: {stderr}"),
    }
}
