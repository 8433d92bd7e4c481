//! When what a program gave counts as what was expected. Decided by the host.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::value::Value;

/// When a returned value is right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ValueComparison {
    /// It equals the expected one by Python's `==`, lists and tuples being the same.
    #[default]
    Exact,
    /// It is a sequence or set of the same items, each as often, in any order.
    Unordered,
    /// Every number in it is close to the expected one, and all else is equal.
    Close(Tolerance),
    /// Source of a function `accepts(actual, expected)` says so. It runs in an interpreter that the program never enters.
    Custom(String),
}

/// When a printed text is right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TextComparison {
    /// The same words, whatever space is between them.
    #[default]
    Tokens,
    /// The same lines, but for spaces at their ends and empty lines at the end of the text.
    Lines,
    /// The same bytes.
    Exact,
    /// The same words; words that are numbers need only be close.
    Close(Tolerance),
}

/// How far apart two numbers may be: `|a - b| <= max(absolute, relative * max(|a|, |b|))`, as `math.isclose` has it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "WrittenTolerance", into = "WrittenTolerance")]
pub struct Tolerance {
    relative: f64,
    absolute: f64,
}

// Both numbers are finite.
impl Eq for Tolerance {}

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WrittenTolerance {
    #[serde(default)]
    relative: f64,
    #[serde(default)]
    absolute: f64,
}

impl Tolerance {
    /// A tolerance; `None` if one of the two is negative or not finite.
    pub fn new(relative: f64, absolute: f64) -> Option<Self> {
        let is_valid = |number: f64| number.is_finite() && number >= 0.0;
        (is_valid(relative) && is_valid(absolute)).then_some(Self { relative, absolute })
    }

    /// Whether two numbers are close. Infinities are close to themselves only, and nothing is close to a NaN.
    pub fn accepts(self, a: f64, b: f64) -> bool {
        if a.is_infinite() || b.is_infinite() {
            return a == b;
        }
        (a - b).abs() <= self.absolute.max(self.relative * a.abs().max(b.abs()))
    }
}

impl TryFrom<WrittenTolerance> for Tolerance {
    type Error = String;

    fn try_from(written: WrittenTolerance) -> Result<Self, String> {
        let WrittenTolerance { relative, absolute } = written;
        Self::new(relative, absolute).ok_or_else(|| {
            format!("tolerance is relative {relative}, absolute {absolute}, wanted finite numbers from 0")
        })
    }
}

impl From<Tolerance> for WrittenTolerance {
    fn from(tolerance: Tolerance) -> Self {
        Self { relative: tolerance.relative, absolute: tolerance.absolute }
    }
}

impl TextComparison {
    /// Whether `actual` is right where `expected` was wanted.
    pub(crate) fn accepts(&self, actual: &[u8], expected: &str) -> bool {
        let text = String::from_utf8_lossy(actual);
        match self {
            Self::Tokens => text.split_whitespace().eq(expected.split_whitespace()),
            Self::Lines => lines(&text).eq(lines(expected)),
            Self::Exact => actual == expected.as_bytes(),
            Self::Close(tolerance) => {
                let (mut actual, mut expected) = (text.split_whitespace(), expected.split_whitespace());
                loop {
                    match (actual.next(), expected.next()) {
                        (None, None) => return true,
                        (Some(actual), Some(expected)) if word_is_close(actual, expected, *tolerance) => {}
                        _ => return false,
                    }
                }
            }
        }
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.trim_end().lines().map(str::trim_end)
}

fn word_is_close(actual: &str, expected: &str, tolerance: Tolerance) -> bool {
    actual == expected
        || match (actual.parse::<f64>(), expected.parse::<f64>()) {
            (Ok(actual), Ok(expected)) => tolerance.accepts(actual, expected),
            _ => false,
        }
}

impl ValueComparison {
    /// Whether the host alone says that `actual` is right; `None` if it takes the custom function.
    pub(crate) fn accepts(&self, actual: &Value, expected: &Value) -> Option<bool> {
        let (actual, expected) = (actual.clone().without_tuples(), expected.clone().without_tuples());
        match self {
            Self::Exact => Some(actual.equals(&expected)),
            Self::Unordered => Some(match (actual.items(), expected.items()) {
                (Some(actual), Some(expected)) => sorted(actual).equals(&sorted(expected)),
                _ => actual.equals(&expected),
            }),
            Self::Close(tolerance) => Some(actual.is_close(&expected, *tolerance)),
            Self::Custom(_) => None,
        }
    }
}

fn sorted(items: &[Value]) -> Value {
    let mut items = items.to_vec();
    items.sort();
    Value::List(items)
}

/// JSON as the literal that means the same in Python.
pub(crate) struct PythonLiteral<'a>(pub(crate) &'a Json);

