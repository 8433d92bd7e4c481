//! Python values outside Python: what a program computed, and what was expected, compared where no program runs.
//!
//! A value crosses the border in marshal format, which CPython writes without running Python code and only for exact
//! builtins. What arrives is still not trusted: reading it never panics and never takes more memory than its length allows.

use std::fmt;

use serde_json::Value as Json;
use thiserror::Error;

use crate::comparison::Tolerance;

/// Deeper nesting than CPython itself writes.
const MOST_NESTED: usize = 2000;

/// Bits per digit in marshal's integers.
const DIGIT_BITS: u32 = 15;

/// Bytes that are not a plain value.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("not a plain value at byte {0}")]
pub(crate) struct NotPlain(usize);

/// A plain value in a form in which Python's `==` is equality: numbers that are equal are one variant, sets and
/// dictionaries are sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    None,
    Ellipsis,
    /// Any number without a fraction: `1`, `1.0`, `True` and `1+0j` are the same.
    Integer {
        negative: bool,
        digits: Vec<u16>,
    },
    /// A number with a fraction, or infinite.
    Float(u64),
    Complex(u64, u64),
    /// Equal to nothing, not even itself.
    NotANumber,
    Text(Vec<u8>),
    Bytes(Vec<u8>),
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Set(Vec<Value>),
    Dictionary(Vec<(Value, Value)>),
}

impl Value {
    /// Reads a value that `PyMarshal_WriteObjectToString` wrote with version 2.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, NotPlain> {
        let mut reader = Reader { bytes, at: 0 };
        let value = reader.value(0)?;
        if reader.at == bytes.len() { Ok(value) } else { Err(NotPlain(reader.at)) }
    }

    /// Whether Python's `==` says so.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        self == other && !self.has_nan()
    }

    /// Whether both are the same up to numbers that are close to each other. Items of sets are paired in ascending order.
    pub(crate) fn is_close(&self, other: &Self, tolerance: Tolerance) -> bool {
        let all = |mine: &[Self], others: &[Self]| {
            mine.len() == others.len()
                && mine.iter().zip(others).all(|(mine, other)| mine.is_close(other, tolerance))
        };
        match (self, other) {
            (Self::Tuple(mine), Self::Tuple(others))
            | (Self::List(mine), Self::List(others))
            | (Self::Set(mine), Self::Set(others)) => all(mine, others),
            (Self::Dictionary(mine), Self::Dictionary(others)) => {
                mine.len() == others.len()
                    && mine.iter().zip(others).all(|((key, value), (other_key, other_value))| {
                        key.equals(other_key) && value.is_close(other_value, tolerance)
                    })
            }
            _ => match (self.number(), other.number()) {
                (Some(mine), Some(other_number)) => {
                    self.equals(other) || tolerance.accepts(mine, other_number)
                }
                _ => self.equals(other),
            },
        }
    }

    /// The nearest float, if this is a real number.
    fn number(&self) -> Option<f64> {
        match self {
            Self::Integer { negative, digits } => {
                let base = f64::from(1_u32 << DIGIT_BITS);
                let magnitude = digits.iter().rev().fold(0.0, |sum, digit| sum * base + f64::from(*digit));
                Some(if *negative { -magnitude } else { magnitude })
            }
            Self::Float(bits) => Some(f64::from_bits(*bits)),
            _ => None,
        }
    }

    /// The items of a sequence or set; `None` for everything else.
    pub(crate) fn items(&self) -> Option<&[Self]> {
        match self {
            Self::Tuple(items) | Self::List(items) | Self::Set(items) => Some(items),
            _ => None,
        }
    }

    /// The same with every tuple turned into a list, which is what JSON can write.
    pub(crate) fn without_tuples(self) -> Self {
        let each = |items: Vec<Self>| items.into_iter().map(Self::without_tuples);
        match self {
            Self::Tuple(items) | Self::List(items) => Self::List(each(items).collect()),
            Self::Set(items) => {
                let mut items: Vec<_> = each(items).collect();
                items.sort();
                Self::Set(items)
            }
            Self::Dictionary(entries) => {
                let mut entries: Vec<_> = entries
                    .into_iter()
                    .map(|(key, value)| (key.without_tuples(), value.without_tuples()))
                    .collect();
                entries.sort();
                Self::Dictionary(entries)
            }
            other => other,
        }
    }

    /// The value that JSON stands for.
    pub(crate) fn of_json(json: &Json) -> Self {
        match json {
            Json::Null => Self::None,
            Json::Bool(truth) => Self::small(i64::from(*truth)),
            Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(small), ..) => Self::small(small),
                (None, Some(large), _) => Self::shifted(false, large, 0),
                (None, None, Some(real)) => Self::float(real),
                (None, None, None) => Self::NotANumber,
            },
            Json::String(text) => Self::Text(text.clone().into_bytes()),
            Json::Array(items) => Self::List(items.iter().map(Self::of_json).collect()),
            Json::Object(entries) => {
                let mut entries: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| (Self::Text(key.clone().into_bytes()), Self::of_json(value)))
                    .collect();
                entries.sort();
                Self::Dictionary(entries)
            }
        }
    }

    fn has_nan(&self) -> bool {
        match self {
            Self::NotANumber => true,
            Self::Tuple(items) | Self::List(items) | Self::Set(items) => items.iter().any(Self::has_nan),
            Self::Dictionary(items) => items.iter().any(|(key, value)| key.has_nan() || value.has_nan()),
            _ => false,
        }
    }

    fn integer(negative: bool, mut digits: Vec<u16>) -> Self {
        while digits.last() == Some(&0) {
            digits.pop();
        }
        Self::Integer { negative: negative && !digits.is_empty(), digits }
    }

    pub(crate) fn small(number: i64) -> Self {
        Self::shifted(number < 0, number.unsigned_abs(), 0)
    }

    /// `magnitude` times two to the power of `shift`.
    fn shifted(negative: bool, magnitude: u64, shift: u32) -> Self {
        let mut digits = vec![0; (shift / DIGIT_BITS) as usize];
        let mut rest = u128::from(magnitude) << (shift % DIGIT_BITS);
        while rest > 0 {
            digits.push((rest & ((1 << DIGIT_BITS) - 1)) as u16);
            rest >>= DIGIT_BITS;
        }
        Self::integer(negative, digits)
    }

    pub(crate) fn float(number: f64) -> Self {
        if number.is_nan() {
            return Self::NotANumber;
        }
        if number.is_infinite() || number.fract() != 0.0 {
            return Self::Float(number.to_bits());
        }
        if number.abs() < 9e18 {
            return Self::small(number as i64);
        }
        // Beyond 2^63 every float is its 53-bit mantissa shifted left.
        let bits = number.to_bits();
        let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
        let exponent = ((bits >> 52) & 0x7ff) as u32;
        Self::shifted(number < 0.0, mantissa, exponent - 1075)
    }

    fn complex(real: f64, imaginary: f64) -> Self {
        if real.is_nan() || imaginary.is_nan() {
            Self::NotANumber
        } else if imaginary == 0.0 {
            Self::float(real)
        } else {
            // Adding zero turns -0 into 0, to which it is equal.
            Self::Complex((real + 0.0).to_bits(), (imaginary + 0.0).to_bits())
        }
    }
}

