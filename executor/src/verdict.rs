//! What came of a job.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How the program, or one test, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Ran to its end; for a comparison with a literal: gave the value that was expected.
    Passed,
    /// An assertion failed, or the value is not the one that was expected.
    Failed,
    /// An exception other than the ones below.
    Raised,
    /// Is not Python.
    SyntaxError,
    /// Ended the interpreter: `sys.exit`, `os._exit`.
    Exited,
    /// Used up its time: processor time, or virtual time asleep.
    OutOfTime,
    /// Used up its fuel.
    OutOfFuel,
    /// Asked for more memory than it may have.
    OutOfMemory,
    /// Recursed too deeply.
    StackOverflow,
    /// Wrote more than it may.
    OutputLimit,
    /// Broke the interpreter.
    Crashed,
    /// Was not run: the program did not load.
    NotRun,
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::Raised => "raised",
            Outcome::SyntaxError => "syntax error",
            Outcome::Exited => "exited",
            Outcome::OutOfTime => "out of time",
            Outcome::OutOfFuel => "out of fuel",
            Outcome::OutOfMemory => "out of memory",
            Outcome::StackOverflow => "stack overflow",
            Outcome::OutputLimit => "output limit",
            Outcome::Crashed => "crashed",
            Outcome::NotRun => "not run",
        })
    }
}

/// What the tests said about a program. Made by a worker; read by rewards, metrics and logs.
///
/// The same job always gets the same verdict, on any machine and under any load, unless [`Outcome::OutOfTime`] by processor
/// time is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// How the program itself ended; the tests are run only if it [`Outcome::Passed`].
    pub load: Outcome,
    /// One outcome per test of the job, in their order.
    pub tests: Vec<Outcome>,
    /// Why the program did not load, such as `NameError: name 'x' is not defined`; empty if it did, or if nothing is known but
    /// the outcome. Text of the program's making.
    pub load_detail: String,
    /// Why each test did not pass, such as `gave [1, 2]` or `ValueError: too small`; empty for those that did, or if nothing is
    /// known but the outcome. Text of the program's making.
    pub details: Vec<String>,
    /// Fuel used, by the program and all its tests.
    pub fuel: u64,
    /// Most memory held at once, in bytes, the interpreter included.
    pub peak_memory_bytes: u64,
    /// Start of what was written to stdout, at most [`Self::HEAD_BYTES`].
    pub stdout: String,
    /// Start of what was written to stderr, and one line per exception, at most [`Self::HEAD_BYTES`].
    pub stderr: String,
    /// System interface calls that were refused, by name: attempts on files, sockets and the like.
    pub denied: BTreeMap<String, u32>,
}

impl Verdict {
    /// How much of each output stream is kept.
    pub const HEAD_BYTES: usize = 2048;

    /// How many tests there are.
    pub fn total(&self) -> usize {
        self.tests.len()
    }

    /// How many tests passed.
    pub fn passed(&self) -> usize {
        self.tests.iter().filter(|outcome| **outcome == Outcome::Passed).count()
    }

    /// Whether there is a test and all of them passed.
    pub fn all_passed(&self) -> bool {
        self.total() > 0 && self.passed() == self.total()
    }
}
