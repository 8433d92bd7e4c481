//! Why a server cannot serve.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

/// Why a server cannot start or go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Anybody could have programs run.
    #[error("refusing to listen on {address} without a token: whoever reaches it could have programs run")]
    NoToken {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A certificate or key cannot be read.
    #[error("cannot read `{}` as PEM: {why}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Certificate and key do not go together, or rustls does not take them.
    #[error("cannot use the certificate `{}`", certificate.display())]
    Certificate {
        /// The file.
        certificate: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The threads or signal handlers of the server cannot be set up.
    #[error("cannot set up the server")]
    Setup(#[source] io::Error),
}