/// Most bytes that a value is shown with.
pub(crate) const MOST_SHOWN: usize = 200;

/// The beginning of a text that is too long to be shown.
pub(crate) fn cut_off(mut text: String) -> String {
    if text.len() > MOST_SHOWN {
        let end = (0..=MOST_SHOWN).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// As Python writes the value, as far as it is known: `True` and `1.0` are the number 1 here. Cut off when it gets long.
impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.show(&mut text);
        formatter.write_str(&cut_off(text))
    }
}

impl Value {
    /// Appends the value, or the beginning of it: nothing is added to a text that is too long already.
    fn show(&self, text: &mut String) {
        if text.len() > MOST_SHOWN {
            return;
        }
        match self {
            Self::None => text.push_str("None"),
            Self::Ellipsis => text.push_str("..."),
            Self::Integer { negative, digits } => text.push_str(&decimal(*negative, digits)),
            Self::Float(bits) => text.push_str(&real(*bits)),
            Self::Complex(re, im) => text.push_str(&format!("({} + {}j)", real(*re), real(*im))),
            Self::NotANumber => text.push_str("nan"),
            Self::Text(bytes) => quote(text, bytes),
            Self::Bytes(bytes) => {
                text.push('b');
                quote(text, bytes);
            }
            Self::Tuple(items) if items.len() == 1 => {
                text.push('(');
                items[0].show(text);
                text.push_str(",)");
            }
            Self::Tuple(items) => list(text, "(", items, ")"),
            Self::List(items) => list(text, "[", items, "]"),
            Self::Set(items) if items.is_empty() => text.push_str("set()"),
            Self::Set(items) => list(text, "{", items, "}"),
            Self::Dictionary(entries) => {
                text.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    if text.len() > MOST_SHOWN {
                        break;
                    }
                    text.push_str(if index > 0 { ", " } else { "" });
                    key.show(text);
                    text.push_str(": ");
                    value.show(text);
                }
                text.push('}');
            }
        }
    }
}

