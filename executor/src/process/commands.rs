//! The jail as seen from the process that owns it: single commands, without a judge.

use std::io::Read;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::worker::{Done, Surroundings, Task};
use crate::protocol::{self, Hello, VERSION, Welcome, Work};
use crate::{InfraError, WorkerCommand};

/// A worker that runs single commands in the jail. It ends when this is dropped, with whatever it runs.
pub struct CommandWorker {
    child: Child,
    requests: Option<ChildStdin>,
    replies: ChildStdout,
}

impl CommandWorker {
    /// Starts the worker and waits until it is ready.
    ///
    /// # Errors
    ///
    /// If it cannot be started, or the host lacks a layer that is not accepted.
    pub fn start(worker: &WorkerCommand, surroundings: &Surroundings) -> Result<Self, InfraError> {
        let mut child = std::process::Command::new(&worker.program)
            .args(&worker.arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| InfraError::WorkerStart {
                command: worker.program.display().to_string(),
                source: Arc::new(source),
            })?;
        let (Some(requests), Some(replies)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(InfraError::WorkerNotReady("it has no pipes".to_owned()));
        };
        let mut started = Self { child, requests: Some(requests), replies };
        let hello = Hello { version: VERSION, work: Work::Commands(surroundings.clone()) };
        match started.exchange(&hello)? {
            Welcome::Ready => Ok(started),
            Welcome::Refused(message) => Err(InfraError::WorkerNotReady(message)),
        }
    }

    /// The id of the worker process, whose descendants all commands are.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Compiles and runs something.
    ///
    /// # Errors
    ///
    /// If the worker is lost or the jail cannot be set up. Nothing that the task does is an error.
    pub fn perform(&mut self, task: &Task) -> Result<Done, InfraError> {
        match self.exchange(task)? {
            Done::Fault(reason) => Err(InfraError::Sandbox(reason)),
            done => Ok(done),
        }
    }

    fn exchange<Reply: DeserializeOwned>(&mut self, message: &impl Serialize) -> Result<Reply, InfraError> {
        let lost = |error: std::io::Error| InfraError::WorkerLost(error.to_string());
        let Some(requests) = &mut self.requests else { return Err(InfraError::Stopped) };
        protocol::write(requests, message).map_err(lost)?;
        let reply = protocol::read(&mut self.replies.by_ref()).map_err(lost)?;
        reply.ok_or_else(|| InfraError::WorkerLost("it has ended".to_owned()))
    }
}

impl Drop for CommandWorker {
    fn drop(&mut self) {
        drop(self.requests.take());
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