impl fmt::Display for PythonLiteral<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Json::Null => formatter.write_str("None"),
            Json::Bool(true) => formatter.write_str("True"),
            Json::Bool(false) => formatter.write_str("False"),
            Json::Number(number) => write!(formatter, "{number}"),
            Json::String(text) => quote(formatter, text),
            Json::Array(items) => {
                formatter.write_str("[")?;
                for item in items {
                    write!(formatter, "{}, ", PythonLiteral(item))?;
                }
                formatter.write_str("]")
            }
            Json::Object(entries) => {
                formatter.write_str("{")?;
                for (key, value) in entries {
                    quote(formatter, key)?;
                    write!(formatter, ": {}, ", PythonLiteral(value))?;
                }
                formatter.write_str("}")
            }
        }
    }
}

fn quote(formatter: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    formatter.write_str("'")?;
    for character in text.chars() {
        match character {
            '\'' | '\\' => write!(formatter, "\\{character}")?,
            control if control.is_control() => write!(formatter, "\\U{:08x}", u32::from(control))?,
            other => write!(formatter, "{other}")?,
        }
    }
    formatter.write_str("'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(relative: f64, absolute: f64) -> Tolerance {
        Tolerance::new(relative, absolute).unwrap()
    }

    #[test]
    fn texts_are_compared_by_words_lines_bytes_or_numbers() {
        let accepts = |comparison: TextComparison, actual: &str, expected| {
            comparison.accepts(actual.as_bytes(), expected)
        };
        assert!(accepts(TextComparison::Tokens, " 1\n2 3\n", "1 2\n3"));
        assert!(!accepts(TextComparison::Tokens, "1 2", "12"));
        assert!(accepts(TextComparison::Lines, "1 2 \n3\n\n\n", "1 2\n3"));
        assert!(!accepts(TextComparison::Lines, "1\n2", "1 2"));
        assert!(!accepts(TextComparison::Exact, "1\n", "1"));
        let nearly = TextComparison::Close(close(1e-6, 0.0));
        assert!(accepts(nearly.clone(), "x 0.3333333", "x 0.33333333"));
        assert!(!accepts(nearly.clone(), "0.334", "0.3333"));
        assert!(!accepts(nearly.clone(), "nan", "1"));
        assert!(!accepts(nearly, "1 2", "1"));
        assert!(!TextComparison::Tokens.accepts(b"\xff", "ok"));
    }

    #[test]
    fn a_tolerance_that_is_no_distance_is_refused() {
        for text in [r#"{"relative": -1}"#, r#"{"absolute": -0.5}"#, r#"{"relatif": 1}"#] {
            assert!(serde_json::from_str::<Tolerance>(text).is_err(), "{text}");
        }
        assert!(close(0.0, 0.0).accepts(f64::INFINITY, f64::INFINITY));
        assert!(!close(1.0, 1e300).accepts(f64::INFINITY, 1.0));
    }

    #[test]
    fn json_is_written_as_python() {
        let json: Json =
            serde_json::from_str(r#"[null, true, -1, 2.5, "it's\n\u0000é😀\\", {"a": []}]"#).unwrap();
        assert_eq!(
            PythonLiteral(&json).to_string(),
            r"[None, True, -1, 2.5, 'it\'s\U0000000a\U00000000é😀\\', {'a': [], }, ]"
        );
    }

    proptest! {
        #[test]
        fn every_text_is_the_same_as_itself(text in "\\PC{0,40}") {
            for comparison in [TextComparison::Tokens, TextComparison::Lines, TextComparison::Exact, TextComparison::Close(close(0.0, 0.0))] {
                prop_assert!(comparison.accepts(text.as_bytes(), &text));
            }
        }

        #[test]
        fn closeness_does_not_depend_on_the_order(a in any::<f64>(), b in any::<f64>(), relative in 0.0..1.0, absolute in 0.0..1e9) {
            let tolerance = close(relative, absolute);
            prop_assert_eq!(tolerance.accepts(a, b), tolerance.accepts(b, a));
        }
    }
}
