//! Plain values as Python writes them.

use std::fmt;

use serde_json::Value as Json;

/// A value that a Python literal can stand for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum PythonValue {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<PythonValue>),
    Tuple(Vec<PythonValue>),
    Set(Vec<PythonValue>),
    Dict(Vec<(PythonValue, PythonValue)>),
}

impl PythonValue {
    /// The value of a literal; `None` if `text` is anything else, or a literal that this does not know: bytes, complex numbers,
    /// strings with replacement fields, integers beyond 128 bits.
    pub(super) fn parse(text: &str) -> Option<PythonValue> {
        let mut reader = Reader { rest: text.trim_end() };
        let value = reader.value()?;
        reader.skip_space();
        reader.rest.is_empty().then_some(value)
    }
}

impl From<&Json> for PythonValue {
    fn from(json: &Json) -> PythonValue {
        match json {
            Json::Null => PythonValue::None,
            Json::Bool(value) => PythonValue::Bool(*value),
            Json::Number(number) => number
                .as_i64()
                .map(i128::from)
                .or(number.as_u64().map(i128::from))
                .map_or(PythonValue::Float(number.as_f64().unwrap_or(f64::NAN)), PythonValue::Int),
            Json::String(text) => PythonValue::Text(text.clone()),
            Json::Array(items) => PythonValue::List(items.iter().map(PythonValue::from).collect()),
            Json::Object(entries) => {
                let entry = |(name, value): (&String, &Json)| (PythonValue::Text(name.clone()), value.into());
                PythonValue::Dict(entries.iter().map(entry).collect())
            }
        }
    }
}

impl fmt::Display for PythonValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PythonValue::None => f.write_str("None"),
            PythonValue::Bool(true) => f.write_str("True"),
            PythonValue::Bool(false) => f.write_str("False"),
            PythonValue::Int(number) => write!(f, "{number}"),
            PythonValue::Float(number) if number.is_nan() => f.write_str("float('nan')"),
            PythonValue::Float(number) if number.is_infinite() => {
                f.write_str(if *number > 0.0 { "float('inf')" } else { "float('-inf')" })
            }
            PythonValue::Float(number) => write!(f, "{number:?}"),
            PythonValue::Text(text) => quoted(f, text),
            PythonValue::List(items) => bracketed(f, "[", items, "]"),
            PythonValue::Tuple(items) if items.len() == 1 => write!(f, "({},)", items[0]),
            PythonValue::Tuple(items) => bracketed(f, "(", items, ")"),
            PythonValue::Set(items) if items.is_empty() => f.write_str("set()"),
            PythonValue::Set(items) => bracketed(f, "{", items, "}"),
            PythonValue::Dict(entries) => {
                f.write_str("{")?;
                for (place, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if place == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

fn bracketed(f: &mut fmt::Formatter<'_>, open: &str, items: &[PythonValue], close: &str) -> fmt::Result {
    f.write_str(open)?;
    for (place, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if place == 0 { "" } else { ", " })?;
    }
    f.write_str(close)
}

/// As Python's `repr`: in single quotes, or in double ones where that saves backslashes.
fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    write!(f, "{quote}")?;
    for character in text.chars() {
        match character {
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\\' => f.write_str("\\\\")?,
            character if character == quote => write!(f, "\\{quote}")?,
            control if control.is_control() && u32::from(control) < 0x100 => {
                write!(f, "\\x{:02x}", u32::from(control))?;
            }
            control if control.is_control() => write!(f, "\\U{:08x}", u32::from(control))?,
            other => write!(f, "{other}")?,
        }
    }
    write!(f, "{quote}")
}

