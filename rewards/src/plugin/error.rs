//! What goes wrong with plug-ins.

use std::io;
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
    /// It said itself that it cannot score.
    #[error("the plug-in reports: {0}")]
    Reported(String),
    /// The pipe to it broke.
    #[error("cannot talk to the plug-in: {0}")]
    Pipe(String),
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
