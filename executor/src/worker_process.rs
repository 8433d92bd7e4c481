//! A worker as its parent sees it.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::module_cache::Prepared;
use crate::protocol::{self, Hello, VERSION, Welcome};
use crate::{InfraError, Limits};

/// How long a worker may take to get ready. Milliseconds suffice, unless the machine is overloaded or its disk is slow.
const MOST_START: Duration = Duration::from_secs(120);

/// Room for replies that is there before they come.
const RECEIVE_BYTES: usize = 1 << 14;

/// How to start a worker: a program whose `main` returns [`crate::worker_main`].
#[derive(Clone, Debug)]
pub struct WorkerCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl WorkerCommand {
    /// This program again, with the hidden argument `exec-worker`.
    ///
    /// # Errors
    ///
    /// If the operating system does not tell which program this is.
    pub fn this_program() -> Result<Self, InfraError> {
        let program = std::env::current_exe().map_err(|source| InfraError::WorkerStart {
            command: "exec-worker of this program".to_owned(),
            source: Arc::new(source),
        })?;
        Ok(Self { program, arguments: vec!["exec-worker".into()] })
    }

    /// Hash of the program: of the code that judges.
    pub(crate) fn code_hash(&self) -> Result<[u8; 32], InfraError> {
        let code = std::fs::read(&self.program).map_err(|source| InfraError::WorkerStart {
            command: self.program.display().to_string(),
            source: Arc::new(source),
        })?;
        Ok(*blake3::hash(&code).as_bytes())
    }
}

/// A worker that is ready for jobs. Killed when dropped.
pub(crate) struct WorkerProcess {
    child: Child,
    requests: ChildStdin,
    replies: ChildStdout,
    unsent: Vec<u8>,
    received: Vec<u8>,
}

impl WorkerProcess {
    /// Starts a worker and waits until it is ready.
    pub(crate) async fn start(command: &WorkerCommand, prepared: &Prepared) -> Result<Self, InfraError> {
        let mut child = Command::new(&command.program)
            .args(&command.arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C in the terminal is for the parent, which finishes its step with these workers.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| InfraError::WorkerStart {
                command: command.program.display().to_string(),
                source: Arc::new(source),
            })?;
        let (Some(requests), Some(replies)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(InfraError::WorkerNotReady("it has no pipes".to_owned()));
        };
        let mut worker = Self { child, requests, replies, unsent: Vec::new(), received: Vec::new() };
        let hello = Hello { version: VERSION, work: prepared.work.clone() };
        worker.unsent = protocol::encode(&hello).map_err(not_ready)?;
        let greeted = async {
            loop {
                worker.exchange().await?;
                if let Some(welcome) = worker.reply()? {
                    return io::Result::Ok(welcome);
                }
            }
        };
        match timeout(MOST_START, greeted).await {
            Ok(Ok(Welcome::Ready)) => Ok(worker),
            Ok(Ok(Welcome::Refused(message))) => Err(InfraError::WorkerNotReady(message)),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(InfraError::WorkerNotReady("it ended before it was ready".to_owned()))
            }
            Ok(Err(error)) => Err(not_ready(error)),
            Err(_) => {
                Err(InfraError::WorkerNotReady(format!("nothing heard for {} s", MOST_START.as_secs())))
            }
        }
    }

    /// This worker, unless it has ended meanwhile.
    pub(crate) fn if_alive(mut self) -> Option<Self> {
        matches!(self.child.try_wait(), Ok(None)).then_some(self)
    }

    /// Frames for the worker, which [`Self::exchange`] sends.
    pub(crate) fn post(&mut self, frames: &mut Vec<u8>) {
        if self.unsent.is_empty() {
            self.unsent = std::mem::take(frames);
        } else {
            self.unsent.append(frames);
        }
    }

    /// Sends and receives as much as goes at once; waits until something does. Nothing is lost where this is dropped meanwhile.
    /// `Err` if the worker is lost: it must not be used again.
    pub(crate) async fn exchange(&mut self) -> io::Result<()> {
        self.received.reserve(RECEIVE_BYTES);
        tokio::select! {
            biased;
            read = self.replies.read_buf(&mut self.received) => match read? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(()),
            },
            written = self.requests.write(&self.unsent), if !self.unsent.is_empty() => {
                self.unsent.drain(..written?);
                Ok(())
            }
        }
    }

    /// The next reply that has been received.
    pub(crate) fn reply<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        protocol::take(&mut self.received)
    }
}

/// Wall time after which a worker counts as stalled. It stops a program by processor time; on a crowded machine that may
/// take many times as long by the clock on the wall.
pub(crate) fn patience(limits: Limits) -> Duration {
    Duration::from_secs(60) + 20 * Duration::from_millis(limits.timeout_ms.get())
}

fn not_ready(error: io::Error) -> InfraError {
    InfraError::WorkerNotReady(error.to_string())
}
