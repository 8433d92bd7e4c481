//! What came of a job.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

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
    /// Is not a program of its language: it cannot be parsed or compiled.
    SyntaxError,
    /// Ended the interpreter: `sys.exit`, `os._exit`.
    Exited,
    /// Raised an exception after it was refused something: a file, a socket, a process.
    Forbidden,
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
    /// Was not run: the program did not load, or an earlier test decided the job.
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
            Outcome::Forbidden => "forbidden",
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

/// What is known of why something did not pass. Texts are of the program's making.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Cause {
    /// It gave a value or a text other than the expected one.
    WrongAnswer {
        /// What it gave, cut off when long.
        actual: String,
        /// What was expected, cut off when long.
        expected: String,
    },
    /// It raised an exception.
    Exception {
        /// Name of its type, such as `ValueError`.
        kind: String,
        /// Its message; may be empty.
        message: String,
        /// Line of the program, from 1, in which it was raised or last passed through.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        line: Option<u32>,
    },
    /// Something else.
    Note(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongAnswer { actual, expected } => write!(formatter, "gave {actual}, wanted {expected}"),
            Self::Exception { kind, message, line } => {
                formatter.write_str(kind)?;
                if !message.is_empty() {
                    write!(formatter, ": {message}")?;
                }
                line.map_or(Ok(()), |line| write!(formatter, ", line {line}"))
            }
            Self::Note(note) => formatter.write_str(note),
        }
    }
}

/// How the program, or one test, ended, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ending {
    /// How.
    pub outcome: Outcome,
    /// Why it did not pass; absent if it did, or if nothing is known but the outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

impl Ending {
    /// It passed.
    pub const PASSED: Self = Self { outcome: Outcome::Passed, cause: None };

    /// Whether it passed.
    pub fn passed(&self) -> bool {
        self.outcome == Outcome::Passed
    }

    /// Its cause in words, or its outcome where no more is known.
    pub fn reason(&self) -> String {
        self.cause.as_ref().map_or_else(|| self.outcome.to_string(), ToString::to_string)
    }

    /// An ending with a cause.
    pub fn because(outcome: Outcome, cause: Cause) -> Self {
        Self { outcome, cause: Some(cause) }
    }
}

/// By the outcome alone: `ending == Outcome::Passed`.
impl PartialEq<Outcome> for Ending {
    fn eq(&self, outcome: &Outcome) -> bool {
        self.outcome == *outcome
    }
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, cause: None }
    }
}

/// Time on the wall. Not a part of what a verdict says, so any two compare as equal.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct WallTime(pub Duration);

impl PartialEq for WallTime {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for WallTime {}

impl From<u64> for WallTime {
    fn from(microseconds: u64) -> Self {
        Self(Duration::from_micros(microseconds))
    }
}

impl From<WallTime> for u64 {
    fn from(time: WallTime) -> u64 {
        u64::try_from(time.0.as_micros()).unwrap_or(u64::MAX)
    }
}

/// A verdict in one word, as CodeRL's rewards have it (Le et al. 2022, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeClass {
    /// Cannot be parsed or compiled.
    CompileError,
    /// The program or a test ended otherwise than by passing or by a wrong answer: an exception, a limit, a crash.
    RuntimeError,
    /// Everything ran, and a test failed.
    FailedTest,
    /// All tests passed.
    PassedAll,
}

