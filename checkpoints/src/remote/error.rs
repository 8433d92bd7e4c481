//! Why a remote store could not be used.

use std::io;

use thiserror::Error;

use crate::error::{ReadError, WriteError};
use crate::manifest::FileRecord;

/// Why a remote store could not be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// The address is none.
    #[error(
        "`{url}` is not the address of a store: {reason}; wanted is `s3://BUCKET/PATH`, `gs://BUCKET/PATH`, `az://CONTAINER/PATH`, \
         `https://HOST/PATH`, or a folder as `file:///PATH`"
    )]
    Address {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store does not know, or does not trust, whoever asks.
    #[error("`{url}` refuses these credentials{}", from_environment(variables))]
    Credentials {
        /// The object, or the store.
        url: String,
        /// The variables that matter.
        variables: &'static str,
        /// What the store said.
        source: object_store::Error,
    },
    /// The store failed, after several tries where that could help.
    #[error(
        "`{url}` cannot be used; credentials, if it wants any, are taken from the environment: {variables}"
    )]
    Store {
        /// The object, or the store.
        url: String,
        /// The variables that matter.
        variables: &'static str,
        /// What the store said.
        source: object_store::Error,
    },
    /// There is no checkpoint of a step.
    #[error("`{url}` has no checkpoint of step {step}; it has those of: {steps}")]
    NoStep {
        /// The store.
        url: String,
        /// The step.
        step: u64,
        /// What is there.
        steps: String,
    },
    /// There is no checkpoint at all.
    #[error("`{url}` has no checkpoint; one without a manifest is not there")]
    Empty {
        /// The store.
        url: String,
    },
    /// A file is not what its manifest says.
    #[error("`{name}` has {bytes} bytes with BLAKE3 hash {found}, wanted {} bytes with {}", wanted.bytes, wanted.blake3)]
    Changed {
        /// The file or object.
        name: String,
        /// Hash of what was read.
        found: String,
        /// Its size.
        bytes: u64,
        /// The manifest's record.
        wanted: FileRecord,
    },
    /// A manifest in the store is not one.
    #[error("the store's manifest cannot be used")]
    Manifest(#[from] ReadError),
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What was fetched cannot be written.
    #[error("the checkpoint that was fetched cannot be written")]
    Write(#[from] WriteError),
}

impl RemoteError {
    /// Whether what was asked for is the mistake, rather than what the store made of it.
    pub fn is_bad_input(&self) -> bool {
        matches!(self, RemoteError::Address { .. } | RemoteError::NoStep { .. } | RemoteError::Empty { .. })
    }
}

/// Where credentials come from, if the store wants any.
fn from_environment(variables: &str) -> String {
    if variables.is_empty() {
        return String::new();
    }
    format!("; credentials are taken from the environment: {variables}")
}
