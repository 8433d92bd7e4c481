//! An interpreter that the program never enters: it generates inputs, checks results and reads test modules.
//!
//! What goes into it from the program are plain values, checked by the host. What the task's own source does wrong in it is an
//! [`InfraError::FaultyTest`]: it says nothing about the program.

use serde_json::Value as Json;

use crate::guest::{Author, Broken, Guest, Source};
use crate::judge::Judge;
use crate::plan::{Suite, literal};
use crate::value::Value;
use crate::{Ending, InfraError, PropertyTest, SuiteTest};

/// Finds the test functions of a module: names, and statements that run each.
const LIST_TESTS: &str = include_str!("list_tests.py");

/// A function of a test module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestFunction {
    /// As its authors call it, such as `TestMath.test_add`.
    pub(crate) name: String,
    /// Statements that run it.
    pub(crate) call: String,
}

/// Why a test has no ending.
#[derive(Debug)]
pub(crate) enum Undecided {
    /// The program's interpreter is broken.
    Program(Broken),
    /// The sandbox, or the test itself, is at fault.
    Infra(InfraError),
}

impl From<Broken> for Undecided {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Infra(error) => Self::Infra(error),
            broken @ Broken::Program(_) => Self::Program(broken),
        }
    }
}

/// Starts its interpreter when it is first asked something.
pub(crate) struct Oracle<'a> {
    judge: &'a Judge,
    guest: Option<Guest>,
}

impl<'a> Oracle<'a> {
    /// An oracle that has not started yet.
    pub(crate) fn new(judge: &'a Judge) -> Self {
        Self { judge, guest: None }
    }

    /// The functions of a test module that are to be run.
    pub(crate) fn test_functions<'t>(mut self, test: &'t SuiteTest) -> Result<Suite<'t>, InfraError> {
        let source = literal(&Json::String(test.source.clone()));
        self.run(LIST_TESTS, Source::Statements)?;
        let listed = self.value(&format!("list_tests({source})"))?;
        let mut functions = Vec::new();
        for entry in listed.items().unwrap_or_default() {
            if let Some([Value::Text(name), Value::Text(call)]) = entry.items() {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                functions.push(TestFunction { name: text(name), call: text(call) });
            }
        }
        let found: Vec<String> = functions.iter().map(|function| function.name.clone()).collect();
        if let Some(wanted) = &test.name {
            functions.retain(|function| function.name == *wanted);
        }
        if functions.is_empty() {
            let wanted = test.name.as_deref().unwrap_or("test functions");
            let message = format!("the suite has no {wanted}; it has: {}", found.join(", "));
            return Err(InfraError::FaultyTest(message));
        }
        Ok(Suite { source: &test.source, functions })
    }

    /// Whether the custom comparison accepts a value.
    pub(crate) fn accepts(
        &mut self,
        source: &str,
        actual: &[u8],
        expected: &Json,
    ) -> Result<bool, Undecided> {
        self.run(source, Source::Statements).map_err(Undecided::Infra)?;
        self.ask(&[("actual", actual)], &format!("accepts(actual, {})", literal(expected)))
    }

    /// Gets ready to generate inputs, from the first one on.
    pub(crate) fn begin_property(&mut self, test: &PropertyTest) -> Result<(), Undecided> {
        for source in
            [&test.inputs, &test.holds, &format!("import random\n_random = random.Random({})", test.seed)]
        {
            self.run(source, Source::Statements).map_err(Undecided::Infra)?;
        }
        Ok(())
    }

    /// The next tuple of arguments, in marshal format and as text.
    pub(crate) fn next_input(&mut self) -> Result<(Vec<u8>, String), Undecided> {
        let bytes = self.bytes("(_arguments := inputs(_random))").map_err(Undecided::Infra)?;
        match Value::read(&bytes) {
            Ok(value @ Value::Tuple(_)) => Ok((bytes, value.to_string())),
            Ok(other) => Err(faulty(format!("`inputs` gave {other}, wanted a tuple of arguments"))),
            Err(_) => Err(faulty("`inputs` gave arguments that are not plain values".to_owned())),
        }
    }

    /// Whether a result is right for the last input.
    pub(crate) fn holds(&mut self, result: &[u8]) -> Result<bool, Undecided> {
        self.ask(&[("_result", result)], "holds(_result, *_arguments)")
    }

    /// The truth of an expression over values of the program's.
    fn ask(&mut self, values: &[(&str, &[u8])], expression: &str) -> Result<bool, Undecided> {
        let answer = self.with(|guest| {
            for (name, bytes) in values {
                match guest.unmarshal(bytes)? {
                    Ok(value) => guest.define(name, value)?,
                    Err(ending) => return Ok(Err(ending)),
                }
            }
            match guest.run(expression, Source::Expression, Author::Test)? {
                Ok(value) => guest.is_true(value),
                Err(ending) => Ok(Err(ending)),
            }
        });
        answer.map_err(Undecided::Infra)
    }

    fn run(&mut self, source: &str, kind: Source) -> Result<u32, InfraError> {
        self.with(|guest| guest.run(source, kind, Author::Test))
    }

    /// The plain value of an expression.
    fn value(&mut self, expression: &str) -> Result<Value, InfraError> {
        let bytes = self.bytes(expression)?;
        Value::read(&bytes).map_err(|error| InfraError::FaultyTest(format!("`{expression}`: {error}")))
    }

    fn bytes(&mut self, expression: &str) -> Result<Vec<u8>, InfraError> {
        let value = self.run(expression, Source::Expression)?;
        let bytes = self.with(|guest| Ok(Ok(guest.marshal(value)?)))?;
        bytes.ok_or_else(|| InfraError::FaultyTest(format!("`{expression}` is not a plain value")))
    }

    /// Does something in the interpreter; what goes wrong there is the test's fault.
    fn with<T>(
        &mut self,
        act: impl FnOnce(&mut Guest) -> Result<Result<T, Ending>, Broken>,
    ) -> Result<T, InfraError> {
        let mut guest = match self.guest.take() {
            Some(guest) => guest,
            None => sort(self.judge.start_alone())?,
        };
        let done = sort(act(&mut guest))?;
        self.guest = Some(guest);
        done.map_err(|ending| {
            InfraError::FaultyTest(format!("its own source ended with {}", ending.reason()))
        })
    }
}

fn sort<T>(result: Result<T, Broken>) -> Result<T, InfraError> {
    result.map_err(|broken| match broken {
        Broken::Infra(error) => error,
        Broken::Program(outcome) => InfraError::FaultyTest(format!("its own source ended with {outcome}")),
    })
}

fn faulty(message: String) -> Undecided {
    Undecided::Infra(InfraError::FaultyTest(message))
}
