//! Languages so small that a model of a million parameters learns them in minutes: what tests of learning methods run on.
//!
//! [`strings`] has programs that make a text out of a text, after RobustFill (Devlin et al. 2017, arXiv:1703.07469). [`imperative`]
//! is a subset of Python with whole numbers, `if` and `while`. Both interpreters are total: every step is taken from a [`Meter`],
//! nothing is called but this code, and memory grows with the steps. So they run in the worker itself, which is as locked down as
//! ever, with no sandbox inside.

pub mod imperative;
mod judge;
pub mod strings;

use std::fmt;

pub(crate) use judge::Judge;
use serde::{Deserialize, Serialize};

use crate::{Cause, Ending, Outcome};

/// Fuel of one step: [`crate::Limits`] are made for instructions, and their smallest is a hundred steps.
pub const FUEL_PER_STEP: u64 = 10_000;

/// Longest source, in bytes.
pub const MOST_SOURCE_BYTES: usize = 1 << 16;

/// A small language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToyLanguage {
    /// [`strings`]: the program reads a text and prints one.
    Strings,
    /// [`imperative`]: the program is a function of whole numbers.
    Python,
}

/// Why a text is no program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}, line {line}")]
pub struct SyntaxError {
    /// What was wanted, or what is too much.
    pub message: String,
    /// Line, from 1.
    pub line: u32,
}

impl SyntaxError {
    fn new(message: impl Into<String>, line: u32) -> Self {
        Self { message: message.into(), line }
    }
}

/// Why a program did not run to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It did something that its language does not allow.
    #[error("{kind}: {message}, line {line}")]
    Raised {
        /// What Python calls the like, such as `IndexError`.
        kind: &'static str,
        /// What happened.
        message: String,
        /// Line of the program, from 1.
        line: u32,
    },
    /// Its steps are used up.
    #[error("out of steps")]
    OutOfSteps,
    /// It printed more than it may.
    #[error("too much output")]
    OutputLimit,
}

impl Fault {
    fn raised(kind: &'static str, message: impl Into<String>, line: u32) -> Self {
        Self::Raised { kind, message: message.into(), line }
    }
}

impl From<Fault> for Ending {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Raised { kind, message, line } => Ending::because(
                Outcome::Raised,
                Cause::Exception { kind: kind.to_owned(), message, line: Some(line) },
            ),
            Fault::OutOfSteps => Outcome::OutOfFuel.into(),
            Fault::OutputLimit => Outcome::OutputLimit.into(),
        }
    }
}

impl From<SyntaxError> for Ending {
    fn from(error: SyntaxError) -> Self {
        let SyntaxError { message, line } = error;
        let kind = "SyntaxError".to_owned();
        Ending::because(Outcome::SyntaxError, Cause::Exception { kind, message, line: Some(line) })
    }
}

/// Counts steps down.
#[derive(Clone, Debug)]
pub struct Meter {
    left: u64,
}

impl Meter {
    /// A meter with this many steps.
    pub fn new(steps: u64) -> Self {
        Self { left: steps }
    }

    /// Steps that are left.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Takes steps before they are made.
    fn take(&mut self, steps: usize) -> Result<(), Fault> {
        match self.left.checked_sub(steps as u64) {
            Some(left) => self.left = left,
            None => {
                self.left = 0;
                return Err(Fault::OutOfSteps);
            }
        }
        Ok(())
    }
}

/// Items with a text between them.
fn write_joined<T: fmt::Display>(
    formatter: &mut fmt::Formatter<'_>,
    items: impl IntoIterator<Item = T>,
    between: &str,
) -> fmt::Result {
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            formatter.write_str(between)?;
        }
        write!(formatter, "{item}")?;
    }
    Ok(())
}
