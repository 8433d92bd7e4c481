//! Programs that are run on other machines: by `rltrain executor` there, or by a SandboxFusion server.
//!
//! ```text
//! submit ─▶ verdict cache ─▶ queue ─▶ board ─▶ lanes of server 1 ─▶ HTTP ─▶ executor there
//!                                       │ └──▶ lanes of server 2 ─▶ HTTP ─▶ executor there
//!                                       └ what was lost with a server, or does not come back, goes to another one
//! ```
//!
//! A lane is a connection with one program at a time; a server has as many as it has use of. The same program gets the same verdict
//! everywhere, so that a program may be run twice, and any answer is as good as another.

pub(crate) mod board;
mod config;
mod connection;
mod error;
mod fleet;
mod fusion;
mod identity;
pub(crate) mod message;
mod peer;
mod target;
mod token;

pub use config::{RemoteConfig, RemoteKind};
pub use error::RemoteError;
pub(crate) use fleet::{Fleet, supervise};
pub use identity::RuntimeIdentity;
pub use token::{Token, TokenError};
