//! Tests that the host can judge: one assertion of one equality, or of one truth.
//!
//! Whatever a test compares inside the sandbox, a program can have compared its way. So a test of these forms is taken apart:
//! the program's sandbox evaluates one side, a sandbox without a program the other, and the host compares.

use super::value::Equality;

/// What a test says, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assertion<'a> {
    /// `assert.strictEqual(actual, expected)` and the like.
    Equal { actual: &'a str, expected: &'a str, how: Comparison },
    /// `assert(expression)` and the like: JavaScript takes the value for true.
    Holds(&'a str),
}

/// How an assertion compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Whether arrays and objects are equal if what is in them is; otherwise they are equal to nothing new.
    pub(super) is_deep: bool,
    pub(super) equality: Equality,
}

/// Functions that compare their first two arguments.
const COMPARING: [(&str, Comparison); 4] = [
    ("assert.deepStrictEqual", Comparison { is_deep: true, equality: Equality::Same }),
    ("assert.strictEqual", Comparison { is_deep: false, equality: Equality::Same }),
    ("assert.deepEqual", Comparison { is_deep: true, equality: Equality::Loose }),
    ("assert.equal", Comparison { is_deep: false, equality: Equality::Loose }),
];

/// Functions that want their first argument to be true.
const HOLDING: [&str; 3] = ["console.assert", "assert.ok", "assert"];

/// Takes a test apart; `None` if it has another form, and when in doubt.
///
/// Whether the parts are expressions of their own is for the caller to find out by compiling them.
pub(super) fn split(test: &str) -> Option<Assertion<'_>> {
    let test = test.trim();
    let test = test.strip_suffix(';').unwrap_or(test).trim_end();
    let comparing = COMPARING.iter().find_map(|(name, how)| Some((arguments(test, name)?, *how)));
    if let Some((list, how)) = comparing {
        let (actual, rest) = cut(list, ",")?;
        let expected = cut(rest, ",").map_or(rest, |(expected, _)| expected);
        let (actual, expected) = (actual.trim(), expected.trim());
        let is_whole = !actual.is_empty() && !expected.is_empty();
        return is_whole.then_some(Assertion::Equal { actual, expected, how });
    }
    let list = HOLDING.iter().find_map(|name| arguments(test, name))?;
    let condition = cut(list, ",").map_or(list, |(condition, _)| condition).trim();
    if condition.is_empty() || condition.starts_with("...") {
        return None;
    }
    Some(equality(condition).unwrap_or(Assertion::Holds(condition)))
}

/// The two sides of a condition that is nothing but one `===`.
fn equality(condition: &str) -> Option<Assertion<'_>> {
    let (actual, expected) = cut(condition, "===")?;
    let looser = ["=", "&", "|", "?", "^", "=>"];
    let is_single = |side: &str| {
        tokens(side).is_some_and(|tokens| {
            !tokens.iter().any(|(_, token)| {
                looser.contains(token) || token.contains("=") && *token != "<=" && *token != ">="
            })
        })
    };
    let (actual, expected) = (actual.trim(), expected.trim());
    (is_single(actual) && is_single(expected) && !actual.is_empty() && !expected.is_empty()).then_some(
        Assertion::Equal { actual, expected, how: Comparison { is_deep: false, equality: Equality::Strict } },
    )
}

/// What stands between the parentheses of a call of `name`, if `test` is nothing else.
fn arguments<'a>(test: &'a str, name: &str) -> Option<&'a str> {
    let rest = test.strip_prefix(name)?.trim_start();
    let list = rest.strip_prefix('(')?.strip_suffix(')')?;
    tokens(list).is_some().then_some(list)
}

/// What is before and after the first `token` outside brackets and strings.
fn cut<'a>(source: &'a str, token: &str) -> Option<(&'a str, &'a str)> {
    let (at, found) = tokens(source)?.into_iter().find(|(_, found)| *found == token)?;
    Some((&source[..at], &source[at + found.len()..]))
}

