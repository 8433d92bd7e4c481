//! Reading `config.json`: every key by name and type, and a refusal for values that are not done here.

use serde_json::Value;

use super::error::PolicyError;

/// The file that errors are about, unless they are said to be about another.
pub(super) const CONFIG: &str = "config.json";

/// Keys of the number of layers. Each layer is described in memory before any of its tensors is looked for.
const LAYERS: [&str; 3] = ["num_hidden_layers", "n_layer", "num_layers"];

/// More layers than any model has.
const MOST_LAYERS: i64 = 10_000;

/// The largest other number: products of two stay integers of 64 bits.
const MOST: i64 = i32::MAX as i64;

/// A parsed `config.json`. A key that is `null` is a key that is absent, as in transformers.
#[derive(Clone, Copy)]
pub(super) struct ConfigJson<'a>(pub(super) &'a Value);

impl<'a> ConfigJson<'a> {
    /// The value of `key`, unless it is absent or `null`.
    pub(super) fn value(self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// A table inside this one.
    pub(super) fn table(self, key: &str) -> Option<ConfigJson<'a>> {
        self.value(key).filter(|value| value.is_object()).map(ConfigJson)
    }

    /// A positive integer.
    pub(super) fn count(self, key: &str) -> Result<i64, PolicyError> {
        self.count_if_any(key)?.ok_or_else(|| self.wrong(key, "a positive integer"))
    }

    /// A positive integer, or `default`.
    pub(super) fn count_or(self, key: &str, default: i64) -> Result<i64, PolicyError> {
        Ok(self.count_if_any(key)?.unwrap_or(default))
    }

    /// A positive integer, if the key is there.
    pub(super) fn count_if_any(self, key: &str) -> Result<Option<i64>, PolicyError> {
        let (most, wanted) = if LAYERS.contains(&key) {
            (MOST_LAYERS, "a positive integer up to 10000")
        } else {
            (MOST, "a positive integer of 31 bits")
        };
        let positive = |value: &Value| value.as_i64().filter(|n| *n > 0);
        match self.typed(key, "a positive integer", positive)? {
            Some(found) if found > most => Err(self.wrong(key, wanted)),
            found => Ok(found),
        }
    }

    /// A finite number.
    pub(super) fn number(self, key: &str) -> Result<f64, PolicyError> {
        self.number_if_any(key)?.ok_or_else(|| self.wrong(key, "a number"))
    }

    /// A finite number, or `default`.
    pub(super) fn number_or(self, key: &str, default: f64) -> Result<f64, PolicyError> {
        Ok(self.number_if_any(key)?.unwrap_or(default))
    }

    /// A finite number, if the key is there.
    pub(super) fn number_if_any(self, key: &str) -> Result<Option<f64>, PolicyError> {
        self.typed(key, "a number", Value::as_f64)
    }

    /// `true` or `false`, or `default`.
    pub(super) fn flag_or(self, key: &str, default: bool) -> Result<bool, PolicyError> {
        Ok(self.typed(key, "true or false", Value::as_bool)?.unwrap_or(default))
    }

    /// A text, or `default`.
    pub(super) fn text_or(self, key: &str, default: &'a str) -> Result<&'a str, PolicyError> {
        Ok(self.typed(key, "a text", Value::as_str)?.unwrap_or(default))
    }

    /// Refuses `key` unless it is absent or `false`.
    pub(super) fn refuse_true(self, keys: &[&str]) -> Result<(), PolicyError> {
        keys.iter().try_for_each(|key| match self.flag_or(key, false)? {
            true => Err(self.unsupported(key)),
            false => Ok(()),
        })
    }

    /// Refuses `key` if it is there at all.
    pub(super) fn refuse_any(self, keys: &[&str]) -> Result<(), PolicyError> {
        keys.iter().try_for_each(|key| match self.value(key) {
            Some(_) => Err(self.unsupported(key)),
            None => Ok(()),
        })
    }

    /// That `key` asks for something that is not done here.
    pub(super) fn unsupported(self, key: &str) -> PolicyError {
        PolicyError::Unsupported { file: CONFIG, key: key.to_owned(), found: self.0[key].to_string() }
    }

    fn typed<T>(
        self,
        key: &str,
        wanted: &'static str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, PolicyError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.wrong(key, wanted))
    }

    /// That `key` is missing or has another type than `wanted`.
    fn wrong(self, key: &str, wanted: &'static str) -> PolicyError {
        let found = self.0.get(key).map_or("missing".to_owned(), Value::to_string);
        PolicyError::ConfigKey { file: CONFIG, key: key.to_owned(), wanted, found }
    }
}
