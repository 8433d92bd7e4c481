//! From a text to a program.

use super::super::MOST_SOURCE_BYTES;
use super::lexer::{RESERVED, Token, tokens};
use super::{
    Action, Condition, Expression, MOST_BLOCKS, MOST_DEPTH, Operator, Program, Statement, SyntaxError,
};

/// A line that is not blank.
struct Line<'a> {
    number: u32,
    indent: usize,
    tokens: Vec<Token<'a>>,
}

/// Lines that are left.
struct Lines<'a> {
    lines: std::iter::Peekable<std::vec::IntoIter<Line<'a>>>,
    /// Number of the last one that was taken.
    at: u32,
}

/// Tokens of one line that are left.
struct Tokens<'a> {
    tokens: std::vec::IntoIter<Token<'a>>,
    line: u32,
}

pub(super) fn program(text: &str) -> Result<Program, SyntaxError> {
    if text.len() > MOST_SOURCE_BYTES {
        return Err(SyntaxError::new("the program is too long", 1));
    }
    let mut read = Vec::new();
    for (text, number) in text.split('\n').zip(1..) {
        let indent = text.len() - text.trim_start_matches(' ').len();
        let tokens = tokens(text, number)?;
        if !tokens.is_empty() {
            read.push(Line { number, indent, tokens });
        }
    }
    let mut lines = Lines { lines: read.into_iter().peekable(), at: 1 };
    let Some(head) = lines.next() else { return Err(SyntaxError::new("wanted a function", 1)) };
    if head.indent > 0 {
        return Err(SyntaxError::new("unexpected indent", head.number));
    }
    let mut tokens = Tokens::of(head);
    tokens.expect(Token::Name("def"), "`def`")?;
    let name = tokens.name()?;
    let parameters = tokens.parameters()?;
    tokens.expect(Token::Colon, "`:`")?;
    tokens.end()?;
    let body = lines.block(0, 1)?;
    match lines.next() {
        Some(line) => Err(SyntaxError::new("wanted nothing behind the function", line.number)),
        None => Ok(Program { name, parameters, body }),
    }
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<Line<'a>> {
        let line = self.lines.next()?;
        self.at = line.number;
        Some(line)
    }

    /// The lines that are indented further than `outer`, all of them equally.
    fn block(&mut self, outer: usize, depth: usize) -> Result<Vec<Statement>, SyntaxError> {
        if depth > MOST_BLOCKS {
            return Err(SyntaxError::new("too many blocks inside each other", self.at));
        }
        let indent = match self.lines.peek() {
            Some(line) if line.indent > outer => line.indent,
            _ => return Err(SyntaxError::new("wanted an indented block", self.at)),
        };
        let mut statements = Vec::new();
        while self.lines.peek().is_some_and(|line| line.indent > outer) {
            let Some(line) = self.next() else { break };
            if line.indent != indent {
                return Err(SyntaxError::new("the indent is that of no block", line.number));
            }
            statements.push(self.statement(line, depth)?);
        }
        Ok(statements)
    }

    fn statement(&mut self, line: Line<'a>, depth: usize) -> Result<Statement, SyntaxError> {
        let (number, indent) = (line.number, line.indent);
        let mut tokens = Tokens::of(line);
        let action = match tokens.next() {
            Some(Token::Name("if")) => {
                let condition = tokens.condition()?;
                let then = self.block(indent, depth + 1)?;
                let has_else = self.lines.peek().is_some_and(|line| {
                    line.indent == indent && line.tokens.first() == Some(&Token::Name("else"))
                });
                let otherwise = match self.lines.next_if(|_| has_else) {
                    Some(line) => {
                        self.at = line.number;
                        let mut tokens = Tokens::of(line);
                        tokens.expect(Token::Name("else"), "`else`")?;
                        tokens.expect(Token::Colon, "`:`")?;
                        tokens.end()?;
                        self.block(indent, depth + 1)?
                    }
                    None => Vec::new(),
                };
                Action::If(condition, then, otherwise)
            }
            Some(Token::Name("while")) => {
                let condition = tokens.condition()?;
                Action::While(condition, self.block(indent, depth + 1)?)
            }
            Some(Token::Name("return")) => Action::Return(tokens.last_expression()?),
            Some(Token::Name("print")) => {
                tokens.expect(Token::Open, "`(`")?;
                let value = tokens.sum(0)?;
                tokens.expect(Token::Close, "`)`")?;
                tokens.end()?;
                Action::Print(value)
            }
            Some(Token::Name(name)) if !RESERVED.contains(&name) => match tokens.next() {
                Some(Token::Assign(operator)) => {
                    Action::Assign(name.to_owned(), operator, tokens.last_expression()?)
                }
                _ => return Err(SyntaxError::new("wanted an assignment", number)),
            },
            _ => return Err(SyntaxError::new("wanted a statement", number)),
        };
        Ok(Statement { line: number, action })
    }
}

