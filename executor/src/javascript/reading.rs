//! Takes values out of the sandbox, property by property.
//!
//! Reading a property may run the program's code: getters and proxies. It gains nothing by that: what comes out is compared
//! with something that it has never seen.

use super::abi::{Kind, Raw};
use super::guest::Guest;
use super::value::Value;
use crate::guest::Broken;
use crate::{Cause, Ending, Outcome};

/// Values within one value, counted each time they are met.
const MOST_VALUES: usize = 1_000_000;

/// Deeper nesting is not read: a structure that contains itself has no end.
const MOST_NESTED: usize = 500;

/// `JS_GPN_STRING_MASK` and `JS_GPN_ENUM_ONLY`.
const OWN_ENUMERABLE: i32 = 1 | 1 << 4;

type Read<T> = Result<Result<T, Ending>, Broken>;

/// Returns from the function with an ending.
macro_rules! value_of {
    ($read:expr) => {
        match $read? {
            Ok(value) => value,
            Err(ending) => return Ok(Err(ending)),
        }
    };
}

/// What is left of the bounds.
struct Bounds {
    values: usize,
}

impl Guest {
    /// The value outside the sandbox, or how reading it ended.
    pub(super) fn value(&mut self, raw: Raw) -> Read<Value> {
        self.value_within(raw, 0, &mut Bounds { values: MOST_VALUES })
    }

    fn value_within(&mut self, raw: Raw, depth: usize, bounds: &mut Bounds) -> Read<Value> {
        if depth > MOST_NESTED || bounds.values == 0 {
            return Ok(Err(too_large()));
        }
        bounds.values -= 1;
        Ok(Ok(match raw.kind() {
            Kind::Undefined => Value::Undefined,
            Kind::Null => Value::Null,
            Kind::Boolean(boolean) => Value::Boolean(boolean),
            Kind::Number(number) => Value::Number(number),
            Kind::BigInt => Value::BigInt(self.shown_whole(raw)?),
            Kind::Text => Value::Text(self.text(raw)?.unwrap_or_default()),
            Kind::Symbol => Value::Other("a symbol"),
            Kind::Object => return self.object(raw, depth, bounds),
            Kind::Exception | Kind::Internal => return Err(Broken::Program(Outcome::Crashed)),
        }))
    }

    fn shown_whole(&mut self, raw: Raw) -> Result<String, Broken> {
        Ok(String::from_utf8_lossy(&self.text(raw)?.unwrap_or_default()).into_owned())
    }

    fn object(&mut self, raw: Raw, depth: usize, bounds: &mut Bounds) -> Read<Value> {
        let context = self.context;
        if self.do_call(|functions| &functions.is_function, (context, raw.0))? != 0 {
            return Ok(Ok(Value::Other("a function")));
        }
        if self.do_call(|functions| &functions.is_promise, raw.0)? != 0 {
            return Ok(Ok(Value::Other("a promise")));
        }
        if self.do_call(|functions| &functions.is_regexp, raw.0)? != 0 {
            return Ok(Ok(Value::Other("a regular expression")));
        }
        if self.do_call(|functions| &functions.is_error, raw.0)? != 0 {
            return Ok(Ok(Value::Other("an error")));
        }
        if self.do_call(|functions| &functions.is_date, raw.0)? != 0 {
            return self.date(raw);
        }
        if self.is_array(raw)? {
            return Ok(self.items(raw, depth, bounds)?.map(Value::Array));
        }
        if self.do_call(|functions| &functions.typed_array, raw.0)? >= 0 {
            return Ok(self.items(raw, depth, bounds)?.map(Value::Array));
        }
        let is_map = self.do_call(|functions| &functions.is_map, raw.0)? != 0;
        if is_map || self.do_call(|functions| &functions.is_set, raw.0)? != 0 {
            return self.collection(raw, is_map, depth, bounds);
        }
        self.properties(raw, depth, bounds)
    }