/// Operators and commas outside brackets and strings, with their places; `None` if brackets or strings do not close, or if it
/// takes a parser to tell: comments, regular expressions and divisions look alike, and templates hold code.
fn tokens(source: &str) -> Option<Vec<(usize, &str)>> {
    let bytes = source.as_bytes();
    let mut tokens = Vec::new();
    let mut depth = 0_usize;
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.checked_sub(1)?,
            b'"' | b'\'' | b'`' => at = string_end(bytes, at)? - 1,
            b'/' => return None,
            byte if is_operator(byte) => {
                while at + 1 < bytes.len() && is_operator(bytes[at + 1]) {
                    at += 1;
                }
                if depth == 0 {
                    tokens.push((start, source.get(start..=at)?));
                }
            }
            b',' | b';' if depth == 0 => tokens.push((start, source.get(start..=at)?)),
            _ => {}
        }
        at += 1;
    }
    (depth == 0).then_some(tokens)
}

fn is_operator(byte: u8) -> bool {
    b"=!<>&|?^".contains(&byte)
}

/// One past the closing quote of the string that opens at `start`.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let quote = bytes[start];
    let mut at = start + 1;
    loop {
        match *bytes.get(at)? {
            b'\\' => at += 2,
            b'\n' if quote != b'`' => return None,
            b'$' if quote == b'`' && bytes.get(at + 1) == Some(&b'{') => return None,
            byte if byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sides(test: &str) -> Option<(&str, &str)> {
        match split(test) {
            Some(Assertion::Equal { actual, expected, .. }) => Some((actual, expected)),
            _ => None,
        }
    }

    #[test]
    fn equalities_are_taken_apart() {
        for (test, actual, expected) in [
            ("assert.strictEqual(f(1), 2);", "f(1)", "2"),
            (" assert.deepStrictEqual(f([1, 2], ')'), {a: [1]}, 'why') ", "f([1, 2], ')')", "{a: [1]}"),
            ("assert.equal(await f(`a,b`), \"it's, \\\"\")", "await f(`a,b`)", "\"it's, \\\"\""),
            ("console.assert(f(2) === -1)", "f(2)", "-1"),
            ("assert(f(2) === 'a===b', 'no')", "f(2)", "'a===b'"),
            ("assert.ok((f(2) && g) === [1, 2].length)", "(f(2) && g)", "[1, 2].length"),
        ] {
            assert_eq!(sides(test), Some((actual, expected)), "{test}");
        }
    }

    #[test]
    fn other_conditions_are_taken_whole() {
        for (test, condition) in [
            ("assert(f(1))", "f(1)"),
            ("console.assert(f(1) == 2, 'x')", "f(1) == 2"),
            ("assert(f(1) === 2 && g() === 3)", "f(1) === 2 && g() === 3"),
            ("assert.ok(!f(1))", "!f(1)"),
            ("assert(a === b ? c : d)", "a === b ? c : d"),
            ("assert(x => x === 1)", "x => x === 1"),
            ("assert(f(1) === 2 !== true)", "f(1) === 2 !== true"),
        ] {
            assert_eq!(split(test), Some(Assertion::Holds(condition)), "{test}");
        }
    }

    #[test]
    fn everything_else_is_left_to_javascript() {
        for test in [
            "f(1)",
            "assert.strictEqual(f(1))",
            "assert.strictEqual(f(1), )",
            "assert.strictEqual(f(1), 2); assert(g())",
            "assert.strictEqual(f(1), 2) || g()",
            "assert.strictEqual(f(/,/), 2)",
            "assert.strictEqual(f(1), 2) // (why)",
            "assert.strictEqual(f(`${a}`), 2)",
            "assert.throws(() => f(1))",
            "assert.strictEqual(f(1, 2)",
            "assert(...a)",
            "assert()",
            "asserted(1)",
        ] {
            assert_eq!(split(test), None, "{test}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,80}") {
            let _ = split(&text);
            let _ = split(&format!("assert.strictEqual({text})"));
            let _ = split(&format!("assert({text})"));
        }
    }
}
