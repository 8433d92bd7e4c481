//! Workers of the process backend as seen from the process that owns them.

use std::borrow::Cow;
use std::io::Read;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::toolchain::Toolchain;
use super::worker::{Done, Surroundings, Task};
use crate::protocol::{self, Hello, Reply, Request, VERSION, Welcome, Work};
use crate::{InfraError, Job, Verdict, WorkerCommand};

/// A worker that runs single commands in the jail. It ends when this is dropped, with whatever it runs.
pub struct CommandWorker(Worker);

/// A worker that judges programs in one language. It ends when this is dropped, with whatever it runs.
pub struct ProgramWorker(Worker);

struct Worker {
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
    pub fn start(command: &WorkerCommand, surroundings: &Surroundings) -> Result<Self, InfraError> {
        Worker::start(command, Work::Commands(surroundings.clone())).map(Self)
    }

    /// The id of the worker process, whose descendants all commands are.
    pub fn id(&self) -> u32 {
        self.0.child.id()
    }

    /// Compiles and runs something.
    ///
    /// # Errors
    ///
    /// If the worker is lost or the jail cannot be set up. Nothing that the task does is an error.
    pub fn perform(&mut self, task: &Task) -> Result<Done, InfraError> {
        match self.0.exchange(task)? {
            Done::Fault(reason) => Err(InfraError::Sandbox(reason)),
            done => Ok(done),
        }
    }
}

impl ProgramWorker {
    /// Starts the worker and waits until it is ready.
    ///
    /// # Errors
    ///
    /// If it cannot be started, or the host lacks a layer that is not accepted.
    pub fn start(
        command: &WorkerCommand,
        surroundings: &Surroundings,
        toolchain: &Toolchain,
    ) -> Result<Self, InfraError> {
        Worker::start(command, Work::Programs(surroundings.clone(), toolchain.clone())).map(Self)
    }

    /// The id of the worker process, whose descendants all programs are.
    pub fn id(&self) -> u32 {
        self.0.child.id()
    }

    /// Runs a job.
    ///
    /// # Errors
    ///
    /// If there is no verdict, through no fault of the program.
    pub fn judge(&mut self, job: &Job) -> Result<Verdict, InfraError> {
        self.0.exchange::<Reply>(&Request::Judge(Cow::Borrowed(job)))?.into()
    }
}

impl Worker {
    fn start(command: &WorkerCommand, work: Work) -> Result<Self, InfraError> {
        let mut child = std::process::Command::new(&command.program)
            .args(&command.arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| InfraError::WorkerStart {
                command: command.program.display().to_string(),
                source: Arc::new(source),
            })?;
        let (Some(requests), Some(replies)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(InfraError::WorkerNotReady("it has no pipes".to_owned()));
        };
        let mut started = Self { child, requests: Some(requests), replies };
        match started.exchange(&Hello { version: VERSION, work })? {
            Welcome::Ready => Ok(started),
            Welcome::Refused(message) => Err(InfraError::WorkerNotReady(message)),
        }
    }

    fn exchange<Answer: DeserializeOwned>(&mut self, message: &impl Serialize) -> Result<Answer, InfraError> {
        let lost = |error: std::io::Error| InfraError::WorkerLost(error.to_string());
        let Some(requests) = &mut self.requests else { return Err(InfraError::Stopped) };
        protocol::write(requests, message).map_err(lost)?;
        let reply = protocol::read(&mut self.replies.by_ref()).map_err(lost)?;
        reply.ok_or_else(|| InfraError::WorkerLost("it has ended".to_owned()))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.requests.take());
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
