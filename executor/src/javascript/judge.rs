//! From a job to its verdict, for JavaScript.

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::InstancePre;

use super::assertion::{self, Assertion};
use super::guest::{Guest, Source, TEST_NAME};
use super::plan::{self, Plan};
use super::trial::Trial;
use super::value::Value;
use crate::account::run_tests;
use crate::files::Files;
use crate::guest::Broken;
use crate::sandbox::{Ledger, Sandbox};
use crate::world::World;
use crate::{DifferentialTest, InfraError, Job, Limits, Test, ValueComparison, Verdict};

/// Facts about tests that are kept from one job to the next.
const MOST_KNOWN: usize = 10_000;

/// The snapshot of QuickJS, and what is known of the tests seen so far.
pub(crate) struct Judge {
    interpreter: InstancePre<Sandbox>,
    /// Expected values of statements, by their source; `None` where the host cannot compare.
    expected: HashMap<String, Option<Arc<Value>>>,
}

impl Judge {
    /// A judge that uses the given interpreter.
    pub(crate) fn new(interpreter: InstancePre<Sandbox>) -> Self {
        Self { interpreter, expected: HashMap::new() }
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
    pub(super) fn start(
        &self,
        world: World,
        limits: Limits,
        fuel: u64,
        ledger: Ledger,
    ) -> Result<Guest, Broken> {
        Guest::start(&self.interpreter, world, limits, fuel, ledger)
    }

    fn plan<'a>(&mut self, test: &'a Test, job: &Job) -> Result<Plan<'a>, InfraError> {
        Ok(match test {
            Test::Statements(source) => self.plan_statements(source)?,
            Test::Call(test) if !test.keywords.is_empty() => {
                return Err(faulty("a call of a JavaScript function has no `keywords`"));
            }
            Test::Call(test) if matches!(test.compare, ValueComparison::Custom(_)) => {
                return Err(faulty(
                    "`custom` comparisons are for Python programs; wanted exact, unordered or close",
                ));
            }
            Test::Call(test) => Plan::Call(test),
            Test::Stdin(test) => Plan::Script(test),
            Test::Suite(_) | Test::Property(_) => {
                return Err(faulty(
                    "suites and properties are for Python programs; wanted statements, call, stdin or differential",
                ));
            }
            Test::Differential(test) => {
                let inner = self.plan(&test.test, job)?;
                if self.passes_before(test, job)? { Plan::Useless } else { inner }
            }
        })
    }

    fn plan_statements<'a>(&mut self, source: &'a str) -> Result<Plan<'a>, InfraError> {
        let (actual, expected, how) = match assertion::split(source) {
            Some(Assertion::Equal { actual, expected, how }) => (actual, expected, how),
            Some(Assertion::Holds(condition)) if self.is_expression(condition)? => {
                return Ok(Plan::Holds(condition));
            }
            _ => return Ok(Plan::Run(source)),
        };
        let plan = |value: Option<Arc<Value>>| {
            value.map_or(Plan::Run(source), |expected| Plan::Compared { actual, expected, how })
        };
        if let Some(known) = self.expected.get(source) {
            return Ok(plan(known.clone()));
        }
        let value = self.evaluate_expected(actual, expected)?.map(Arc::new);
        if self.expected.len() >= MOST_KNOWN {
            self.expected.clear();
        }
        self.expected.insert(source.to_owned(), value.clone());
        Ok(plan(value))
    }

    /// The expected value, from an interpreter that no program has run in. `None` if it takes a program to evaluate it, or if
    /// one of the sides is not an expression by itself.
    fn evaluate_expected(&self, actual: &str, expected: &str) -> Result<Option<Value>, InfraError> {
        self.alone(|guest| {
            if !compiles(guest, actual)? || !compiles(guest, expected)? {
                return Ok(None);
            }
            let Ok(raw) = plan::expression(guest, expected)? else { return Ok(None) };
            Ok(guest.value(raw)?.ok())
        })
        .map(Option::flatten)
    }

    fn is_expression(&self, source: &str) -> Result<bool, InfraError> {
        Ok(self.alone(|guest| compiles(guest, source))?.unwrap_or(false))
    }

    /// Does something in an interpreter that no program has run in; `None` if that breaks it.
    fn alone<T>(&self, act: impl FnOnce(&mut Guest) -> Result<T, Broken>) -> Result<Option<T>, InfraError> {
        let limits = Limits::default();
        let done = self
            .start(World::of_command([], [], Files::default()), limits, limits.fuel.get(), Ledger::default())
            .and_then(|mut guest| act(&mut guest));
        match done {
            Ok(value) => Ok(Some(value)),
            Err(Broken::Program(_)) => Ok(None),
            Err(Broken::Infra(error)) => Err(error),
        }
    }

    /// Whether a differential test passes for the program that it is to fail for.
    fn passes_before(&mut self, test: &DifferentialTest, job: &Job) -> Result<bool, InfraError> {
        Ok(self.judge(&job.before(test))?.all_passed())
    }
}

fn compiles(guest: &mut Guest, source: &str) -> Result<bool, Broken> {
    // Both, so that neither half of an expression passes for one: `a) + (b` is one in parentheses only.
    let forms = [format!("(\n{source}\n)"), format!("[\n{source}\n]")];
    for form in forms {
        let compiled = guest.compile(&form, TEST_NAME, Source::AsyncScript)?;
        if compiled.is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn faulty(message: &str) -> InfraError {
    InfraError::FaultyTest(message.to_owned())
}