fn list(text: &mut String, open: &str, items: &[Value], close: &str) {
    text.push_str(open);
    for (index, item) in items.iter().enumerate() {
        if text.len() > MOST_SHOWN {
            break;
        }
        text.push_str(if index > 0 { ", " } else { "" });
        item.show(text);
    }
    text.push_str(close);
}

/// Text in quotes; what is no text is shown by its bytes.
fn quote(text: &mut String, bytes: &[u8]) {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(2 * MOST_SHOWN)]).into_owned();
    text.push('\'');
    text.extend(shown.escape_debug());
    text.push('\'');
}

fn real(bits: u64) -> String {
    let number = f64::from_bits(bits);
    if number.is_infinite() {
        format!("{}inf", if number < 0.0 { "-" } else { "" })
    } else {
        format!("{number}")
    }
}

/// Up to 120 bits in full; beyond that, the size.
fn decimal(negative: bool, digits: &[u16]) -> String {
    let sign = if negative { "-" } else { "" };
    if digits.len() > 8 {
        return format!("{sign}<an integer of about {} bits>", digits.len() * DIGIT_BITS as usize);
    }
    let magnitude = digits.iter().rev().fold(0_u128, |sum, digit| (sum << DIGIT_BITS) | u128::from(*digit));
    format!("{sign}{magnitude}")
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, size: usize) -> Result<&'a [u8], NotPlain> {
        let end = self.at.checked_add(size).ok_or(NotPlain(self.at))?;
        let taken = self.bytes.get(self.at..end).ok_or(NotPlain(self.at))?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], NotPlain> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn size(&mut self) -> Result<usize, NotPlain> {
        let at = self.at;
        usize::try_from(i32::from_le_bytes(self.array()?)).map_err(|_| NotPlain(at))
    }

    fn real(&mut self) -> Result<f64, NotPlain> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    fn value(&mut self, depth: usize) -> Result<Value, NotPlain> {
        let at = self.at;
        if depth > MOST_NESTED {
            return Err(NotPlain(at));
        }
        let [kind] = self.array()?;
        Ok(match kind {
            b'N' => Value::None,
            b'.' => Value::Ellipsis,
            b'F' => Value::small(0),
            b'T' => Value::small(1),
            b'i' => Value::small(i64::from(i32::from_le_bytes(self.array()?))),
            b'l' => self.integer()?,
            b'g' => Value::float(self.real()?),
            b'y' => Value::complex(self.real()?, self.real()?),
            b'u' | b't' => Value::Text(self.sized()?),
            b's' => Value::Bytes(self.sized()?),
            b'(' => Value::Tuple(self.items(depth)?),
            b'[' => Value::List(self.items(depth)?),
            b'<' | b'>' => {
                let mut items = self.items(depth)?;
                items.sort();
                Value::Set(items)
            }
            b'{' => Value::Dictionary(self.entries(depth)?),
            _ => return Err(NotPlain(at)),
        })
    }

    fn integer(&mut self) -> Result<Value, NotPlain> {
        let count = i32::from_le_bytes(self.array()?);
        let mut digits = Vec::new();
        for pair in self.take(2_usize.saturating_mul(count.unsigned_abs() as usize))?.chunks_exact(2) {
            digits.push(u16::from_le_bytes([pair[0], pair[1]]));
        }
        Ok(Value::integer(count < 0, digits))
    }

    fn sized(&mut self) -> Result<Vec<u8>, NotPlain> {
        let size = self.size()?;
        Ok(self.take(size)?.to_vec())
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Value>, NotPlain> {
        (0..self.size()?).map(|_| self.value(depth + 1)).collect()
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<(Value, Value)>, NotPlain> {
        const END: u8 = b'0';
        let mut entries = Vec::new();
        while self.bytes.get(self.at) != Some(&END) {
            entries.push((self.value(depth + 1)?, self.value(depth + 1)?));
        }
        self.at += 1;
        entries.sort();
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Value {
        Value::read(bytes).unwrap()
    }

    #[test]
    fn numbers_that_python_calls_equal_are_equal() {
        let one_float = [b"g".as_slice(), &1.0_f64.to_le_bytes()].concat();
        assert!(read(b"T").equals(&read(b"i\x01\0\0\0")));
        assert!(read(b"T").equals(&read(&one_float)));
        assert!(read(b"F").equals(&Value::float(-0.0)));
        // 2**70, as float and as digits: 70 = 4 * 15 + 10.
        let digits = read(b"l\x05\0\0\0\0\0\0\0\0\0\0\0\0\x04");
        assert!(Value::float(2.0_f64.powi(70)).equals(&digits));
        assert!(!Value::float(2.0_f64.powi(70) * 1.5).equals(&digits));
    }

    #[test]
    fn order_matters_in_lists_and_not_in_sets() {
        let (forth, back) = (b"\x02\0\0\0i\x01\0\0\0i\x02\0\0\0", b"\x02\0\0\0i\x02\0\0\0i\x01\0\0\0");
        let of = |kind: u8, items: &[u8]| read(&[&[kind], items].concat());
        assert!(!of(b'[', forth).equals(&of(b'[', back)));
        assert!(!of(b'[', forth).equals(&of(b'(', forth)));
        assert!(of(b'<', forth).equals(&of(b'>', back)));
    }

    #[test]
    fn a_nan_equals_nothing() {
        let nan = Value::List(vec![Value::float(f64::NAN)]);
        assert!(!nan.equals(&nan.clone()));
    }

    #[test]
    fn values_are_shown_as_python_writes_them() {
        let list = read(b"[\x03\0\0\0i\x01\0\0\0u\x02\0\0\0a'N");
        assert_eq!(list.to_string(), "[1, 'a\\'', None]");
        assert_eq!(Value::Tuple(vec![Value::float(0.5)]).to_string(), "(0.5,)");
        assert_eq!(Value::Set(Vec::new()).to_string(), "set()");
        assert_eq!(
            Value::Dictionary(vec![(Value::small(-3), Value::List(Vec::new()))]).to_string(),
            "{-3: []}"
        );
        assert_eq!(Value::float(1e300).to_string(), "<an integer of about 1005 bits>");
        let long = Value::List(vec![Value::small(7); 100_000]).to_string();
        assert!(long.starts_with("[7, 7") && long.ends_with('…') && long.len() < 220, "{long}");
    }

    #[test]
    fn json_is_the_value_that_python_makes_of_it() {
        let json = |text: &str| Value::of_json(&serde_json::from_str(text).unwrap());
        assert!(json("[1, 2.0, true]").equals(&read(b"[\x03\0\0\0i\x01\0\0\0i\x02\0\0\0T")));
        assert!(json("18446744073709551615").equals(&Value::shifted(false, u64::MAX, 0)));
        assert!(json(r#"{"b": null, "a": "x"}"#).equals(&json(r#"{"a": "x", "b": null}"#)));
        assert!(!json("[1]").equals(&Value::Tuple(vec![Value::small(1)])));
        assert!(
            json("[[1]]").equals(&Value::List(vec![Value::Tuple(vec![Value::small(1)])]).without_tuples())
        );
    }

    #[test]
    fn numbers_are_close_wherever_they_are_nested() {
        let tolerance = Tolerance::new(1e-6, 0.0).unwrap();
        let json = |text: &str| Value::of_json(&serde_json::from_str(text).unwrap());
        assert!(
            json(r#"{"a": [1, 0.3333333]}"#).is_close(&json(r#"{"a": [1.0000001, 0.33333333]}"#), tolerance)
        );
        assert!(!json("[1]").is_close(&json("[1.1]"), tolerance));
        assert!(!json("[1, 2]").is_close(&json("[1]"), tolerance));
        assert!(!json("\"1\"").is_close(&json("1"), tolerance));
        assert!(!Value::NotANumber.is_close(&Value::NotANumber, tolerance));
        let large = Value::shifted(true, 3, 300);
        assert!(large.is_close(&Value::float(-3.0 * 2.0_f64.powi(300)), Tolerance::new(0.0, 0.0).unwrap()));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(value) = Value::read(&bytes) {
                prop_assert!(value.to_string().len() < 1000);
            }
        }

        #[test]
        fn whole_floats_equal_their_integers(number in any::<i32>(), shift in 0_u32..900) {
            let float = f64::from(number) * 2.0_f64.powi(shift as i32);
            let integer = Value::shifted(number < 0, u64::from(number.unsigned_abs()), shift);
            prop_assert!(Value::float(float).equals(&integer));
        }
    }
}
