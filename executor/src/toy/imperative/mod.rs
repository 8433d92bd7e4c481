//! A subset of Python: one function of whole numbers, with variables, `if`, `while`, `return` and `print`.
//!
//! ```text
//! def f(n):
//!  total = 0
//!  while n > 0:
//!   total += n
//!   n -= 1
//!  return total
//! ```
//!
//! What is a program here is one in Python and does the same there, but for two things: numbers have 64 bits, and a result that is
//! out of their range raises `OverflowError`; and there are no names but parameters and variables.

mod lexer;
mod parse;
mod print;
mod run;

use super::{Fault, Meter, SyntaxError};

/// Most blocks inside each other. CPython's own bound is 20.
pub const MOST_BLOCKS: usize = 16;

/// Most operators and parentheses inside each other.
pub const MOST_DEPTH: usize = 40;

/// A program: a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Names of its parameters, all different.
    pub parameters: Vec<String>,
    /// What it does. At least one statement.
    pub body: Vec<Statement>,
}

/// A statement and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Line, from 1; 0 where it was not read from a text.
    pub line: u32,
    /// What it does.
    pub action: Action,
}

/// What a statement does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sets a variable, or with an operator changes it.
    Assign(String, Option<Operator>, Expression),
    /// Does the first if the condition holds, else the second, which may be empty.
    If(Condition, Vec<Statement>, Vec<Statement>),
    /// Does something as long as the condition holds.
    While(Condition, Vec<Statement>),
    /// Ends the function.
    Return(Expression),
    /// Writes a line.
    Print(Expression),
}

impl From<Action> for Statement {
    fn from(action: Action) -> Self {
        Self { line: 0, action }
    }
}

/// A comparison of two numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What is on the left.
    pub left: Expression,
    /// How they are compared.
    pub comparison: Comparison,
    /// What is on the right.
    pub right: Expression,
}

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

/// A number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// Itself, from 0.
    Number(i64),
    /// A variable's.
    Name(String),
    /// Another's, with the opposite sign.
    Negated(Box<Expression>),
    /// What comes of two.
    Binary(Box<Expression>, Operator, Box<Expression>),
}

/// What is done with two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `//`: rounded down.
    Divide,
    /// `%`: what that leaves, with the sign of the divisor.
    Remainder,
}

impl Operator {
    /// Every operator.
    pub const ALL: [Self; 5] = [Self::Add, Self::Subtract, Self::Multiply, Self::Divide, Self::Remainder];

    fn binds_tightly(self) -> bool {
        matches!(self, Self::Multiply | Self::Divide | Self::Remainder)
    }
}

impl Comparison {
    /// Every comparison.
    pub const ALL: [Self; 6] =
        [Self::Less, Self::LessOrEqual, Self::Greater, Self::GreaterOrEqual, Self::Equal, Self::NotEqual];
}

/// What came of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Called {
    /// What it returned; `None` as in Python.
    pub returned: Option<i64>,
    /// What it printed.
    pub printed: String,
}

impl Program {
    /// Reads a program.
    ///
    /// # Errors
    ///
    /// If the text is none.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        parse::program(text)
    }

    /// Calls the function. It may print `most_printed` bytes.
    ///
    /// # Errors
    ///
    /// If it raises an exception, or steps or output run out.
    pub fn call(&self, arguments: &[i64], meter: &mut Meter, most_printed: u64) -> Result<Called, Fault> {
        let mut printed = String::new();
        let returned = self.call_into(arguments, meter, most_printed, &mut printed)?;
        Ok(Called { returned, printed })
    }

    /// As [`Self::call`], with what was printed left behind in any case.
    pub(crate) fn call_into(
        &self,
        arguments: &[i64],
        meter: &mut Meter,
        most_printed: u64,
        printed: &mut String,
    ) -> Result<Option<i64>, Fault> {
        run::call(self, arguments, meter, most_printed, printed)
    }
}
