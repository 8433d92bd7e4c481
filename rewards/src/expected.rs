//! Answers that a task states and tests do not: read from the task file, used by the rewards of the same name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a task expects beside its tests. Every part may be absent; the reward that needs it then has nothing to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expected {
    /// For `output_prediction`: the text that the model is asked to predict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// For `trace_prediction`: the lines, from 1, that the program runs, in their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Vec<u32>>,
    /// For `function_calls`: the calls that are wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<Vec<Call>>,
    /// For `structured_output`: the data that is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structure: Option<ExpectedStructure>,
}

/// One call of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Name of the function.
    pub name: String,
    /// Its arguments by name.
    #[serde(default)]
    pub arguments: Map<String, Value>,
}

/// Data in a format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectedStructure {
    /// The format.
    pub format: DataFormat,
    /// Paths that must be there, such as `users[0].name` or `users[*].name`.
    #[serde(default)]
    pub paths: Vec<String>,
    /// The data itself, for a comparison of structure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// How data is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DataFormat {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// TOML.
    Toml,
    /// Comma-separated values, the first row of which names the columns: read as a list of objects of texts.
    Csv,
}
