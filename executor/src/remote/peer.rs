//! A server as a trainer sees it, of whichever kind.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use serde::de::DeserializeOwned;

use super::connection::{Ask, Connection, Said};
use super::fusion::Fusion;
use super::message::{Answer, HEALTH, Health, IDENTITY, JUDGE, identity_header};
use super::target::Target;
use super::{RemoteError, RemoteKind, RuntimeIdentity};
use crate::pending::Decision;
use crate::worker_process::patience;
use crate::{InfraError, Limits};

/// How long a server may take to say how it is.
pub(crate) const MOST_GREETING: Duration = Duration::from_secs(10);

/// Programs that a SandboxFusion server is given at a time: it does not say how many it runs.
const FUSION_WORKERS: usize = 8;

/// How much of nonsense is shown.
const MOST_SHOWN: usize = 200;

/// A server.
pub(crate) struct Peer {
    pub(crate) target: Target,
    authorization: Option<String>,
    kind: Kind,
}

enum Kind {
    Rltrain,
    Fusion(Fusion),
}

/// How a server is.
pub(crate) struct Greeting {
    pub(crate) workers: usize,
    /// Absent where a server does not know such a thing.
    pub(crate) identity: Option<RuntimeIdentity>,
    pub(crate) draining: bool,
}

/// What a server makes of a job.
pub(crate) enum Heard {
    /// Another one would say the same.
    Decided(Decision),
    /// Its sandbox has failed; another one's may not.
    Failed(String),
    /// It has as many as it takes.
    Busy,
    /// It takes no more.
    Draining,
}

impl Peer {
    /// The server at `target`, to which `authorization` is shown.
    pub(crate) fn new(kind: RemoteKind, target: Target, authorization: Option<String>) -> Self {
        let kind = match kind {
            RemoteKind::Rltrain => Kind::Rltrain,
            RemoteKind::SandboxFusion => Kind::Fusion(Fusion::default()),
        };
        Self { target, authorization, kind }
    }

    /// Asks a server how it is.
    pub(crate) async fn greet(&self, connection: &mut Connection) -> Result<Greeting, RemoteError> {
        match &self.kind {
            Kind::Rltrain => {
                let said = self.get(connection, HEALTH).await?;
                let Health { identity, workers, draining, authorized, .. } = self.read(&said)?;
                if !authorized {
                    return Err(RemoteError::Unauthorized { url: self.target.url.clone() });
                }
                Ok(Greeting { workers, identity: Some(identity), draining })
            }
            Kind::Fusion(_) => {
                let said = self.get(connection, Fusion::HEALTH).await?;
                if said.status != 200 {
                    return Err(self.nonsense(&said));
                }
                Ok(Greeting { workers: FUSION_WORKERS, identity: None, draining: false })
            }
        }
    }

    /// Has a job, as JSON, judged.
    pub(crate) async fn judge(
        &self,
        connection: &mut Connection,
        job: Bytes,
        limits: Limits,
        identity: &RuntimeIdentity,
    ) -> Result<Heard, RemoteError> {
        match &self.kind {
            Kind::Fusion(fusion) => fusion.judge(self, connection, &job).await,
            Kind::Rltrain => {
                let header = Some((IDENTITY, identity_header(identity)));
                let said = self.post(connection, JUDGE, job, header, patience(limits)).await?;
                self.hear(self.read(&said)?, identity)
            }
        }
    }

    fn hear(&self, answer: Answer, wanted: &RuntimeIdentity) -> Result<Heard, RemoteError> {
        let url = || self.target.url.clone();
        Ok(match answer {
            Answer::Verdict(verdict) => Heard::Decided(Ok(verdict)),
            Answer::NoTests => Heard::Decided(Err(InfraError::NoTests)),
            Answer::FaultyTest(why) => Heard::Decided(Err(InfraError::FaultyTest(why))),
            Answer::TooLarge(why) => Heard::Decided(Err(InfraError::TooLarge(why))),
            Answer::Failed(why) | Answer::Unreadable(why) => Heard::Failed(why),
            Answer::Busy => Heard::Busy,
            Answer::Draining => Heard::Draining,
            Answer::Unauthorized => return Err(RemoteError::Unauthorized { url: url() }),
            Answer::OtherIdentity(found) => {
                let (found, wanted) = (Box::new(found), Box::new(wanted.clone()));
                return Err(RemoteError::OtherIdentity { url: url(), found, wanted });
            }
        })
    }

    async fn get(&self, connection: &mut Connection, path: &str) -> Result<Said, RemoteError> {
        let authorization = self.authorization.as_deref();
        let ask = Ask { method: Method::GET, path, body: Bytes::new(), authorization, header: None };
        connection.ask(&self.target, ask, MOST_GREETING).await
    }

    /// Posts `body` and waits `most` for what is said to it.
    pub(crate) async fn post(
        &self,
        connection: &mut Connection,
        path: &str,
        body: Bytes,
        header: Option<(&'static str, String)>,
        most: Duration,
    ) -> Result<Said, RemoteError> {
        let authorization = self.authorization.as_deref();
        let ask = Ask { method: Method::POST, path, body, authorization, header };
        connection.ask(&self.target, ask, most).await
    }

    /// What was said, as JSON.
    pub(crate) fn read<T: DeserializeOwned>(&self, said: &Said) -> Result<T, RemoteError> {
        serde_json::from_slice(&said.body).map_err(|_| self.nonsense(said))
    }

    fn nonsense(&self, said: &Said) -> RemoteError {
        let start = &said.body[..said.body.len().min(MOST_SHOWN)];
        let text = String::from_utf8_lossy(start).escape_debug().to_string();
        RemoteError::Nonsense { url: self.target.url.clone(), status: said.status, text }
    }
}
