//! Programs in, verdicts out: runs untrusted Python against tests.
//!
//! A [`Job`] is a program with tests and limits. [`Executor::submit`] takes it and returns at once; [`Pending::wait`] returns
//! its [`Verdict`]: how the program and each test ended, and what that took. A failure of the sandbox is an [`InfraError`],
//! which is another type: it says nothing about the program.
//!
//! ```text
//! parent                                  worker process, one per core
//!   submit ─▶ verdict cache ─▶ queue ─▶ pipe ─▶ judge ─▶ guest ─▶ CPython in WebAssembly
//!                                                          │          closed system interface
//!   wait   ◀─ verdict cache ◀───────── pipe ◀──────────────┘
//! ```
//!
//! # What a program can and cannot do
//!
//! It runs in WebAssembly, in an interpreter of its own that starts from a snapshot in well under a millisecond and is thrown
//! away afterwards. Its world is a clock, random numbers, two captured streams and the standard library, all of them the
//! same in every run: no files, network, processes, threads or environment. The worker around it has given up files,
//! network and most system calls (landlock, seccomp) before it runs anything.
//!
//! # Why a verdict can be believed
//!
//! - Tests run after the program, in the same interpreter, called by the host through CPython's C interface: there is no
//!   harness in Python that the program could walk to and rewrite. Output and exit codes mean nothing.
//! - A test of the form `assert EXPRESSION == LITERAL` is decided by the host: the sandbox is asked for the value of the
//!   expression, and never sees the literal. Other tests pass if they run to their end; a program can make an object that
//!   is equal to everything, and pass those. So write tests in that form where it is possible.
//! - Work is counted in instructions, time is virtual: the same job gets the same verdict everywhere.

/// The example of the README, so that it keeps compiling.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod account;
mod assertion;
mod command;
mod comparison;
mod config;
mod crew;
mod embedding;
mod engine;
mod error;
mod files;
mod foreman;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod guest;
mod inbox;
mod intake;
mod interpreter_memory;
mod javascript;
mod job;
mod judge;
mod launcher;
mod limits;
mod lockdown;
mod memory_image;
mod module_cache;
mod oracle;
mod pending;
mod plan;
mod pool;
mod private_folder;
pub mod process;
mod protocol;
mod queue;
mod remote;
mod ruby;
mod runtime;
mod sandbox;
mod server;
mod shim;
mod shim_files;
mod snapshot;
mod statistics;
mod submission;
mod test;
pub mod toy;
mod trial;
mod value;
mod verdict;
mod verdict_cache;
mod verdict_store;
mod watchdog;
mod worker;
mod worker_process;
mod world;

pub use command::module_as_text;
pub use comparison::{TextComparison, Tolerance, ValueComparison};
pub use config::ExecutorConfig;
pub use error::InfraError;
pub use job::{File, Job};
pub use limits::{Fuel, InvalidLimit, Limits, MemoryMib, OutputBytes, TimeoutMs};
pub use module_cache::{ModuleCache, Prepared};
pub use pending::Pending;
pub use pool::{Executor, StartOptions};
pub use queue::TaskKey;
pub use remote::{RemoteConfig, RemoteError, RemoteKind, RuntimeIdentity, Token, TokenError};
pub use runtime::{Runtime, RuntimeFiles};
pub use server::{Parting, Server, ServerError, ServerOptions, TlsFiles};
pub use statistics::ExecutorStatistics;
pub use submission::Submission;
pub use test::{CallTest, Cases, DifferentialTest, PropertyTest, StdinTest, SuiteTest, Test};
pub use verdict::{Cause, Ending, Outcome, OutcomeClass, Verdict, WallTime};
pub use worker::worker_main;
pub use worker_process::WorkerCommand;