/// What is left of a text.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, wanted: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> &'a str {
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn value(&mut self) -> Option<PythonValue> {
        self.skip_space();
        match self.rest.chars().next()? {
            '[' => Some(PythonValue::List(self.items("[", "]")?.0)),
            '(' => {
                let (mut items, comma) = self.items("(", ")")?;
                if items.len() == 1 && !comma { items.pop() } else { Some(PythonValue::Tuple(items)) }
            }
            '{' => self.braces(),
            '\'' | '"' => self.texts(),
            '-' | '+' | '0'..='9' | '.' => self.number(),
            _ => match self.word() {
                "None" => Some(PythonValue::None),
                "True" => Some(PythonValue::Bool(true)),
                "False" => Some(PythonValue::Bool(false)),
                "set" => (self.take("(") && self.take(")")).then(|| PythonValue::Set(Vec::new())),
                "float" => self.named_float(),
                "r" | "R" if self.rest.starts_with(['\'', '"']) => self.text(true).map(PythonValue::Text),
                _ => None,
            },
        }
    }

    /// The items between brackets, and whether a comma stands behind the last one.
    fn items(&mut self, open: &str, close: &str) -> Option<(Vec<PythonValue>, bool)> {
        self.take(open);
        let (mut items, mut comma) = (Vec::new(), false);
        while !self.take(close) {
            if !items.is_empty() && !comma {
                return None;
            }
            items.push(self.value()?);
            comma = self.take(",");
        }
        Some((items, comma))
    }

    fn braces(&mut self) -> Option<PythonValue> {
        self.take("{");
        let (mut keys, mut entries, mut comma) = (Vec::new(), Vec::new(), true);
        while !self.take("}") {
            if !comma {
                return None;
            }
            let key = self.value()?;
            if self.take(":") {
                entries.push((key, self.value()?));
            } else {
                keys.push(key);
            }
            comma = self.take(",");
        }
        match (keys.is_empty(), entries.is_empty()) {
            (true, _) => Some(PythonValue::Dict(entries)),
            (false, true) => Some(PythonValue::Set(keys)),
            (false, false) => None,
        }
    }

    fn number(&mut self) -> Option<PythonValue> {
        let negative = self.take("-");
        if !negative {
            self.take("+");
        }
        self.skip_space();
        let mut written = self.word().to_owned();
        if written.ends_with(['e', 'E']) && !written.starts_with("0x") && self.rest.starts_with(['-', '+']) {
            written.push_str(&self.rest[..1]);
            self.rest = &self.rest[1..];
            written.push_str(self.word());
        }
        let written = written.replace('_', "");
        let radix = |prefix: &str, radix| {
            written.strip_prefix(prefix).map(|digits| i128::from_str_radix(digits, radix).ok())
        };
        let whole = radix("0x", 16).or_else(|| radix("0b", 2)).or_else(|| radix("0o", 8));
        let whole = whole.unwrap_or_else(|| written.parse().ok());
        if let Some(whole) = whole {
            return Some(PythonValue::Int(if negative { -whole } else { whole }));
        }
        // Rust reads `inf` and `nan` as numbers, Python as names.
        let number: f64 =
            written.starts_with(|c: char| c.is_ascii_digit() || c == '.').then(|| written.parse().ok())??;
        Some(PythonValue::Float(if negative { -number } else { number }))
    }

    /// `float('inf')` and its kin.
    fn named_float(&mut self) -> Option<PythonValue> {
        if !self.take("(") {
            return None;
        }
        self.skip_space();
        let name = self.text(false)?;
        let number = match name.to_ascii_lowercase().trim_start_matches('+') {
            "inf" | "infinity" => f64::INFINITY,
            "-inf" | "-infinity" => f64::NEG_INFINITY,
            "nan" => f64::NAN,
            _ => return None,
        };
        self.take(")").then_some(PythonValue::Float(number))
    }

    /// Strings beside each other are one.
    fn texts(&mut self) -> Option<PythonValue> {
        let mut text = self.text(false)?;
        while self.rest.trim_start().starts_with(['\'', '"']) {
            self.skip_space();
            text.push_str(&self.text(false)?);
        }
        Some(PythonValue::Text(text))
    }

    fn text(&mut self, raw: bool) -> Option<String> {
        let one = self.rest.get(..1).filter(|quote| ["'", "\""].contains(quote))?;
        let triple = one.repeat(3);
        let quote = if self.rest.starts_with(&triple) { triple.as_str() } else { one };
        let mut characters = self.rest[quote.len()..].char_indices();
        let mut text = String::new();
        let begin = quote.len();
        while let Some((place, character)) = characters.next() {
            if self.rest[begin + place..].starts_with(quote) {
                self.rest = &self.rest[begin + place + quote.len()..];
                return Some(text);
            }
            match character {
                '\\' if raw => text.extend(['\\', characters.next()?.1]),
                '\\' => text.extend(escape(&mut characters)?),
                '\n' if quote.len() == 1 => return None,
                other => text.push(other),
            }
        }
        None
    }
}

