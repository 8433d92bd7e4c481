//! What a program does.

use std::fmt::Write as _;

use super::super::{Fault, Meter};
use super::{Action, Comparison, Condition, Expression, Operator, Program, Statement};

/// A call under way.
struct Frame<'a> {
    /// Values by name, in the order in which they were first set: programs have a handful.
    variables: Vec<(&'a str, i64)>,
    meter: &'a mut Meter,
    most_printed: u64,
    printed: &'a mut String,
    /// Line of the statement under way.
    line: u32,
}

/// How a statement ended.
enum Flow {
    On,
    Returned(i64),
}

pub(super) fn call(
    program: &Program,
    arguments: &[i64],
    meter: &mut Meter,
    most_printed: u64,
    printed: &mut String,
) -> Result<Option<i64>, Fault> {
    let (wanted, given) = (program.parameters.len(), arguments.len());
    if wanted != given {
        let message = format!("{}() takes {wanted} arguments, {given} were given", program.name);
        return Err(Fault::raised("TypeError", message, 1));
    }
    let names = program.parameters.iter().map(String::as_str);
    let variables = names.zip(arguments.iter().copied()).collect();
    let mut frame = Frame { variables, meter, most_printed, printed, line: 1 };
    Ok(match frame.block(&program.body)? {
        Flow::Returned(value) => Some(value),
        Flow::On => None,
    })
}

impl<'a> Frame<'a> {
    fn block(&mut self, statements: &'a [Statement]) -> Result<Flow, Fault> {
        for statement in statements {
            if let Flow::Returned(value) = self.statement(statement)? {
                return Ok(Flow::Returned(value));
            }
        }
        Ok(Flow::On)
    }

    fn statement(&mut self, statement: &'a Statement) -> Result<Flow, Fault> {
        self.meter.take(1)?;
        self.line = statement.line;
        match &statement.action {
            Action::Assign(name, operator, value) => {
                let value = match operator {
                    None => self.value(value)?,
                    Some(operator) => {
                        let old = self.variable(name)?;
                        let value = self.value(value)?;
                        self.combine(old, *operator, value)?
                    }
                };
                self.set(name, value);
            }
            Action::If(condition, then, otherwise) => {
                let chosen = if self.holds(condition)? { then } else { otherwise };
                return self.block(chosen);
            }
            Action::While(condition, body) => {
                while self.holds(condition)? {
                    if let Flow::Returned(value) = self.block(body)? {
                        return Ok(Flow::Returned(value));
                    }
                    self.line = statement.line;
                }
            }
            Action::Return(value) => return Ok(Flow::Returned(self.value(value)?)),
            Action::Print(value) => {
                let value = self.value(value)?;
                // Writing to a text cannot fail.
                let _ = writeln!(self.printed, "{value}");
                if self.printed.len() as u64 > self.most_printed {
                    return Err(Fault::OutputLimit);
                }
            }
        }
        Ok(Flow::On)
    }

    fn set(&mut self, name: &'a str, value: i64) {
        match self.variables.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.variables.push((name, value)),
        }
    }

    fn variable(&mut self, name: &str) -> Result<i64, Fault> {
        let found = self.variables.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| Fault::raised("NameError", format!("name '{name}' is not defined"), self.line))
    }

    fn holds(&mut self, condition: &Condition) -> Result<bool, Fault> {
        let (left, right) = (self.value(&condition.left)?, self.value(&condition.right)?);
        self.meter.take(1)?;
        Ok(match condition.comparison {
            Comparison::Less => left < right,
            Comparison::LessOrEqual => left <= right,
            Comparison::Greater => left > right,
            Comparison::GreaterOrEqual => left >= right,
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
        })
    }

    fn value(&mut self, expression: &Expression) -> Result<i64, Fault> {
        self.meter.take(1)?;
        match expression {
            Expression::Number(number) => Ok(*number),
            Expression::Name(name) => self.variable(name),
            Expression::Negated(inner) => {
                let value = self.value(inner)?;
                value.checked_neg().ok_or_else(|| self.overflow())
            }
            Expression::Binary(left, operator, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.combine(left, *operator, right)
            }
        }
    }

    fn combine(&mut self, left: i64, operator: Operator, right: i64) -> Result<i64, Fault> {
        let result = match operator {
            Operator::Add => left.checked_add(right),
            Operator::Subtract => left.checked_sub(right),
            Operator::Multiply => left.checked_mul(right),
            Operator::Divide | Operator::Remainder if right == 0 => {
                return Err(Fault::raised("ZeroDivisionError", "division by zero", self.line));
            }
            Operator::Divide => left.checked_div(right).map(|quotient| {
                // Rust rounds towards zero, Python down.
                quotient - i64::from(quotient * right != left && (left < 0) != (right < 0))
            }),
            // The smallest number modulo -1 overflows in Rust and is 0 in Python.
            Operator::Remainder => Some(left.wrapping_rem(right))
                .map(|rest| if rest != 0 && (rest < 0) != (right < 0) { rest + right } else { rest }),
        };
        result.ok_or_else(|| self.overflow())
    }

    fn overflow(&self) -> Fault {
        Fault::raised("OverflowError", "the number has more than 64 bits", self.line)
    }
}
