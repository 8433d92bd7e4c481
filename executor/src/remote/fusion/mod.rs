//! Programs on a SandboxFusion server, by its documented `POST /run_code`.
//!
//! Such a server runs a Python file and says what it printed. So a program is run below a driver of ours, which calls what the tests
//! call and prints what came out; what that is to be never leaves this side, as with sandboxes of our own. What cannot be had: work is
//! not counted, so that a limit is one of time on the server's wall; nothing says how much memory was held, or what was refused; and
//! driver and program share an interpreter, so that a program that knows the driver can pass a test that only has to run to its end.

mod driver;
mod session;
mod wire;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use driver::{Done, Step, StepKind, Task, mark};
use session::Session;

use super::RemoteError;
use super::connection::Connection;
use super::peer::{Heard, Peer};
use crate::assertion::{self, Comparison};
use crate::plan::Plan;
use crate::value::Value;
use crate::{Cause, Ending, InfraError, Job, Outcome, StdinTest, Test, ValueComparison};

/// Expected values that are kept from one job to the next.
const MOST_KNOWN: usize = 10_000;

/// What is known of the tests seen so far.
#[derive(Default)]
pub(super) struct Fusion {
    /// Expected values of statements, by their source; `None` where this side cannot compare.
    expected: Mutex<HashMap<String, Option<Value>>>,
}

/// Why there is no verdict.
enum Stopped {
    /// The server is lost.
    Lost(RemoteError),
    /// There cannot be one.
    Impossible(InfraError),
    /// Its sandbox has failed.
    Failed(String),
    /// It has as many programs as it takes.
    Busy,
}

