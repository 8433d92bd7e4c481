//! How one test will be run, and the running of it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::comparison::PythonLiteral;
use crate::guest::{Author, Broken, Guest, Ran, Source};
use crate::oracle::{Oracle, TestFunction, Undecided};
use crate::value::Value;
use crate::{CallTest, Cause, Ending, Outcome, PropertyTest, StdinTest, ValueComparison};

/// Turns values that equal a plain one, but are not exactly plain, into the plain one: subclasses of builtins, numpy
/// scalars, fractions. Runs in the program's interpreter, where the program could change what it does; it gains nothing by
/// that, since the host compares what comes out with something that the program has never seen.
pub(crate) const PLAIN: &str = include_str!("plain.py");

/// Stand-in for pytest, so that suites written for it run.
const PYTEST: &str = include_str!("pytest.py");

/// One test, as it will be run.
pub(crate) enum Plan<'a> {
    /// The sandbox evaluates `actual`, the host compares.
    Compared { actual: &'a str, expected: Arc<Value> },
    /// Passes if the statements run to their end.
    Run(&'a str),
    /// The sandbox evaluates `call`, the host or the oracle compares.
    Call { call: String, expected: Value, test: &'a CallTest },
    /// The program is run as a script.
    Script(&'a StdinTest),
    /// Test functions are run one after the other.
    Suite(Suite<'a>),
    /// The function is called with generated arguments.
    Property(&'a PropertyTest),
    /// Cannot tell two programs apart: it passes for the one that it is to fail for.
    Useless,
}

/// A test module and the functions of it that are run.
pub(crate) struct Suite<'a> {
    /// Source of the module.
    pub(crate) source: &'a str,
    /// At least one.
    pub(crate) functions: Vec<TestFunction>,
}

impl<'a> Plan<'a> {
    /// The plan of a call.
    pub(crate) fn call(test: &'a CallTest) -> Self {
        let mut call = format!("{}(", test.function);
        // Writing to a text cannot fail.
        for argument in &test.arguments {
            let _ = write!(call, "{}, ", PythonLiteral(argument));
        }
        for (name, argument) in &test.keywords {
            let _ = write!(call, "{name}={}, ", PythonLiteral(argument));
        }
        call.push(')');
        Self::Call { call, expected: Value::of_json(&test.expected), test }
    }

    /// Runs the test in an interpreter in which the program is loaded. Scripts have a way of their own.
    pub(crate) fn run(&self, guest: &mut Guest, oracle: &mut Oracle<'_>) -> Result<Ending, Undecided> {
        Ok(match self {
            Self::Run(source) => ending(guest.run(source, Source::Statements, Author::Test)?),
            Self::Compared { actual, expected } => match answer(guest, actual)? {
                Ok(answer) if answer.value.as_ref().is_some_and(|actual| actual.equals(expected)) => {
                    Ending::PASSED
                }
                Ok(answer) => answer.wrong(expected),
                Err(ending) => ending,
            },
            Self::Call { call, expected, test } => match answer(guest, call)? {
                Ok(answer) if answer.is_right(expected, test, oracle)? => Ending::PASSED,
                Ok(answer) => answer.wrong(expected),
                Err(ending) => ending,
            },
            Self::Suite(suite) => suite.run(guest)?,
            Self::Property(test) => run_property(test, guest, oracle)?,
            Self::Script(_) | Self::Useless => Ending::because(
                Outcome::Failed,
                Cause::Note("passes for the program that it is to fail for as well".to_owned()),
            ),
        })
    }
}

/// What the program gave.
struct Answer {
    /// In marshal format.
    bytes: Vec<u8>,
    /// The value; `None` if it is not a plain one.
    value: Option<Value>,
}

impl Answer {
    fn is_right(
        &self,
        expected: &Value,
        test: &CallTest,
        oracle: &mut Oracle<'_>,
    ) -> Result<bool, Undecided> {
        let Some(actual) = &self.value else { return Ok(false) };
        match test.compare.accepts(actual, expected) {
            Some(is_right) => Ok(is_right),
            None => match &test.compare {
                ValueComparison::Custom(source) => oracle.accepts(source, &self.bytes, &test.expected),
                _ => Ok(false),
            },
        }
    }

    fn wrong(&self, expected: &Value) -> Ending {
        Ending::because(
            Outcome::Failed,
            Cause::WrongAnswer { actual: self.shown().into_owned(), expected: expected.to_string() },
        )
    }

    fn shown(&self) -> Cow<'static, str> {
        match &self.value {
            Some(value) => value.to_string().into(),
            None => "a value that is not a plain one".into(),
        }
    }
}

/// What an expression gives in the program's interpreter.
fn answer(guest: &mut Guest, expression: &str) -> Result<Result<Answer, Ending>, Broken> {
    match guest.run(expression, Source::Expression, Author::Test)? {
        Ok(value) => take(guest, value),
        Err(ending) => Ok(Err(ending)),
    }
}

/// Takes a value out of the program's interpreter.
fn take(guest: &mut Guest, value: u32) -> Result<Result<Answer, Ending>, Broken> {
    let bytes = match guest.marshal(value)? {
        Some(bytes) => Some(bytes),
        None => match plain(guest, value)? {
            Ok(plain) => guest.marshal(plain)?,
            Err(ending) => return Ok(Err(ending)),
        },
    };
    let bytes = bytes.unwrap_or_default();
    let value = Value::read(&bytes).ok();
    Ok(Ok(Answer { bytes, value }))
}

fn plain(guest: &mut Guest, value: u32) -> Result<Ran, Broken> {
    match guest.run(PLAIN, Source::Expression, Author::Test)? {
        Ok(function) => guest.apply(function, value),
        Err(ending) => Ok(Err(ending)),
    }
}

fn ending(ran: Ran) -> Ending {
    ran.map_or_else(|ending| ending, |_| Ending::PASSED)
}

impl Suite<'_> {
    /// The ending of the first function that does not pass, with its name and how many did.
    fn run(&self, guest: &mut Guest) -> Result<Ending, Broken> {
        for source in [PYTEST, self.source] {
            if let Err(ending) = guest.run(source, Source::Statements, Author::Test)? {
                return Ok(ending);
            }
        }
        let mut first = None;
        let mut passed = 0_usize;
        for function in &self.functions {
            match ending(guest.run(&function.call, Source::Statements, Author::Test)?) {
                ending if ending.passed() => passed += 1,
                ending => first = first.or(Some((function, ending))),
            }
        }
        let Some((function, ending)) = first else { return Ok(Ending::PASSED) };
        if self.functions.len() == 1 {
            return Ok(ending);
        }
        let why = ending.reason();
        let note = format!("{}: {why} ({passed} of {} passed)", function.name, self.functions.len());
        Ok(Ending::because(ending.outcome, Cause::Note(note)))
    }
}

/// Calls the function with one generated input after the other, until a result is wrong.
fn run_property(
    test: &PropertyTest,
    guest: &mut Guest,
    oracle: &mut Oracle<'_>,
) -> Result<Ending, Undecided> {
    let function = match guest.run(&test.function, Source::Expression, Author::Test)? {
        Ok(function) => function,
        Err(ending) => return Ok(ending),
    };
    oracle.begin_property(test)?;
    for case in 1..=test.cases.get() {
        let (bytes, input) = oracle.next_input()?;
        let arguments = match guest.unmarshal(&bytes)? {
            Ok(arguments) => arguments,
            Err(ending) => return Ok(ending),
        };
        let result = match guest.call(function, arguments)? {
            Ok(value) => take(guest, value)?,
            Err(ending) => Err(ending),
        };
        let place = |what: String| format!("case {case}: {}{input} {what}", test.function);
        match result {
            Ok(answer) => {
                if answer.value.is_none() || !oracle.holds(&answer.bytes)? {
                    let gave = format!("gave {}, which does not hold", answer.shown());
                    return Ok(Ending::because(Outcome::Failed, Cause::Note(place(gave))));
                }
            }
            Err(ending) => {
                let note = Cause::Note(place(format!("ended with {}", ending.reason())));
                return Ok(Ending::because(ending.outcome, note));
            }
        }
    }
    Ok(Ending::PASSED)
}

/// JSON as the source of an expression.
pub(crate) fn literal(json: &Json) -> String {
    PythonLiteral(json).to_string()
}
