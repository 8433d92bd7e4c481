//! JavaScript values outside JavaScript: what a program computed, and what was expected, compared where no program runs.

use std::fmt;

use serde_json::Value as Json;

use crate::value::{MOST_SHOWN, cut_off};

/// A value. Texts are UTF-8, in which lone surrogates are written as if they were characters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Undefined,
    Null,
    Boolean(bool),
    Number(f64),
    /// Digits, with a sign if it is negative.
    BigInt(String),
    Text(Vec<u8>),
    Array(Vec<Value>),
    /// Own enumerable properties, in the order of their names.
    Object {
        /// Whether its prototype is that of `{}`.
        is_plain: bool,
        entries: Vec<(Vec<u8>, Value)>,
    },
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    /// Milliseconds of Unix time.
    Date(f64),
    /// What is equal to nothing that a test can write: functions, symbols, promises.
    Other(&'static str),
}

/// When two primitive values are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Equality {
    /// `===`
    Strict,
    /// `Object.is`, as `assert.strictEqual` has it.
    Same,
    /// `==`, and a NaN equals itself, as `assert.equal` has it.
    Loose,
}

impl Value {
    /// The value that JSON stands for.
    pub(crate) fn of_json(json: &Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(boolean) => Self::Boolean(*boolean),
            Json::Number(number) => Self::Number(number.as_f64().unwrap_or(f64::NAN)),
            Json::String(text) => Self::Text(text.clone().into_bytes()),
            Json::Array(items) => Self::Array(items.iter().map(Self::of_json).collect()),
            Json::Object(entries) => {
                let mut entries: Vec<_> = entries
                    .iter()
                    .map(|(name, value)| (name.clone().into_bytes(), Self::of_json(value)))
                    .collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                Self::Object { is_plain: true, entries }
            }
        }
    }

    /// Whether two values are equal, and arrays and objects if what is in them is.
    pub(crate) fn equals(&self, other: &Self, equality: Equality) -> bool {
        let deep = |a: &Self, b: &Self| a.equals(b, equality);
        match (self, other) {
            (Self::Array(a), Self::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| deep(a, b))
            }
            (
                Self::Object { is_plain: a_is_plain, entries: a },
                Self::Object { is_plain: b_is_plain, entries: b },
            ) => {
                (equality == Equality::Loose || a_is_plain == b_is_plain)
                    && a.len() == b.len()
                    && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && deep(&a.1, &b.1))
            }
            (Self::Map(a), Self::Map(b)) => same_items(a, b, |a, b| deep(&a.0, &b.0) && deep(&a.1, &b.1)),
            (Self::Set(a), Self::Set(b)) => same_items(a, b, deep),
            (Self::Date(a), Self::Date(b)) => a == b || (a.is_nan() && b.is_nan()),
            (a, b) => a.primitive_equals(b, equality),
        }
    }

    /// Whether two primitive values are equal; no other value is equal to anything.
    pub(crate) fn primitive_equals(&self, other: &Self, equality: Equality) -> bool {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => match equality {
                Equality::Strict => a == b,
                Equality::Same => {
                    (a.is_nan() && b.is_nan()) || (a == b && a.is_sign_negative() == b.is_sign_negative())
                }
                Equality::Loose => a == b || (a.is_nan() && b.is_nan()),
            },
            (Self::Undefined, Self::Undefined) | (Self::Null, Self::Null) => true,
            (Self::Undefined, Self::Null) | (Self::Null, Self::Undefined) => equality == Equality::Loose,
            (Self::Boolean(a), Self::Boolean(b)) => a == b,
            (Self::BigInt(a), Self::BigInt(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => a == b,
            (a, b) if equality == Equality::Loose => match (a.as_number(), b.as_number()) {
                (Some(a), Some(b)) => a == b,
                _ => false,
            },
            _ => false,
        }
    }

    /// What a primitive value is as a number, where `==` makes it one.
    fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Boolean(boolean) => Some(f64::from(u8::from(*boolean))),
            Self::BigInt(digits) => digits.parse().ok(),
            Self::Text(text) => {
                let text = std::str::from_utf8(text).ok()?.trim();
                let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
                if text.is_empty() { Some(0.0) } else { text.parse().ok().filter(|_| is_number) }
            }
            _ => None,
        }
    }

    /// The value in the form in which tests of all languages compare: `undefined` is null, what has properties is an object,
    /// and a boolean is no number.
    pub(crate) fn neutral(&self) -> crate::value::Value {
        use crate::value::Value as Neutral;
        let text = |bytes: &[u8]| Neutral::Text(bytes.to_vec());
        match self {
            Self::Undefined | Self::Null => Neutral::None,
            Self::Boolean(boolean) => Neutral::Bytes(boolean.to_string().into_bytes()),
            Self::Number(number) => Neutral::float(*number),
            Self::BigInt(digits) => match digits.parse::<i64>() {
                Ok(number) => Neutral::small(number),
                Err(_) => Neutral::Bytes(digits.clone().into_bytes()),
            },
            Self::Text(bytes) => text(bytes),
            Self::Array(items) => Neutral::List(items.iter().map(Self::neutral).collect()),
            Self::Set(items) => {
                let mut items: Vec<_> = items.iter().map(Self::neutral).collect();
                items.sort();
                Neutral::Set(items)
            }
            Self::Object { entries, .. } => {
                let mut entries: Vec<_> =
                    entries.iter().map(|(name, value)| (text(name), value.neutral())).collect();
                entries.sort();
                Neutral::Dictionary(entries)
            }
            Self::Map(entries) => {
                let mut entries: Vec<_> =
                    entries.iter().map(|(key, value)| (key.neutral(), value.neutral())).collect();
                entries.sort();
                Neutral::Dictionary(entries)
            }
            Self::Date(time) => Neutral::Tuple(vec![Neutral::Bytes(b"date".to_vec()), Neutral::float(*time)]),
            Self::Other(_) => Neutral::NotANumber,
        }
    }

    fn show(&self, text: &mut String) {
        if text.len() > MOST_SHOWN {
            return;
        }
        match self {
            Self::Undefined => text.push_str("undefined"),
            Self::Null => text.push_str("null"),
            Self::Boolean(boolean) => text.push_str(if *boolean { "true" } else { "false" }),
            Self::Number(number) => text.push_str(&shown_number(*number)),
            Self::BigInt(digits) => {
                text.push_str(&digits[..digits.len().min(2 * MOST_SHOWN)]);
                text.push('n');
            }
            Self::Text(bytes) => {
                let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(2 * MOST_SHOWN)]).into_owned();
                text.push_str(&format!("{shown:?}"));
            }
            Self::Array(items) => list(text, "[", items, "]"),
            Self::Set(items) => list(text, "Set {", items, "}"),
            Self::Object { entries, .. } => {
                text.push('{');
                for (index, (name, value)) in entries.iter().enumerate() {
                    text.push_str(if index > 0 { ", " } else { "" });
                    text.push_str(&String::from_utf8_lossy(&name[..name.len().min(2 * MOST_SHOWN)]));
                    text.push_str(": ");
                    value.show(text);
                    if text.len() > MOST_SHOWN {
                        break;
                    }
                }
                text.push('}');
            }
            Self::Map(entries) => {
                text.push_str("Map {");
                for (index, (key, value)) in entries.iter().enumerate() {
                    text.push_str(if index > 0 { ", " } else { "" });
                    key.show(text);
                    text.push_str(" => ");
                    value.show(text);
                    if text.len() > MOST_SHOWN {
                        break;
                    }
                }
                text.push('}');
            }
            Self::Date(time) => text.push_str(&format!("Date({})", shown_number(*time))),
            Self::Other(what) => text.push_str(what),
        }
    }
}

fn list(text: &mut String, open: &str, items: &[Value], close: &str) {
    text.push_str(open);
    for (index, item) in items.iter().enumerate() {
        text.push_str(if index > 0 { ", " } else { "" });
        item.show(text);
        if text.len() > MOST_SHOWN {
            break;
        }
    }
    text.push_str(close);
}

fn shown_number(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else if number == 0.0 && number.is_sign_negative() {
        "-0".to_owned()
    } else {
        number.to_string()
    }
}

/// Whether every item of one has a partner in the other.
fn same_items<T>(a: &[T], b: &[T], equal: impl Fn(&T, &T) -> bool) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut free: Vec<&T> = b.iter().collect();
    a.iter().all(|item| match free.iter().position(|other| equal(item, other)) {
        Some(found) => {
            free.swap_remove(found);
            true
        }
        None => false,
    })
}

/// Much as JavaScript writes the value. Cut off when it gets long.
impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.show(&mut text);
        formatter.write_str(&cut_off(text))
    }
}
