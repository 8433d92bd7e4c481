//! Failures of the sandbox itself. None of them says anything about a program.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::remote::RemoteError;

/// Why there is no verdict. Never a score: the caller masks the sample, and stops the run if this happens often.
///
/// Cloneable, since everyone who waits for the same job gets the same failure.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum InfraError {
    /// A job without tests would pass by having nothing to fail.
    #[error("the job has no tests, wanted at least one: there is nothing to judge the program by")]
    NoTests,
    /// A test cannot be judged, whatever the program does: its own source is wrong.
    #[error("the test is faulty: {0}")]
    FaultyTest(String),
    /// A file of the runtime cannot be read.
    #[error("cannot read `{}`, a part of the runtime `{runtime}`; `{provider}` provides it", path.display())]
    MissingRuntime {
        /// The file.
        path: PathBuf,
        /// Name of the runtime.
        runtime: &'static str,
        /// The command that puts it there.
        provider: &'static str,
        /// Why.
        source: Arc<io::Error>,
    },
    /// A file of the runtime is not the one that this build was made for.
    #[error("`{}` has BLAKE3 hash {found}, wanted {wanted}; delete the folder that it is in, and `{provider}` provides the right one", path.display())]
    WrongRuntime {
        /// The file.
        path: PathBuf,
        /// Hash of the file.
        found: String,
        /// Hash that this build wants.
        wanted: &'static str,
        /// The command that provides the right one.
        provider: &'static str,
    },
    /// A folder of compiled modules or of verdicts cannot be used.
    #[error("cannot use the cache at `{}`", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// A folder of compiled modules or of verdicts belongs to somebody else or is open to others: native code is loaded from the
    /// one, and the other decides.
    #[error("the cache folder `{}` has owner {owner} and mode {mode:o}, wanted owner {wanted_owner} and mode 700", path.display())]
    UnsafeCache {
        /// The folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who it should belong to.
        wanted_owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// The interpreter's module could not be compiled or loaded.
    #[error("cannot compile or load the interpreter: {0}")]
    Engine(String),
    /// The host lacks what a language takes.
    #[error("{language} programs take {wanted}: {remedy}")]
    MissingToolchain {
        /// The language.
        language: &'static str,
        /// What was looked for, and what was found instead if anything.
        wanted: String,
        /// What can be done about it.
        remedy: &'static str,
    },
    /// The host lacks a layer of the process backend, and the configuration does not accept that.
    #[error("this host does not offer {found}: {remedy}")]
    MissingIsolation {
        /// The layers, and why each is missing.
        found: String,
        /// What can be done about it.
        remedy: String,
    },
    /// A worker process could not be started.
    #[error("cannot start the worker `{command}`")]
    WorkerStart {
        /// The program that was to be started.
        command: String,
        /// Why.
        source: Arc<io::Error>,
    },
    /// A worker started, and could not get ready.
    #[error("a sandbox worker is not ready: {0}")]
    WorkerNotReady(String),
    /// Two workers in turn were lost with the same job: killed, crashed or stalled; what was seen of the second.
    #[error("two sandbox workers in turn were lost with this job; the second: {0}")]
    WorkerLost(String),
    /// Two workers in turn could not run the job; why the second could not.
    #[error("the sandbox failed on two workers in turn: {0}")]
    Sandbox(String),
    /// The job is larger than anything that a model writes.
    #[error("the job is too large: {0}")]
    TooLarge(String),
    /// The servers that are to run the programs cannot be used.
    #[error("cannot use the servers of `executor.remote`")]
    Servers {
        /// Why.
        source: Arc<RemoteError>,
    },
    /// No server could be reached for as long as it is waited for.
    #[error("no server of `executor.remote` could be reached for {seconds} s")]
    Unreachable {
        /// How long, in seconds.
        seconds: u64,
        /// What became of the last one that was tried.
        source: Arc<RemoteError>,
    },
    /// Servers were lost again and again while they had this job.
    #[error("{count} servers in turn were lost with this job")]
    ServersLost {
        /// How many.
        count: usize,
    },
    /// Servers of this kind cannot judge such a test.
    #[error("SandboxFusion servers judge statements, calls and standard input, and not {0}")]
    Unsupported(&'static str),
    /// The executor was dropped, or its thread ended, before this job was done.
    #[error("the executor stopped before the job was done")]
    Stopped,
}
