//! From a job to its verdict, inside a worker.
//!
//! Phase one runs the program. Phase two runs each test in the same interpreter. Nothing but the host is above either, and
//! what the host goes by is what CPython's C functions return to it, never anything that the program prints, returns to
//! Python code, or exits with.

use std::collections::HashMap;
use std::sync::Arc;

use crate::comparison::{self, Comparison};
use crate::guest::{Broken, Guest, Interpreter, Raised, Source};
use crate::sandbox::Ledger;
use crate::value::Value;
use crate::{InfraError, Job, Limits, Outcome, Verdict};

/// Turns values that equal a plain one, but are not exactly plain, into the plain one: subclasses of builtins, numpy
/// scalars, fractions. Runs in the program's interpreter, where the program could change what it does; it gains nothing by
/// that, since the host compares what comes out with something that the program has never seen.
const PLAIN: &str = include_str!("plain.py");

/// Expected values kept from one job to the next: attempts at the same task share their tests.
const MOST_EXPECTED: usize = 10_000;

/// One interpreter module, and what is known of the tests seen so far.
pub(crate) struct Judge {
    interpreter: Interpreter,
    stdlib: Arc<Vec<u8>>,
    expected: HashMap<String, Option<Arc<Value>>>,
}

/// One test, as it will be run.
enum Test<'a> {
    /// The sandbox evaluates `actual`, the host compares.
    Compared { actual: &'a str, expected: Arc<Value> },
    /// Passes if it runs to its end.
    Run(&'a str),
}

/// How the program or a test ended, and what is known of why.
type Ended = (Outcome, String);

impl Judge {
    /// A judge that uses the given interpreter.
    pub(crate) fn new(interpreter: Interpreter, stdlib: Arc<Vec<u8>>) -> Self {
        Self { interpreter, stdlib, expected: HashMap::new() }
    }

    /// Runs a job.
    pub(crate) fn judge(&mut self, job: &Job) -> Result<Verdict, InfraError> {
        if job.tests.is_empty() {
            return Err(InfraError::NoTests);
        }
        let mut tests = Vec::with_capacity(job.tests.len());
        for test in &job.tests {
            tests.push(self.plan(test)?);
        }
        let mut trial = Trial::new(self, job);
        let load = trial.load()?;
        let mut ends = Vec::with_capacity(tests.len());
        for test in &tests {
            ends.push(if load.0 == Outcome::Passed {
                trial.test(test)?
            } else {
                unexplained(Outcome::NotRun)
            });
        }
        Ok(trial.verdict(load, ends))
    }

    /// Decides how a test is run: by comparison on the host if it has that form and its expected value is plain.
    fn plan<'a>(&mut self, test: &'a str) -> Result<Test<'a>, InfraError> {
        let Some(Comparison { actual, expected }) = comparison::split(test) else {
            return Ok(Test::Run(test));
        };
        if let Some(known) = self.expected.get(test) {
            return Ok(known.clone().map_or(Test::Run(test), |expected| Test::Compared { actual, expected }));
        }
        let value = self.evaluate_expected(actual, expected)?.map(Arc::new);
        if self.expected.len() >= MOST_EXPECTED {
            self.expected.clear();
        }
        self.expected.insert(test.to_owned(), value.clone());
        Ok(value.map_or(Test::Run(test), |expected| Test::Compared { actual, expected }))
    }

    /// The expected value, from an interpreter that no program has run in. `None` if it takes a program to evaluate it, or
    /// if one of the sides is not an expression by itself.
    fn evaluate_expected(&self, actual: &str, expected: &str) -> Result<Option<Value>, InfraError> {
        let limits = Limits::default();
        let evaluate = || -> Result<Option<Value>, Broken> {
            let fuel = limits.fuel.get();
            let mut guest = Guest::start(&self.interpreter, &self.stdlib, limits, fuel, Ledger::default())?;
            if guest.compile(actual, Source::Expression)?.is_err() {
                return Ok(None);
            }
            let Ok(code) = guest.compile(expected, Source::Expression)? else { return Ok(None) };
            let Ok(value) = guest.evaluate(code)? else { return Ok(None) };
            Ok(guest.marshal(value)?.and_then(|bytes| Value::read(&bytes).ok()))
        };
        match evaluate() {
            Ok(value) => Ok(value),
            Err(Broken::Program(_)) => Ok(None),
            Err(Broken::Infra(error)) => Err(error),
        }
    }
}

/// One job under way.
struct Trial<'a> {
    judge: &'a Judge,
    job: &'a Job,
    /// The interpreter in which the program has been loaded; absent after something broke it.
    guest: Option<Guest>,
    /// Fuel left when there is no interpreter.
    fuel: u64,
    /// Account when there is no interpreter.
    ledger: Ledger,
    /// A limit of the whole job that is used up: nothing runs any more.
    spent: Option<Outcome>,
}

impl<'a> Trial<'a> {
    fn new(judge: &'a Judge, job: &'a Job) -> Self {
        Self { judge, job, guest: None, fuel: job.limits.fuel.get(), ledger: Ledger::default(), spent: None }
    }

