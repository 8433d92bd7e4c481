//! Words, numbers and operators of a Python text, without what is in strings and comments.

/// A piece of a text: its bytes, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    /// Where it begins, in bytes.
    pub(super) at: usize,
    /// What is written there.
    pub(super) text: &'a str,
    /// What it is.
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Number,
    Operator,
}

/// Longer ones first.
const OPERATORS: [&str; 24] = [
    "**=", "//=", "<<=", ">>=", "...", "**", "//", "==", "!=", "<=", ">=", "->", ":=", "+=", "-=", "*=",
    "/=", "%=", "<<", ">>", "&=", "|=", "^=", "@=",
];

/// The tokens of a text. A string that does not end takes the rest of the text.
pub(super) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = source[at..].chars().next() {
        let rest = &source[at..];
        let (kind, length) = if first == '#' {
            (None, rest.find('\n').unwrap_or(rest.len()))
        } else if let Some(length) = string(rest) {
            (None, length)
        } else if first.is_alphabetic() || first == '_' {
            (Some(Kind::Word), word(rest))
        } else if first.is_ascii_digit() {
            (Some(Kind::Number), number(rest))
        } else if first.is_ascii_punctuation() {
            let operator = OPERATORS.iter().find(|operator| rest.starts_with(**operator));
            (Some(Kind::Operator), operator.map_or(1, |operator| operator.len()))
        } else {
            (None, first.len_utf8())
        };
        tokens.extend(kind.map(|kind| Token { at, text: &rest[..length], kind }));
        at += length;
    }
    tokens
}

fn word(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// Digits, a decimal point, letters of a base, an exponent with its sign.
fn number(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_hexadecimal = text.len() > 1 && bytes[1].eq_ignore_ascii_case(&b'x');
    let continues = |place: usize| {
        let byte = bytes[place];
        let after_exponent = !is_hexadecimal && matches!(bytes[place - 1], b'e' | b'E');
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'_' | b'.')
            || matches!(byte, b'+' | b'-') && after_exponent
    };
    (1..bytes.len()).find(|place| !continues(*place)).unwrap_or(bytes.len())
}

/// How long the string is that `text` begins with, its prefix and quotes included; `None` if it begins with none.
fn string(text: &str) -> Option<usize> {
    let prefix = text.bytes().take_while(|byte| b"rbfutRBFUT".contains(byte)).count();
    let quoted = &text[prefix..];
    let quote = quoted.chars().next().filter(|quote| prefix <= 2 && matches!(quote, '"' | '\''))?;
    let triple: String = [quote; 3].iter().collect();
    let end = if quoted.starts_with(&triple) { triple } else { quote.to_string() };
    let mut at = end.len();
    while at < quoted.len() {
        let rest = &quoted[at..];
        if rest.starts_with(&end) {
            return Some(prefix + at + end.len());
        }
        if end.len() == 1 && rest.starts_with('\n') {
            return Some(prefix + at);
        }
        let escaped = usize::from(rest.starts_with('\\'));
        at += rest.chars().take(1 + escaped).map(char::len_utf8).sum::<usize>();
    }
    Some(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(source: &str) -> Vec<&str> {
        tokens(source).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn strings_and_comments_are_passed_over() {
        assert_eq!(
            texts("x = f'a + {b}' + rb\"\\\"<\" # y < z\nx<=1e-3"),
            ["x", "=", "+", "x", "<=", "1e-3"]
        );
        assert_eq!(texts("'''a\n'b' < ''' < 0xE-1"), ["<", "0xE", "-", "1"]);
        assert_eq!(texts("'open\nx **= 2; s = \"\"\"never"), ["x", "**=", "2", ";", "s", "="]);
        assert_eq!(texts("bright = fb"), ["bright", "=", "fb"]);
    }

    proptest! {
        #[test]
        fn tokens_are_in_order_and_within_any_text(source in "[a-z0-9'\"\\\\#é\n<>=*+. ]{0,60}") {
            let mut end = 0;
            for token in tokens(&source) {
                prop_assert!(token.at >= end && !token.text.is_empty());
                prop_assert_eq!(&source[token.at..token.at + token.text.len()], token.text);
                end = token.at + token.text.len();
            }
        }
    }
}
