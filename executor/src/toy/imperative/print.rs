//! A program as its own text, with one space of indent a block.

use std::fmt::{self, Display, Formatter};

use super::super::write_joined;
use super::{Action, Comparison, Condition, Expression, Operator, Program, Statement};

impl Display for Program {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "def {}(", self.name)?;
        write_joined(formatter, &self.parameters, ", ")?;
        formatter.write_str("):\n")?;
        block(formatter, &self.body, 1)
    }
}

fn block(formatter: &mut Formatter<'_>, statements: &[Statement], depth: usize) -> fmt::Result {
    for statement in statements {
        write!(formatter, "{:depth$}", "")?;
        match &statement.action {
            Action::Assign(name, operator, value) => {
                let sign = operator.map(|operator| operator.to_string()).unwrap_or_default();
                writeln!(formatter, "{name} {sign}= {value}")?;
            }
            Action::If(condition, then, otherwise) => {
                writeln!(formatter, "if {condition}:")?;
                block(formatter, then, depth + 1)?;
                if !otherwise.is_empty() {
                    writeln!(formatter, "{:depth$}else:", "")?;
                    block(formatter, otherwise, depth + 1)?;
                }
            }
            Action::While(condition, body) => {
                writeln!(formatter, "while {condition}:")?;
                block(formatter, body, depth + 1)?;
            }
            Action::Return(value) => writeln!(formatter, "return {value}")?,
            Action::Print(value) => writeln!(formatter, "print({value})")?,
        }
    }
    Ok(())
}

impl Display for Condition {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.left, self.comparison, self.right)
    }
}

impl Display for Comparison {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
        })
    }
}

impl Display for Operator {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "//",
            Self::Remainder => "%",
        })
    }
}

impl Display for Expression {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Name(name) => formatter.write_str(name),
            Self::Negated(inner) if matches!(**inner, Self::Binary(..)) => write!(formatter, "-({inner})"),
            Self::Negated(inner) => write!(formatter, "-{inner}"),
            Self::Binary(left, operator, right) => {
                // Operators of one strength go from left to right.
                let looser = |inner: &Self, also_equal: bool| match inner {
                    Self::Binary(_, other, _) => {
                        operator.binds_tightly() && !other.binds_tightly()
                            || also_equal && operator.binds_tightly() == other.binds_tightly()
                    }
                    _ => false,
                };
                operand(formatter, left, looser(left, false))?;
                write!(formatter, " {operator} ")?;
                operand(formatter, right, looser(right, true))
            }
        }
    }
}

fn operand(formatter: &mut Formatter<'_>, inner: &Expression, in_parentheses: bool) -> fmt::Result {
    if in_parentheses { write!(formatter, "({inner})") } else { write!(formatter, "{inner}") }
}