/// What the tests said about a program. Made by a worker; read by rewards, metrics and logs.
///
/// The same job always gets the same verdict, on any machine and under any load, unless [`Outcome::OutOfTime`] by processor
/// time is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// How the program itself ended; the tests are run only if it passed. A program that is only run as a script, once for each
    /// test, passes if it can be compiled.
    pub load: Ending,
    /// One ending per test of the job, in their order.
    pub tests: Vec<Ending>,
    /// How many of the tests, from the first, are public.
    #[serde(default)]
    pub public: usize,
    /// Fuel used, by the program and all its tests.
    pub fuel: u64,
    /// Most memory held at once, in bytes, the interpreter included.
    pub peak_memory_bytes: u64,
    /// Time from the job's arrival at a worker to its verdict, in microseconds.
    #[serde(rename = "wall_us")]
    pub wall: WallTime,
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
        self.tests.iter().filter(|ending| ending.passed()).count()
    }

    /// Whether there is a test and all of them passed.
    pub fn all_passed(&self) -> bool {
        self.total() > 0 && self.passed() == self.total()
    }

    /// Endings of the public tests: what a repair prompt may show.
    pub fn public_tests(&self) -> &[Ending] {
        &self.tests[..self.public.min(self.tests.len())]
    }

    /// Endings of the hidden tests.
    pub fn hidden_tests(&self) -> &[Ending] {
        &self.tests[self.public.min(self.tests.len())..]
    }

    /// How the program and then each test ended.
    pub fn endings(&self) -> impl Iterator<Item = &Ending> {
        std::iter::once(&self.load).chain(&self.tests)
    }

    /// The verdict in one word. Limits and refusals are runtime errors; a test that was not run, since an earlier one had failed, says
    /// nothing.
    pub fn class(&self) -> OutcomeClass {
        let is_error =
            |ending: &Ending| !matches!(ending.outcome, Outcome::Passed | Outcome::Failed | Outcome::NotRun);
        if self.load.outcome == Outcome::SyntaxError {
            OutcomeClass::CompileError
        } else if self.endings().any(is_error) {
            OutcomeClass::RuntimeError
        } else if self.all_passed() {
            OutcomeClass::PassedAll
        } else {
            OutcomeClass::FailedTest
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(load: Outcome, tests: &[Outcome]) -> Verdict {
        Verdict {
            load: load.into(),
            tests: tests.iter().map(|outcome| (*outcome).into()).collect(),
            public: 1,
            fuel: 1,
            peak_memory_bytes: 1,
            wall: WallTime(Duration::from_micros(7)),
            stdout: String::new(),
            stderr: String::new(),
            denied: BTreeMap::new(),
        }
    }

    #[test]
    fn classes_are_those_of_coderl() {
        use Outcome::{Failed, NotRun, OutOfFuel, Passed, Raised, SyntaxError};
        for (load, tests, class) in [
            (SyntaxError, [NotRun, NotRun], OutcomeClass::CompileError),
            (Raised, [NotRun, NotRun], OutcomeClass::RuntimeError),
            (Passed, [Failed, OutOfFuel], OutcomeClass::RuntimeError),
            (Passed, [Passed, Failed], OutcomeClass::FailedTest),
            (Passed, [Failed, NotRun], OutcomeClass::FailedTest),
            (Passed, [Raised, NotRun], OutcomeClass::RuntimeError),
            (Passed, [Passed, Passed], OutcomeClass::PassedAll),
        ] {
            assert_eq!(verdict(load, &tests).class(), class, "{load} {tests:?}");
        }
    }

    #[test]
    fn public_and_hidden_tests_are_apart_and_fractions_are_over_all() {
        let verdict = verdict(Outcome::Passed, &[Outcome::Failed, Outcome::Passed, Outcome::Passed]);
        assert_eq!((verdict.public_tests().len(), verdict.hidden_tests().len()), (1, 2));
        assert_eq!((verdict.passed(), verdict.total()), (2, 3));
    }

    #[test]
    fn time_on_the_wall_is_written_in_microseconds_and_decides_nothing() {
        let one = verdict(Outcome::Passed, &[Outcome::Passed]);
        let text = serde_json::to_string(&one).unwrap();
        assert!(text.contains(r#""wall_us":7"#), "{text}");
        let other: Verdict = serde_json::from_str(&text.replace(":7", ":8")).unwrap();
        assert_eq!(one, other);
    }

    #[test]
    fn causes_are_sentences() {
        let exception =
            |line| Cause::Exception { kind: "ValueError".into(), message: "too small".into(), line };
        assert_eq!(exception(Some(3)).to_string(), "ValueError: too small, line 3");
        assert_eq!(exception(None).to_string(), "ValueError: too small");
        let wrong = Cause::WrongAnswer { actual: "[1]".into(), expected: "[2]".into() };
        assert_eq!(wrong.to_string(), "gave [1], wanted [2]");
    }
}
