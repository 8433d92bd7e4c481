//! What trainers and `rltrain executor` say to each other, in JSON over HTTP/1.1.

use serde::{Deserialize, Serialize};

use super::RuntimeIdentity;
use crate::{InfraError, Verdict};

/// Where a job is posted to.
pub(crate) const JUDGE: &str = "/v1/judge";

/// Where a server says how it is.
pub(crate) const HEALTH: &str = "/health";

/// Header in which a trainer says which identity it took the server for, as [`RuntimeIdentity::code`] and interpreter with a `/` in
/// between: behind one address there may be several servers.
pub(crate) const IDENTITY: &str = "rltrain-identity";

/// How a server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health {
    /// What its verdicts depend on.
    pub(crate) identity: RuntimeIdentity,
    /// Programs that it runs at the same time.
    pub(crate) workers: usize,
    /// Programs that it would take now.
    pub(crate) free: usize,
    /// Whether it takes no more programs, since it is about to end.
    pub(crate) draining: bool,
    /// Whether who asks has shown the token, if one is wanted.
    pub(crate) authorized: bool,
}

/// What a server says to a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// What came of it.
    Verdict(Verdict),
    /// It has no tests.
    NoTests,
    /// A test of it is faulty.
    FaultyTest(String),
    /// It is too large.
    TooLarge(String),
    /// The sandbox failed.
    Failed(String),
    /// It is no job.
    Unreadable(String),
    /// The server has as many jobs as it takes.
    Busy,
    /// The server is about to end.
    Draining,
    /// The token is missing or wrong.
    Unauthorized,
    /// The server is another one than it was taken for.
    OtherIdentity(RuntimeIdentity),
}

impl Answer {
    /// The HTTP status that goes with it.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Verdict(_) => 200,
            Self::Unreadable(_) => 400,
            Self::Unauthorized => 401,
            Self::OtherIdentity(_) => 409,
            Self::TooLarge(_) => 413,
            Self::NoTests | Self::FaultyTest(_) => 422,
            Self::Failed(_) => 500,
            Self::Busy | Self::Draining => 503,
        }
    }
}

impl From<Result<Verdict, InfraError>> for Answer {
    fn from(decision: Result<Verdict, InfraError>) -> Self {
        match decision {
            Ok(verdict) => Self::Verdict(verdict),
            Err(InfraError::NoTests) => Self::NoTests,
            Err(InfraError::FaultyTest(why)) => Self::FaultyTest(why),
            Err(InfraError::TooLarge(why)) => Self::TooLarge(why),
            Err(InfraError::Stopped) => Self::Draining,
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

/// The value of the header [`IDENTITY`].
pub(crate) fn identity_header(identity: &RuntimeIdentity) -> String {
    format!("{}/{}", identity.code, identity.interpreter.as_deref().unwrap_or_default())
}
