//! Tokens of a line.

use super::{Comparison, Operator, SyntaxError};

/// One token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Name(&'a str),
    Number(i64),
    Operator(Operator),
    /// `+=` and the like.
    Assign(Option<Operator>),
    Comparison(Comparison),
    Open,
    Close,
    Comma,
    Colon,
}

/// What Python has for itself, and `print`, which programs may only call.
pub(super) const RESERVED: [&str; 37] = [
    "False",
    "None",
    "True",
    "and",
    "as",
    "assert",
    "async",
    "await",
    "break",
    "class",
    "continue",
    "def",
    "del",
    "elif",
    "else",
    "except",
    "finally",
    "for",
    "from",
    "global",
    "if",
    "import",
    "in",
    "is",
    "lambda",
    "__debug__",
    "nonlocal",
    "not",
    "or",
    "pass",
    "print",
    "raise",
    "return",
    "try",
    "while",
    "with",
    "yield",
];

/// The longest come first.
const SIGNS: [(&str, Token<'static>); 21] = [
    ("//=", Token::Assign(Some(Operator::Divide))),
    ("+=", Token::Assign(Some(Operator::Add))),
    ("-=", Token::Assign(Some(Operator::Subtract))),
    ("*=", Token::Assign(Some(Operator::Multiply))),
    ("%=", Token::Assign(Some(Operator::Remainder))),
    ("//", Token::Operator(Operator::Divide)),
    ("<=", Token::Comparison(Comparison::LessOrEqual)),
    (">=", Token::Comparison(Comparison::GreaterOrEqual)),
    ("==", Token::Comparison(Comparison::Equal)),
    ("!=", Token::Comparison(Comparison::NotEqual)),
    ("<", Token::Comparison(Comparison::Less)),
    (">", Token::Comparison(Comparison::Greater)),
    ("=", Token::Assign(None)),
    ("+", Token::Operator(Operator::Add)),
    ("-", Token::Operator(Operator::Subtract)),
    ("*", Token::Operator(Operator::Multiply)),
    ("%", Token::Operator(Operator::Remainder)),
    ("(", Token::Open),
    (")", Token::Close),
    (",", Token::Comma),
    (":", Token::Colon),
];

/// The tokens of `text`, which is line `line`.
pub(super) fn tokens(text: &str, line: u32) -> Result<Vec<Token<'_>>, SyntaxError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(' ');
    while let Some(first) = rest.chars().next() {
        let length = |is_part: fn(char) -> bool| rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (token, taken) = if first.is_ascii_alphabetic() || first == '_' {
            let end = length(|character| character.is_ascii_alphanumeric() || character == '_');
            (Token::Name(&rest[..end]), end)
        } else if first.is_ascii_digit() {
            let end = length(|character| character.is_ascii_alphanumeric() || character == '_');
            (number(&rest[..end], line)?, end)
        } else {
            let sign = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign));
            let (sign, token) =
                sign.ok_or_else(|| SyntaxError::new(format!("invalid character `{first}`"), line))?;
            (*token, sign.len())
        };
        tokens.push(token);
        rest = rest[taken..].trim_start_matches(' ');
    }
    Ok(tokens)
}

fn number(digits: &str, line: u32) -> Result<Token<'static>, SyntaxError> {
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain || digits.len() > 1 && digits.starts_with('0') {
        return Err(SyntaxError::new(format!("`{digits}` is no number"), line));
    }
    let number = digits.parse().map_err(|_| SyntaxError::new(format!("`{digits}` is too large"), line))?;
    Ok(Token::Number(number))
}
