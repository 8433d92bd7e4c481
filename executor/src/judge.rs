//! From a job to its verdict, inside a worker.
//!
//! Phase one runs the program. Phase two runs each test in the same interpreter. Nothing but the host is above either, and
//! what the host goes by is what CPython's C functions return to it, never anything that the program prints, returns to
//! Python code, or exits with.

use std::collections::HashMap;
use std::sync::Arc;

use crate::account::{placed, run_tests};
use crate::assertion::{self, Comparison};
use crate::files::{Content, FilesError};
use crate::guest::{Author, Broken, Guest, Interpreter, Source};
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::sandbox::Ledger;
use crate::trial::Trial;
use crate::value::Value;
use crate::world::World;
use crate::{DifferentialTest, File, InfraError, Job, Limits, Test, Verdict};

/// Facts about tests that are kept from one job to the next: attempts at the same task share their tests.
const MOST_KNOWN: usize = 10_000;

/// One interpreter module, and what is known of the tests seen so far.
pub(crate) struct Judge {
    interpreter: Interpreter,
    stdlib: Content,
    /// The world of a job without files.
    world: World,
    /// Expected values of statements, by their source; `None` where the host cannot compare.
    expected: HashMap<String, Option<Arc<Value>>>,
    /// Whether differential tests pass for the program that they are to fail for.
    passes_before: HashMap<String, bool>,
}

impl Judge {
    /// A judge that uses the given interpreter.
    pub(crate) fn new(interpreter: Interpreter, stdlib: Content) -> Result<Self, FilesError> {
        let world = World::of_python(&stdlib, [], [])?;
        Ok(Self { interpreter, stdlib, world, expected: HashMap::new(), passes_before: HashMap::new() })
    }

    /// Runs a job.
    pub(crate) fn judge(&mut self, job: &Job) -> Result<Verdict, InfraError> {
        if job.tests.is_empty() {
            return Err(InfraError::NoTests);
        }
        let mut plans = Vec::with_capacity(job.tests.len());
        for test in &job.tests {
            plans.push(self.plan(test, job)?);
        }
        let mut trial = Trial::new(self, job)?;
        let load = if plans.iter().all(|plan| matches!(plan, Plan::Script(_))) {
            trial.check_syntax()?
        } else {
            trial.load()?
        };
        let endings = run_tests(job, &load, &plans, |plan| trial.test(plan))?;
        Ok(trial.verdict(load, endings))
    }

    /// A fresh interpreter that goes on with an account.
    pub(crate) fn start(
        &self,
        world: World,
        limits: Limits,
        fuel: u64,
        ledger: Ledger,
    ) -> Result<Guest, Broken> {
        Guest::start(&self.interpreter, world, limits, fuel, ledger)
    }

    /// An interpreter for the task's own source, with the default limits.
    pub(crate) fn start_alone(&self) -> Result<Guest, Broken> {
        let limits = Limits::default();
        self.start(self.world.clone(), limits, limits.fuel.get(), Ledger::default())
    }

    /// The world of a job's programs.
    pub(crate) fn world(&self, files: &[File]) -> Result<World, InfraError> {
        if files.is_empty() {
            return Ok(self.world.clone());
        }
        World::of_python(&self.stdlib, [], placed(files))
            .map_err(|error| InfraError::FaultyTest(error.to_string()))
    }

    /// Decides how a test is run.
    fn plan<'a>(&mut self, test: &'a Test, job: &Job) -> Result<Plan<'a>, InfraError> {
        Ok(match test {
            Test::Statements(source) => self.plan_statements(source)?,
            Test::Call(test) => Plan::call(test),
            Test::Stdin(test) => Plan::Script(test),
            Test::Suite(test) => Plan::Suite(Oracle::new(self).test_functions(test)?),
            Test::Property(test) => Plan::Property(test),
            Test::Differential(test) => {
                let inner = self.plan(&test.test, job)?;
                if self.passes_before(test, job)? { Plan::Useless } else { inner }
            }
        })
    }

    /// By comparison on the host if the statement has that form and its expected value is plain.
    fn plan_statements<'a>(&mut self, source: &'a str) -> Result<Plan<'a>, InfraError> {
        let Some(Comparison { actual, expected }) = assertion::split(source) else {
            return Ok(Plan::Run(source));
        };
        let plan = |value: Option<Arc<Value>>| {
            value.map_or(Plan::Run(source), |expected| Plan::Compared { actual, expected })
        };
        if let Some(known) = self.expected.get(source) {
            return Ok(plan(known.clone()));
        }
        let value = self.evaluate_expected(actual, expected)?.map(Arc::new);
        make_room(&mut self.expected);
        self.expected.insert(source.to_owned(), value.clone());
        Ok(plan(value))
    }

    /// The expected value, from an interpreter that no program has run in. `None` if it takes a program to evaluate it, or
    /// if one of the sides is not an expression by itself.
    fn evaluate_expected(&self, actual: &str, expected: &str) -> Result<Option<Value>, InfraError> {
        let evaluate = || -> Result<Option<Value>, Broken> {
            let mut guest = self.start_alone()?;
            if guest.compile(actual, Source::Expression, Author::Test)?.is_err() {
                return Ok(None);
            }
            let Ok(value) = guest.run(expected, Source::Expression, Author::Test)? else { return Ok(None) };
            Ok(guest.marshal(value)?.and_then(|bytes| Value::read(&bytes).ok()))
        };
        match evaluate() {
            Ok(value) => Ok(value),
            Err(Broken::Program(_)) => Ok(None),
            Err(Broken::Infra(error)) => Err(error),
        }
    }

    /// Whether a differential test passes for the program that it is to fail for.
    fn passes_before(&mut self, test: &DifferentialTest, job: &Job) -> Result<bool, InfraError> {
        let before = job.before(test);
        let key = serde_json::to_string(&before).map_err(|error| InfraError::Sandbox(error.to_string()))?;
        if let Some(known) = self.passes_before.get(&key) {
            return Ok(*known);
        }
        let passes = self.judge(&before)?.all_passed();
        make_room(&mut self.passes_before);
        self.passes_before.insert(key, passes);
        Ok(passes)
    }
}

fn make_room<T>(known: &mut HashMap<String, T>) {
    if known.len() >= MOST_KNOWN {
        known.clear();
    }
}
