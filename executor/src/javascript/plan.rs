//! How one test of a JavaScript program will be run, and the running of it.

use std::sync::Arc;

use serde_json::Value as Json;

use super::abi::Raw;
use super::assertion::Comparison;
use super::guest::{Guest, Ran, Source, TEST_NAME};
use super::value::{Equality, Value};
use crate::guest::Broken;
use crate::{CallTest, Cause, Ending, Outcome, StdinTest, ValueComparison};

/// One test, as it will be run.
pub(super) enum Plan<'a> {
    /// The sandbox evaluates `actual`, the host compares.
    Compared { actual: &'a str, expected: Arc<Value>, how: Comparison },
    /// Passes if the expression is true for JavaScript.
    Holds(&'a str),
    /// Passes if the statements run to their end.
    Run(&'a str),
    /// The sandbox calls, the host compares.
    Call(&'a CallTest),
    /// The program is run as a script.
    Script(&'a StdinTest),
    /// Cannot tell two programs apart.
    Useless,
}

impl Plan<'_> {
    /// Runs the test in an interpreter in which the program is loaded.
    pub(super) fn run(&self, guest: &mut Guest) -> Result<Ending, Broken> {
        match self {
            Self::Compared { actual, expected, how } => {
                let value = match expression(guest, actual)? {
                    Ok(raw) => guest.value(raw)?,
                    Err(ending) => Err(ending),
                };
                Ok(match value {
                    Ok(value) if how.accepts(&value, expected) => Ending::PASSED,
                    Ok(value) => wrong(&value, expected),
                    Err(ending) => ending,
                })
            }
            Self::Holds(condition) => holds(guest, condition),
            Self::Run(source) => {
                Ok(statements(guest, source)?.map_or_else(|ending| ending, |_| Ending::PASSED))
            }
            Self::Call(test) => call(guest, test),
            Self::Script(_) | Self::Useless => Ok(Ending::because(
                Outcome::Failed,
                Cause::Note("passes for the program that it is to fail for as well".to_owned()),
            )),
        }
    }
}

impl Comparison {
    fn accepts(self, actual: &Value, expected: &Value) -> bool {
        if self.is_deep {
            actual.equals(expected, self.equality)
        } else {
            actual.primitive_equals(expected, self.equality)
        }
    }
}

fn wrong(actual: &Value, expected: &Value) -> Ending {
    Ending::because(
        Outcome::Failed,
        Cause::WrongAnswer { actual: actual.to_string(), expected: expected.to_string() },
    )
}

/// Whether source has the word `await`, so that it takes an asynchronous function.
fn awaits(source: &str) -> bool {
    source
        .split(|character: char| !character.is_alphanumeric() && character != '_')
        .any(|word| word == "await")
}

/// Evaluates an expression; what a promise gives is its value.
pub(super) fn expression(guest: &mut Guest, source: &str) -> Result<Ran, Broken> {
    if !awaits(source) {
        return match guest.evaluate(&format!("(\n{source}\n)"), TEST_NAME, Source::Script)? {
            Ok(value) => guest.awaited(value),
            Err(ending) => Ok(Err(ending)),
        };
    }
    // The promise of such a script is fulfilled with an object that holds the value.
    let wrapped = match guest.evaluate(&format!("(\n{source}\n)"), TEST_NAME, Source::AsyncScript)? {
        Ok(promise) => guest.awaited(promise)?,
        Err(ending) => Err(ending),
    };
    let value = match wrapped {
        Ok(wrapped) => guest.named(wrapped, "value")?,
        Err(ending) => return Ok(Err(ending)),
    };
    match value {
        Ok(value) => guest.awaited(value),
        Err(()) => Ok(Err(Outcome::Raised.into())),
    }
}

fn holds(guest: &mut Guest, condition: &str) -> Result<Ending, Broken> {
    let value = match expression(guest, condition)? {
        Ok(value) => value,
        Err(ending) => return Ok(ending),
    };
    let context = guest.context;
    Ok(if guest.do_call(|functions| &functions.to_bool, (context, value.0))? == 1 {
        Ending::PASSED
    } else {
        let note = format!("`{}` is not true", condition.chars().take(200).collect::<String>());
        Ending::because(Outcome::Failed, Cause::Note(note))
    })
}

/// Runs statements in a function of their own, with the `assert` and `require` that the host kept: what the program calls so is
/// not what the test uses. The inner braces let the test declare these names itself.
fn statements(guest: &mut Guest, source: &str) -> Result<Ran, Broken> {
    let keyword = if awaits(source) { "async " } else { "" };
    let function = format!("({keyword}function (assert, require, console) {{{{\n{source}\n}}}})");
    let function = match guest.compile(&function, TEST_NAME, Source::Script)? {
        Ok(compiled) => match guest.run_compiled(compiled)? {
            Ok(function) => function,
            Err(ending) => return Ok(Err(ending)),
        },
        Err(ending) => return Ok(Err(ending)),
    };
    let given = ["assert", "require", "testConsole"].map(|name| guest.table.internal(name));
    let value = match guest.call(function, &given)? {
        Ok(value) => guest.awaited(value)?,
        Err(ending) => Err(ending),
    };
    match value {
        Ok(value) => Ok(guest.settle()?.map(|()| value)),
        Err(ending) => Ok(Err(ending)),
    }
}

fn call(guest: &mut Guest, test: &CallTest) -> Result<Ending, Broken> {
    // An arrow function, so that `object.method` keeps its object.
    let function = match expression(guest, &format!("(...values) => ({})(...values)", test.function))? {
        Ok(function) => function,
        Err(ending) => return Ok(ending),
    };
    let mut arguments = Vec::with_capacity(test.arguments.len());
    for argument in &test.arguments {
        match parse(guest, argument)? {
            Ok(argument) => arguments.push(argument),
            Err(ending) => return Ok(ending),
        }
    }
    let result = match guest.call(function, &arguments)? {
        Ok(result) => guest.awaited(result)?,
        Err(ending) => Err(ending),
    };
    let value = match result {
        Ok(result) => guest.value(result)?,
        Err(ending) => Err(ending),
    };
    let expected = Value::of_json(&test.expected);
    Ok(match value {
        Ok(value) if is_right(&value, &expected, &test.compare) => Ending::PASSED,
        Ok(value) => wrong(&value, &expected),
        Err(ending) => ending,
    })
}

fn is_right(actual: &Value, expected: &Value, compare: &ValueComparison) -> bool {
    if actual.equals(expected, Equality::Strict) {
        return !matches!(compare, ValueComparison::Custom(_));
    }
    compare.accepts(&actual.neutral(), &expected.neutral()).unwrap_or(false)
}

fn parse(guest: &mut Guest, json: &Json) -> Result<Ran, Broken> {
    let text = json.to_string();
    let (address, size) = (guest.place(text.as_bytes())?, text.len() as u32);
    let name = guest.place(TEST_NAME.as_bytes())?;
    let context = guest.context;
    let value = guest.do_call(|functions| &functions.parse_json, (context, address, size, name)).map(Raw)?;
    guest.finish(value)
}
