//! What is to be run.

use serde::{Deserialize, Serialize};

use crate::Limits;

/// A program and the tests that judge it. Made by the trainer from a completion; read by a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Source of a whole program. It runs once, as a module that is not `__main__`, before the tests.
    pub program: String,
    /// Statements that see the program's names, usually `assert f(1) == 2`; each is judged by itself.
    ///
    /// Where a test has the form `assert EXPRESSION == LITERAL`, the sandbox is given the expression alone and the host
    /// compares; the literal never enters the sandbox. Any other test passes if it runs to its end.
    pub tests: Vec<String>,
    /// What the program and all its tests may use up together.
    pub limits: Limits,
}
