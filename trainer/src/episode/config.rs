//! `[episode]`: attempts of several turns.

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[episode]`: attempts of several turns. After each turn the public tests judge the program, and the model is told and tries
/// again; the hidden tests judge the last program alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EpisodeConfig {
    /// Most turns of an attempt. Default 1: one program, and nothing is said about it. `rollout.max_tokens` is for each turn;
    /// a turn that it cuts off is the last one, and so is one behind which the model has no positions left.
    pub turns: NonZeroUsize,
    /// What the model is told of a program: `none`, `verdict` (how many public tests it passes), `error-line` (also the
    /// exception, with the line that raised it) or `failing-assert` (also the first public test that it does not pass, and
    /// what it gave). Default `failing-assert`. Nothing of a hidden test is ever in it.
    pub feedback: FeedbackLevel,
    /// Whether an attempt ends with the first program that passes all public tests. Default true.
    pub stop_on_public_pass: bool,
    /// Longest feedback, in characters; of a longer one the middle is left out. Default 500.
    pub feedback_characters: NonZeroUsize,
    /// What the user says after a turn: a minijinja template over `task`, as `tasks.prompt`, and `feedback`, a text that is
    /// empty at level `none`. By default the feedback and a request to write the function anew. It goes through the model's
    /// chat template, and the next answer begins with `tasks.prefill`.
    pub reply: String,
}

/// What the model is told of a program, each level with all that the one before it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FeedbackLevel {
    /// Nothing.
    None,
    /// Whether it loads, and how many public tests it passes.
    Verdict,
    /// The exception, with the line that raised it.
    ErrorLine,
    /// The first public test that it does not pass, and what it gave.
    FailingAssert,
}

impl Default for EpisodeConfig {
    fn default() -> EpisodeConfig {
        const fn nonzero(number: usize) -> NonZeroUsize {
            NonZeroUsize::new(number).expect("the numbers below are not zero")
        }
        EpisodeConfig {
            turns: const { nonzero(1) },
            feedback: FeedbackLevel::FailingAssert,
            stop_on_public_pass: true,
            feedback_characters: const { nonzero(500) },
            reply: "{% if feedback %}{{ feedback }}\n\n{% endif %}Write the whole function again, corrected.{% if task.signature %} \
                    It begins with `{{ task.signature }}`.{% endif %}"
                .to_owned(),
        }
    }
}