/// What stands for the escape whose backslash was read: nothing for one at the end of a line.
fn escape(characters: &mut std::str::CharIndices<'_>) -> Option<Vec<char>> {
    let first = characters.next()?.1;
    let is_octal = characters.as_str().starts_with(|c: char| c.is_digit(8));
    let mut code = |digits| code_of(characters, digits);
    Some(vec![match first {
        '\n' => return Some(Vec::new()),
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        '0' if !is_octal => '\0',
        '\\' | '\'' | '"' => first,
        'x' => char::from_u32(code(2)?)?,
        'u' => char::from_u32(code(4)?)?,
        'U' => char::from_u32(code(8)?)?,
        // Octal codes, names of characters; any other pair stands for itself.
        '0'..='7' | 'N' => return None,
        other => return Some(vec!['\\', other]),
    }])
}

fn code_of(characters: &mut std::str::CharIndices<'_>, digits: usize) -> Option<u32> {
    let written: String = characters.by_ref().take(digits).map(|(_, digit)| digit).collect();
    if written.chars().count() == digits { u32::from_str_radix(&written, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn becomes(literal: &str, wanted: &str) {
        let read = PythonValue::parse(literal).map(|value| value.to_string());
        assert_eq!(read.as_deref(), Some(wanted), "{literal}");
    }

    #[test]
    fn literals_are_read_and_written_as_python_has_them() {
        for literal in
            ["None", "True", "-3", "2.5", "'a'", "[1, 'b', (2,)]", "()", "(1, 2)", "{1, 2}", "{}", "set()"]
        {
            becomes(literal, literal);
        }
        becomes("{'a': 1,'b':[ ]}", "{'a': 1, 'b': []}");
        becomes("(1)", "1");
        becomes("[1,\n 2,]", "[1, 2]");
        becomes("\"it's\"", "\"it's\"");
        becomes("'it\\'s \"\\x41\\u00e9\\n'", "'it\\'s \"Aé\\n'");
        becomes("'a' \"b\"", "'ab'");
        becomes("1e-3", "0.001");
        becomes("0x10", "16");
        becomes("1_000", "1000");
        becomes("float('-inf')", "float('-inf')");
        becomes("r'\\d'", "'\\\\d'");
        becomes("'''a\n'b\\\n'''", "\"a\\n'b\"");
    }

    #[test]
    fn what_is_no_literal_is_not_read() {
        for text in
            ["", "x", "f(1)", "1 + 2", "[1 2]", "(1, 2", "'a", "b'a'", "1j", "nan", "{1, 2: 3}", "[,]", "1 2"]
        {
            assert_eq!(PythonValue::parse(text), None, "{text}");
        }
    }

    fn values() -> impl Strategy<Value = PythonValue> {
        let leaf = prop_oneof![
            Just(PythonValue::None),
            any::<bool>().prop_map(PythonValue::Bool),
            any::<i64>().prop_map(|number| PythonValue::Int(number.into())),
            (-1e300..1e300).prop_map(PythonValue::Float),
            any::<String>().prop_map(PythonValue::Text),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            let items = prop::collection::vec(inner.clone(), 0..4);
            prop_oneof![
                items.clone().prop_map(PythonValue::List),
                items.prop_map(PythonValue::Tuple),
                prop::collection::vec((inner.clone(), inner), 0..3).prop_map(PythonValue::Dict),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in values()) {
            prop_assert_eq!(PythonValue::parse(&value.to_string()), Some(value));
        }

        #[test]
        fn any_text_can_be_tried(text in "\\PC{0,40}") {
            PythonValue::parse(&text);
        }
    }
}