/// One test, as it will be run.
enum Trial<'a> {
    /// Passes if the statements run to their end.
    Run(&'a str),
    /// The driver evaluates, this side compares.
    Compared { source: &'a str, expected: Value },
    /// A call, likewise.
    Call { source: String, expected: Value, how: &'a ValueComparison },
    /// The program is run as a script.
    Script(&'a StdinTest),
}

impl Fusion {
    /// Where such a server says that it is there.
    pub(super) const HEALTH: &'static str = "/v1/ping";

    /// Has a job, as JSON, judged.
    pub(super) async fn judge(
        &self,
        peer: &Peer,
        connection: &mut Connection,
        job: &[u8],
    ) -> Result<Heard, RemoteError> {
        let job: Job = match serde_json::from_slice(job) {
            Ok(job) => job,
            Err(error) => return Ok(Heard::Failed(error.to_string())),
        };
        let begin = Instant::now();
        let mut session = Session::new(peer, connection, &job);
        match self.judge_in(&mut session).await {
            Ok((load, mut tests)) => {
                if job.stop_at_failure
                    && let Some(failed) = tests.iter().position(|ending| !ending.passed())
                {
                    tests[failed + 1..].fill(Outcome::NotRun.into());
                }
                Ok(Heard::Decided(Ok(session.verdict(load, tests, begin.elapsed()))))
            }
            Err(Stopped::Impossible(error)) => Ok(Heard::Decided(Err(error))),
            Err(Stopped::Failed(why)) => Ok(Heard::Failed(why)),
            Err(Stopped::Busy) => Ok(Heard::Busy),
            Err(Stopped::Lost(error)) => Err(error),
        }
    }

    async fn judge_in(&self, session: &mut Session<'_>) -> Result<(Ending, Vec<Ending>), Stopped> {
        let job = session.job;
        if job.tests.is_empty() {
            return Err(InfraError::NoTests.into());
        }
        self.learn(session).await?;
        let trials = job.tests.iter().map(|test| self.trial(test)).collect::<Result<Vec<_>, _>>()?;
        let (load, mut done) = session.load(&trials).await?;
        let mut endings = Vec::with_capacity(trials.len());
        for (at, trial) in trials.iter().enumerate() {
            endings.push(match (trial, done.remove(&at)) {
                (Trial::Script(test), _) if load.passed() => session.script(test).await?,
                (_, Some(ending)) => ending,
                _ => Outcome::NotRun.into(),
            });
        }
        Ok((load, endings))
    }

    /// Finds out what statements expect that were not seen before: the server evaluates their right sides, where no program runs.
    async fn learn(&self, session: &mut Session<'_>) -> Result<(), Stopped> {
        let mut unknown: Vec<(&str, Comparison<'_>)> = Vec::new();
        for test in &session.job.tests {
            if let Test::Statements(source) = test
                && let Some(comparison) = assertion::split(source)
                && !self.known().contains_key(source)
            {
                unknown.push((source, comparison));
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let steps = unknown.iter().flat_map(|(_, Comparison { actual, expected })| {
            let step = |kind, source| Step { kind, source };
            [step(StepKind::Compile, *actual), step(StepKind::Value, *expected)]
        });
        let task = Task { mark: mark(), program: "", only_compile: false, steps: steps.collect() };
        let (_, mut done) = session.drive(&task).await?;
        let mut known = self.known();
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        for (at, (source, _)) in unknown.into_iter().enumerate() {
            let is_expression = done.get(&(2 * at + 1)).is_some_and(|done| done.ending.passed());
            let value = done.remove(&(2 * at + 2)).and_then(|done| done.value).filter(|_| is_expression);
            known.insert(source.to_owned(), value);
        }
        Ok(())
    }

    fn trial<'a>(&self, test: &'a Test) -> Result<Trial<'a>, Stopped> {
        let unsupported = |what| Err(InfraError::Unsupported(what).into());
        match test {
            Test::Statements(source) => {
                let expected = self.known().get(source).cloned().flatten();
                Ok(match (assertion::split(source), expected) {
                    (Some(Comparison { actual, .. }), Some(expected)) => {
                        Trial::Compared { source: actual, expected }
                    }
                    _ => Trial::Run(source),
                })
            }
            Test::Call(test) => match Plan::call(test) {
                Plan::Call { .. } if matches!(test.compare, ValueComparison::Custom(_)) => {
                    unsupported("calls with a comparison of their own")
                }
                Plan::Call { call, expected, .. } => {
                    Ok(Trial::Call { source: call, expected, how: &test.compare })
                }
                _ => unsupported("such calls"),
            },
            Test::Stdin(test) => Ok(Trial::Script(test)),
            Test::Suite(_) => unsupported("suites"),
            Test::Property(_) => unsupported("properties"),
            Test::Differential(_) => unsupported("differential tests"),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Option<Value>>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trial<'_> {
    /// What the driver is to do; nothing for a script.
    fn step(&self) -> Option<Step<'_>> {
        Some(match self {
            Self::Run(source) => Step { kind: StepKind::Run, source },
            Self::Compared { source, .. } => Step { kind: StepKind::Value, source },
            Self::Call { source, .. } => Step { kind: StepKind::Value, source },
            Self::Script(_) => return None,
        })
    }

    /// How the test ended if the driver did this.
    fn ending(&self, done: &Done) -> Ending {
        let (expected, is_right) = match (self, &done.value) {
            (Self::Compared { expected, .. }, Some(value)) => (expected, value.equals(expected)),
            (Self::Call { expected, how, .. }, Some(value)) => {
                (expected, how.accepts(value, expected) == Some(true))
            }
            (Self::Compared { expected, .. } | Self::Call { expected, .. }, None) => (expected, false),
            _ => return done.ending.clone(),
        };
        if !done.ending.passed() || is_right {
            return done.ending.clone();
        }
        let odd = || "a value that is not a plain one".to_owned();
        let actual = done.value.as_ref().map_or_else(odd, ToString::to_string);
        Ending::because(Outcome::Failed, Cause::WrongAnswer { actual, expected: expected.to_string() })
    }
}

impl From<InfraError> for Stopped {
    fn from(error: InfraError) -> Self {
        Self::Impossible(error)
    }
}
