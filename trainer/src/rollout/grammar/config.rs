//! `[rollout.grammar]`: completions that are words of a language.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[rollout.grammar]`: completions, from the end of the prompt on, are words of a language, in rollouts and evaluations. The
/// logprobs that are recorded, and that importance ratios compare with, are those of the constrained distribution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrammarConfig {
    /// How `text` is written: `lark`, `json-schema` or `regex`.
    pub notation: GrammarNotation,
    /// The grammar: Lark's notation as llguidance reads it, whose first rule is `start`; a JSON schema; or a regular expression that
    /// the whole completion matches.
    pub text: String,
    /// How tokens are drawn: `mask`, from what is left of the model's next-token distribution, or `asap`, which also learns during
    /// the samples of a prompt how much of what follows a prefix leads to a word, and so comes closer to the model's own
    /// distribution over the language with every sample. With `asap` a sample depends on those of the same prompt that ended
    /// before it, and so on `max_batch`. Default `mask`.
    #[serde(default)]
    pub method: GrammarMethod,
}

/// How a grammar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GrammarNotation {
    /// Lark's context-free grammars.
    Lark,
    /// A JSON schema.
    JsonSchema,
    /// A regular expression.
    Regex,
}

/// How tokens are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GrammarMethod {
    /// From what the grammar leaves of each next-token distribution.
    #[default]
    Mask,
    /// Weighted by how much of what follows is expected to be a word.
    Asap,
}