impl<'a> Tokens<'a> {
    fn of(line: Line<'a>) -> Self {
        Self { tokens: line.tokens.into_iter(), line: line.number }
    }

    fn next(&mut self) -> Option<Token<'a>> {
        self.tokens.next()
    }

    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.as_slice().first().copied()
    }

    fn wrong(&self, wanted: &str) -> SyntaxError {
        SyntaxError::new(format!("wanted {wanted}"), self.line)
    }

    fn expect(&mut self, token: Token<'_>, wanted: &str) -> Result<(), SyntaxError> {
        if self.next() == Some(token) { Ok(()) } else { Err(self.wrong(wanted)) }
    }

    fn end(&mut self) -> Result<(), SyntaxError> {
        if self.next().is_none() { Ok(()) } else { Err(self.wrong("the end of the line")) }
    }

    fn name(&mut self) -> Result<String, SyntaxError> {
        match self.next() {
            Some(Token::Name(name)) if !RESERVED.contains(&name) => Ok(name.to_owned()),
            _ => Err(self.wrong("a name")),
        }
    }

    fn parameters(&mut self) -> Result<Vec<String>, SyntaxError> {
        self.expect(Token::Open, "`(`")?;
        let mut names = Vec::new();
        if self.peek() == Some(Token::Close) {
            self.next();
            return Ok(names);
        }
        loop {
            let name = self.name()?;
            if names.contains(&name) {
                return Err(self.wrong("different parameters"));
            }
            names.push(name);
            match self.next() {
                Some(Token::Comma) => {}
                Some(Token::Close) => return Ok(names),
                _ => return Err(self.wrong("`,` or `)`")),
            }
        }
    }

    fn condition(&mut self) -> Result<Condition, SyntaxError> {
        let left = self.sum(0)?;
        let Some(Token::Comparison(comparison)) = self.next() else {
            return Err(self.wrong("a comparison"));
        };
        let right = self.sum(0)?;
        self.expect(Token::Colon, "`:`")?;
        self.end()?;
        Ok(Condition { left, comparison, right })
    }

    fn last_expression(&mut self) -> Result<Expression, SyntaxError> {
        let expression = self.sum(0)?;
        self.end()?;
        Ok(expression)
    }

    fn sum(&mut self, depth: usize) -> Result<Expression, SyntaxError> {
        self.chain(depth, false, Self::product)
    }

    fn product(&mut self, depth: usize) -> Result<Expression, SyntaxError> {
        self.chain(depth, true, Self::factor)
    }

    /// Operands with operators of one strength between them, from left to right.
    fn chain(
        &mut self,
        depth: usize,
        tightly: bool,
        operand: fn(&mut Self, usize) -> Result<Expression, SyntaxError>,
    ) -> Result<Expression, SyntaxError> {
        let mut left = operand(self, depth)?;
        let mut length = depth;
        while let Some(operator) = self.operator(tightly) {
            // What is left of an operator is inside it when it is computed.
            length += 1;
            if length > MOST_DEPTH {
                return Err(self.wrong("a shorter expression"));
            }
            left = Expression::Binary(Box::new(left), operator, Box::new(operand(self, depth)?));
        }
        Ok(left)
    }

    fn operator(&mut self, tightly: bool) -> Option<Operator> {
        match self.peek() {
            Some(Token::Operator(operator)) if operator.binds_tightly() == tightly => {
                self.next();
                Some(operator)
            }
            _ => None,
        }
    }

    fn factor(&mut self, depth: usize) -> Result<Expression, SyntaxError> {
        if depth > MOST_DEPTH {
            return Err(self.wrong("a shallower expression"));
        }
        match self.next() {
            Some(Token::Number(number)) => Ok(Expression::Number(number)),
            Some(Token::Name(name)) if !RESERVED.contains(&name) => Ok(Expression::Name(name.to_owned())),
            Some(Token::Operator(Operator::Subtract)) => {
                Ok(Expression::Negated(Box::new(self.factor(depth + 1)?)))
            }
            Some(Token::Open) => {
                let inner = self.sum(depth + 1)?;
                self.expect(Token::Close, "`)`")?;
                Ok(inner)
            }
            _ => Err(self.wrong("a number")),
        }
    }
}
