//! One row of a published file, and what is found where something else was wanted.

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

/// Why a row is no task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RowError {
    /// It is no row of the format.
    Malformed {
        /// The key at fault.
        key: String,
        /// What was found and wanted.
        message: String,
    },
    /// It is one, and its tests cannot be run here.
    LeftOut(String),
}

impl RowError {
    pub(super) fn malformed(key: &str, message: impl Into<String>) -> RowError {
        RowError::Malformed { key: key.to_owned(), message: message.into() }
    }
}

/// A JSON object by its keys.
pub(super) struct Row<'a> {
    object: &'a Map<String, Json>,
}

/// What a value is, in words.
pub(super) fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

/// What is at `key` of an object, as the end of a sentence that begins with "found".
fn found(json: Option<&Json>) -> &'static str {
    json.map_or("no such key", kind)
}

impl<'a> Row<'a> {
    pub(super) fn new(object: &'a Map<String, Json>) -> Row<'a> {
        Row { object }
    }

    /// What is at a key, null and absence being the same.
    pub(super) fn get(&self, key: &str) -> Option<&'a Json> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// The text at a key.
    pub(super) fn text(&self, key: &str) -> Result<&'a str, RowError> {
        let value = self.get(key);
        value.and_then(Json::as_str).ok_or_else(|| self.wanted(key, "a text"))
    }

    /// The text at a key that may be absent.
    pub(super) fn optional_text(&self, key: &str) -> Result<Option<&'a str>, RowError> {
        self.get(key).map(|_| self.text(key)).transpose()
    }

    /// The texts at a key that may be absent; one text stands for itself.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<&'a str>, RowError> {
        let items = match self.get(key) {
            None => return Ok(Vec::new()),
            Some(Json::String(text)) => return Ok(vec![text]),
            Some(Json::Array(items)) => items,
            Some(_) => return Err(self.wanted(key, "a list of texts")),
        };
        let text = |item: &'a Json| item.as_str().ok_or_else(|| self.wanted(key, "a list of texts"));
        items.iter().map(text).collect()
    }

    /// The JSON at a key: itself, or what a text there holds.
    pub(super) fn embedded(&self, key: &str) -> Result<Cow<'a, Json>, RowError> {
        match self.get(key) {
            Some(Json::String(text)) => {
                let refuse = |error| {
                    RowError::malformed(
                        key,
                        format!("`{key}`: found a text that is not JSON ({error}), wanted JSON"),
                    )
                };
                serde_json::from_str(text).map(Cow::Owned).map_err(refuse)
            }
            Some(other) => Ok(Cow::Borrowed(other)),
            None => Err(self.wanted(key, "JSON")),
        }
    }

    /// The name of a row at the first of `keys` that it has, a number or a text; a number alone gets `prefix` before it.
    pub(super) fn id(&self, keys: &[&str], prefix: &str) -> Result<String, RowError> {
        let at = |key: &&str| self.get(key);
        match keys.iter().find_map(at) {
            Some(Json::String(text)) if text.chars().all(|c| c.is_ascii_digit()) => {
                Ok(format!("{prefix}/{text}"))
            }
            Some(Json::String(text)) => Ok(text.clone()),
            Some(Json::Number(number)) => Ok(format!("{prefix}/{number}")),
            _ => Err(self.wanted(keys[0], "a name or a number")),
        }
    }

    /// An error that says what is at `key` instead of what was wanted.
    pub(super) fn wanted(&self, key: &str, wanted: &str) -> RowError {
        RowError::malformed(key, format!("`{key}`: found {}, wanted {wanted}", found(self.object.get(key))))
    }
}
