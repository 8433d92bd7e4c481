//! What is to be run.

use serde::{Deserialize, Serialize};

use crate::{DifferentialTest, Limits, Test};

/// A program and the tests that judge it. Made by the trainer from a completion; read by a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Source of a whole program. It runs once, as a module that is not `__main__`, before the tests; [`Test::Stdin`] runs it
    /// again, as `__main__`.
    pub program: String,
    /// Each is judged by itself.
    pub tests: Vec<Test>,
    /// How many of the tests, from the first, are public: their outcome may be shown to who writes the program.
    #[serde(default)]
    pub public: usize,
    /// Files that the program can read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// Whether the first test that does not pass ends the job, the rest being not run. By default all tests run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stop_at_failure: bool,
    /// What the program and all its tests may use up together.
    pub limits: Limits,
}

/// A file in the memory of the sandbox. Programs can read it, and not write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where programs find it, from the root or their working folder, such as `data/input.csv`.
    pub path: String,
    /// What is in it.
    pub text: String,
}

impl Job {
    /// A job with hidden tests and no files, all of whose tests are run.
    pub fn new<T: Into<Test>>(
        program: impl Into<String>,
        tests: impl IntoIterator<Item = T>,
        limits: Limits,
    ) -> Self {
        Self {
            program: program.into(),
            tests: tests.into_iter().map(Into::into).collect(),
            public: 0,
            files: Vec::new(),
            stop_at_failure: false,
            limits,
        }
    }

    /// The job that a differential test of this one is to fail in.
    pub(crate) fn before(&self, test: &DifferentialTest) -> Self {
        Self {
            files: self.files.clone(),
            ..Self::new(test.before.clone(), [(*test.test).clone()], self.limits)
        }
    }
}
