//! Tests that the host can judge: `assert EXPRESSION == LITERAL`.
//!
//! Whatever a test compares inside the sandbox, a program can have compared its way: an object whose `__eq__` is always true
//! passes every assertion. So a test of this form is taken apart: the program's sandbox evaluates the left side, a sandbox
//! without a program the right side, and the host compares the two values. The program never sees what is expected of it.

/// The two sides of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Comparison<'a> {
    /// What the program is to compute.
    pub(crate) actual: &'a str,
    /// What is expected.
    pub(crate) expected: &'a str,
}

/// Takes a test apart; `None` if it is anything but one assertion of one equality.
///
/// Whether both sides are expressions of their own is for the caller to find out by compiling them.
pub(crate) fn split(test: &str) -> Option<Comparison<'_>> {
    let body = test.trim().strip_prefix("assert")?;
    if !body.starts_with([' ', '\t', '(']) {
        return None;
    }
    let mut equality = None;
    let mut end = body.len();
    for token in top_level(body)? {
        match token.text {
            "==" if equality.is_none() && end == body.len() => equality = Some(token.at),
            // A second comparison makes a chain; the rest bind more loosely than `==`.
            "==" | "!=" | "<" | ">" | "<=" | ">=" | ":=" | "=" | ";" | "\n" => return None,
            "in" | "is" | "not" | "and" | "or" | "if" | "else" | "lambda" | "await" | "yield" => return None,
            "," if end == body.len() => end = token.at,
            _ => {}
        }
    }
    let equality = equality?;
    let comparison =
        Comparison { actual: body[..equality].trim(), expected: body.get(equality + 2..end)?.trim() };
    (!comparison.actual.is_empty() && !comparison.expected.is_empty()).then_some(comparison)
}

struct Token<'a> {
    at: usize,
    text: &'a str,
}

/// Words, operators and line ends outside brackets and strings; `None` if brackets or strings do not close.
fn top_level(source: &str) -> Option<Vec<Token<'_>>> {
    let bytes = source.as_bytes();
    let mut tokens = Vec::new();
    let mut depth = 0_usize;
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.checked_sub(1)?,
            b'"' | b'\'' => at = string_end(bytes, at)? - 1,
            b'#' | b'\\' => return None,
            byte if is_word(byte) => {
                while at + 1 < bytes.len() && is_word(bytes[at + 1]) {
                    at += 1;
                }
                // Strings with replacement fields hold code, with quotes of its own.
                let prefix = source[start..=at].to_ascii_lowercase();
                let is_string = matches!(bytes.get(at + 1), Some(b'"' | b'\''));
                if is_string && prefix.contains(['f', 't']) {
                    return None;
                }
            }
            b'=' | b'!' | b'<' | b'>' | b':' if bytes.get(at + 1) == Some(&b'=') => at += 1,
            _ => {}
        }
        let is_space = bytes[start].is_ascii_whitespace() && bytes[start] != b'\n';
        if depth == 0 && !is_space {
            tokens.push(Token { at: start, text: source.get(start..=at).unwrap_or_default() });
        }
        at += 1;
    }
    (depth == 0).then_some(tokens)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// One past the closing quote of the string that opens at `start`.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let quote = bytes[start];
    let triple = [quote; 3];
    let is_triple = bytes.get(start..start + 3) == Some(&triple);
    let mut at = start + if is_triple { 3 } else { 1 };
    loop {
        match *bytes.get(at)? {
            b'\\' => at += 2,
            b'\n' if !is_triple => return None,
            byte if byte == quote && !is_triple => return Some(at + 1),
            byte if byte == quote && bytes.get(at..at + 3) == Some(&triple) => return Some(at + 3),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_assertion_of_one_equality_is_taken_apart() {
        let cases = [
            ("assert f(1) == 2", "f(1)", "2"),
            (
                "  assert f(x=[1], y='a==b') == {'a': 1 == 1}, 'message'\n",
                "f(x=[1], y='a==b')",
                "{'a': 1 == 1}",
            ),
            ("assert f(\"it's\") + 1 == -3", "f(\"it's\") + 1", "-3"),
            ("assert f('''a'b''') == b'\\''", "f('''a'b''')", "b'\\''"),
            ("assert(f(1)) == (1, 2)", "(f(1))", "(1, 2)"),
        ];
        for (test, actual, expected) in cases {
            assert_eq!(split(test), Some(Comparison { actual, expected }), "{test}");
        }
    }

    #[test]
    fn everything_else_is_left_to_python() {
        for test in [
            "assert f(1)",
            "assert f(1) == 2 == 3",
            "assert f(1) == 2 and g()",
            "assert not f(1) == 2",
            "assert (f(1) == 2)",
            "assert f(1) == 2; g()",
            "assert f(1) == 2\nassert f(2) == 3",
            "assert f(1) == 2 if x else 3",
            "assert f(f'{a['b']}') == 2",
            "assert x, f(1) == 2",
            "assert lambda: f == 2",
            "assertion == 2",
            "x == 2",
            "assert f(1 == 2",
            "assert f('a == 2",
            "assert == 2",
            "assert f(1) == 2  # comment",
        ] {
            assert_eq!(split(test), None, "{test}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,80}") {
            let _ = split(&text);
            let _ = split(&format!("assert {text} == 1"));
        }
    }
}