    /// Runs the program in a fresh interpreter.
    fn load(&mut self) -> Result<Ended, InfraError> {
        let ledger = std::mem::take(&mut self.ledger);
        let kept = ledger.clone();
        let limits = self.job.limits;
        match Guest::start(&self.judge.interpreter, &self.judge.stdlib, limits, self.fuel, ledger) {
            Ok(guest) => self.guest = Some(guest),
            Err(Broken::Infra(error)) => return Err(error),
            Err(Broken::Program(outcome)) => {
                // The budget does not reach for a start. What was left of it is gone.
                self.ledger = kept;
                self.fuel = 0;
                self.spent = Some(outcome);
                return Ok(unexplained(outcome));
            }
        }
        let program = &self.job.program;
        self.step(|guest| run_to_end(guest, program))
    }

    /// Runs one test, if need be in a fresh interpreter with the program loaded again.
    fn test(&mut self, test: &Test<'_>) -> Result<Ended, InfraError> {
        if let Some(spent) = self.spent {
            return Ok(unexplained(spent));
        }
        if self.guest.is_none() {
            let again = self.load()?;
            if again.0 != Outcome::Passed {
                // It loaded the first time with the same fuel left or more, so a limit of the job has been reached.
                self.spent = self.spent.or(Some(again.0));
                return Ok(again);
            }
        }
        self.step(|guest| run_test(guest, test))
    }

    /// Does something in the interpreter. If that breaks it, its account is closed.
    fn step(&mut self, act: impl FnOnce(&mut Guest) -> Result<Outcome, Broken>) -> Result<Ended, InfraError> {
        let Some(guest) = &mut self.guest else {
            return Err(InfraError::Sandbox("there is no interpreter to run in".to_owned()));
        };
        match act(guest) {
            Ok(outcome) => {
                let detail = guest.take_detail();
                Ok((outcome, if outcome == Outcome::Passed { String::new() } else { detail }))
            }
            Err(Broken::Infra(error)) => Err(error),
            Err(Broken::Program(outcome)) => {
                self.close();
                if matches!(outcome, Outcome::OutOfFuel | Outcome::OutOfTime | Outcome::OutputLimit) {
                    self.spent = Some(outcome);
                }
                Ok(unexplained(outcome))
            }
        }
    }

    fn close(&mut self) {
        if let Some(guest) = self.guest.take() {
            self.fuel = guest.fuel();
            self.ledger = guest.into_ledger();
        }
    }

    fn verdict(mut self, load: Ended, ends: Vec<Ended>) -> Verdict {
        self.close();
        let (load, load_detail) = load;
        let (tests, details) = ends.into_iter().unzip();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Verdict {
            load,
            tests,
            load_detail,
            details,
            fuel: self.job.limits.fuel.get().saturating_sub(self.fuel),
            peak_memory_bytes: self.ledger.peak_memory as u64,
            stdout: text(&self.ledger.stdout),
            stderr: text(&self.ledger.stderr),
            denied: self.ledger.denied,
        }
    }
}

fn unexplained(outcome: Outcome) -> Ended {
    (outcome, String::new())
}

fn run_test(guest: &mut Guest, test: &Test<'_>) -> Result<Outcome, Broken> {
    match test {
        Test::Run(source) => run_to_end(guest, source),
        Test::Compared { actual, expected } => compare(guest, actual, expected),
    }
}

/// Passed if the statements run to their end.
fn run_to_end(guest: &mut Guest, source: &str) -> Result<Outcome, Broken> {
    let ran = match guest.compile(source, Source::Statements)? {
        Ok(code) => guest.evaluate(code)?,
        Err(raised) => Err(raised),
    };
    Ok(ran.map_or_else(|Raised(outcome)| outcome, |_| Outcome::Passed))
}

/// Passed if the expression has the expected value.
fn compare(guest: &mut Guest, actual: &str, expected: &Value) -> Result<Outcome, Broken> {
    let ran = match guest.compile(actual, Source::Expression)? {
        Ok(code) => guest.evaluate(code)?,
        Err(raised) => Err(raised),
    };
    let value = match ran {
        Ok(value) => value,
        Err(Raised(outcome)) => return Ok(outcome),
    };
    let bytes = match guest.marshal(value)? {
        Some(bytes) => Some(bytes),
        None => match plain(guest, value)? {
            Ok(plain) => guest.marshal(plain)?,
            Err(Raised(outcome)) => return Ok(outcome),
        },
    };
    let actual = bytes.and_then(|bytes| Value::read(&bytes).ok());
    let is_equal = actual.as_ref().is_some_and(|actual| actual.equals(expected));
    match &actual {
        None => guest.note("the value that the test compares is not a plain one"),
        Some(actual) if !is_equal => guest.explain(format!("gave {actual}")),
        Some(_) => {}
    }
    Ok(if is_equal { Outcome::Passed } else { Outcome::Failed })
}

fn plain(guest: &mut Guest, value: u32) -> Result<Result<u32, Raised>, Broken> {
    let code = match guest.compile(PLAIN, Source::Expression)? {
        Ok(code) => code,
        Err(raised) => return Ok(Err(raised)),
    };
    match guest.evaluate(code)? {
        Ok(function) => guest.apply(function, value),
        Err(raised) => Ok(Err(raised)),
    }
}