    /// Whether a value is an array, or stands for one.
    fn is_array(&mut self, mut raw: Raw) -> Result<bool, Broken> {
        let context = self.context;
        for _ in 0..MOST_NESTED {
            if raw.kind() != Kind::Object || self.do_call(|functions| &functions.is_proxy, raw.0)? == 0 {
                break;
            }
            raw = self.do_call(|functions| &functions.proxy_target, (context, raw.0)).map(Raw)?;
        }
        Ok(raw.kind() == Kind::Object && self.do_call(|functions| &functions.is_array, raw.0)? > 0)
    }

    fn date(&mut self, raw: Raw) -> Read<Value> {
        let (context, scratch) = (self.context, self.table.scratch);
        if self.do_call(|functions| &functions.to_float, (context, scratch, raw.0))? < 0 {
            return Ok(Err(self.pending()?));
        }
        Ok(Ok(Value::Date(f64::from_bits(self.long(scratch)?))))
    }

    fn items(&mut self, raw: Raw, depth: usize, bounds: &mut Bounds) -> Read<Vec<Value>> {
        let (context, scratch) = (self.context, self.table.scratch);
        if self.do_call(|functions| &functions.length, (context, raw.0, scratch))? < 0 {
            return Ok(Err(self.pending()?));
        }
        let count = self.long(scratch)?;
        if count > bounds.values as u64 {
            return Ok(Err(too_large()));
        }
        let mut items = Vec::new();
        for index in 0..count as u32 {
            let item = self.do_call(|functions| &functions.property_at, (context, raw.0, index)).map(Raw)?;
            let item = value_of!(self.finish(item));
            items.push(value_of!(self.value_within(item, depth + 1, bounds)));
            self.do_call(|functions| &functions.release, (context, item.0))?;
        }
        Ok(Ok(items))
    }

    fn collection(&mut self, raw: Raw, is_map: bool, depth: usize, bounds: &mut Bounds) -> Read<Value> {
        let entries = self.table.internal("entries");
        let list = value_of!(self.call(entries, &[raw]));
        let items = value_of!(self.items(list, depth, bounds));
        if !is_map {
            return Ok(Ok(Value::Set(items)));
        }
        let mut entries = Vec::with_capacity(items.len());
        for item in items {
            if let Value::Array(pair) = item
                && let Ok([key, value]) = <[Value; 2]>::try_from(pair)
            {
                entries.push((key, value));
            }
        }
        Ok(Ok(Value::Map(entries)))
    }

    fn properties(&mut self, raw: Raw, depth: usize, bounds: &mut Bounds) -> Read<Value> {
        let (context, scratch) = (self.context, self.table.scratch);
        let prototype = self.do_call(|functions| &functions.prototype, (context, raw.0)).map(Raw)?;
        let prototype = value_of!(self.finish(prototype));
        let is_plain = prototype.kind() == Kind::Null || prototype == self.table.internal("objectPrototype");
        let parameters = (context, scratch, scratch + 4, raw.0, OWN_ENUMERABLE);
        if self.do_call(|functions| &functions.property_names, parameters)? < 0 {
            return Ok(Err(self.pending()?));
        }
        let (list, count) = (self.number(scratch)?, self.number(scratch + 4)?);
        if count as usize > bounds.values {
            return Ok(Err(too_large()));
        }
        let mut entries = Vec::new();
        for index in 0..count {
            const ENTRY: u32 = 8;
            let atom = self.number(list.saturating_add(index * ENTRY + 4))?;
            let name = self.do_call(|functions| &functions.atom_text, (context, scratch, atom))?;
            let name = if name == 0 { Vec::new() } else { self.read_sized(name)? };
            let value = self.do_call(|functions| &functions.property, (context, raw.0, atom)).map(Raw)?;
            let value = value_of!(self.finish(value));
            entries.push((name, value_of!(self.value_within(value, depth + 1, bounds))));
            self.do_call(|functions| &functions.release, (context, value.0))?;
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Ok(Value::Object { is_plain, entries }))
    }

    /// The pending exception.
    fn pending(&mut self) -> Result<Ending, Broken> {
        let exception = Raw((6_i64) << 32);
        Ok(self.finish(exception)?.err().unwrap_or(Outcome::Raised.into()))
    }
}

fn too_large() -> Ending {
    Ending::because(
        Outcome::Failed,
        Cause::Note(format!("the value has no end, or more than {MOST_VALUES} parts")),
    )
}
