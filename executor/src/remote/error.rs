//! What goes wrong between a trainer and a server.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use super::{RuntimeIdentity, TokenError};

/// Why a server cannot be used.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// There is no server in the list.
    #[error("`executor.remote.servers` is empty, wanted at least one address")]
    NoServers,
    /// The address cannot be one.
    #[error("`{url}` is no address of a server: {why}")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The runtime is not what such servers run.
    #[error(
        "SandboxFusion runs Python programs, and `executor.runtime` is `{runtime}`, wanted a `python` one"
    )]
    NotPython {
        /// The runtime.
        runtime: &'static str,
    },
    /// The token cannot be read.
    #[error(transparent)]
    Token(Arc<TokenError>),
    /// The certificates cannot be read.
    #[error("cannot read certificates from `{}`: {why}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// No connection.
    #[error("cannot connect to `{url}`")]
    Connect {
        /// The server.
        url: String,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The connection broke.
    #[error("the connection to `{url}` broke")]
    Broken {
        /// The server.
        url: String,
        /// Why.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// Nothing was heard.
    #[error("nothing was heard from `{url}` for {seconds} s")]
    Silent {
        /// The server.
        url: String,
        /// For how long, in seconds.
        seconds: u64,
    },
    /// The token is missing or wrong.
    #[error(
        "`{url}` refuses the token; `executor.remote.token_file` or RLTRAIN_EXECUTOR_TOKEN has to be the one that the server was started with"
    )]
    Unauthorized {
        /// The server.
        url: String,
    },
    /// The server judges otherwise.
    #[error(
        "`{url}` has {found}; wanted {wanted}: build the server from the same source, and start it with the same runtime"
    )]
    OtherIdentity {
        /// The server.
        url: String,
        /// What it has.
        found: Box<RuntimeIdentity>,
        /// What this side has.
        wanted: Box<RuntimeIdentity>,
    },
    /// The server is about to end.
    #[error("`{url}` takes no more programs, since it is about to end")]
    Draining {
        /// The server.
        url: String,
    },
    /// What it says makes no sense.
    #[error("`{url}` answers with HTTP status {status}, which is no answer of such a server: {text}")]
    Nonsense {
        /// The server.
        url: String,
        /// The status.
        status: u16,
        /// Start of what it says.
        text: String,
    },
}

impl RemoteError {
    /// Whether it is for somebody to mend, so that a run had better not begin with it.
    pub(crate) fn is_lasting(&self) -> bool {
        matches!(self, Self::Unauthorized { .. } | Self::OtherIdentity { .. })
    }
}
