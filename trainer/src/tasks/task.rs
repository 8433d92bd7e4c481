//! One task.

use std::num::NonZeroU32;

use rltrain_rewards::{Expected, Language};
use serde::{Deserialize, Serialize};

use crate::facts::TaskFacts;

/// A function to write, and the tests that judge it. Made by [`TaskSet::load`](super::TaskSet::load); read by
/// prompts, the executor and rewards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Name of the task, unique within its file. It appears in logs and in the journal of samples.
    pub id: String,
    /// What the function must do, edge cases included, in words.
    pub prompt: String,
    /// First line of the function: one line that ends in a colon, such as `def double(n):`. The model goes on
    /// from it.
    pub signature: String,
    /// Name of the function.
    pub entry_point: String,
    /// A whole program that begins with the signature and passes every test. Training never sees it; it proves that
    /// the tests can be passed.
    pub reference: String,
    /// Python statements, usually `assert double(2) == 4`, that a prompt may show to the model. At least one.
    pub public_tests: Vec<String>,
    /// Python statements that decide whether an attempt is right. The model never sees them. At least one.
    pub hidden_tests: Vec<String>,
    /// Answers that are not tests, for the rewards `output_prediction`, `trace_prediction`, `function_calls` and
    /// `structured_output`. The model never sees them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Expected>,
    /// For a task that changes a program: the program before the change, for the reward `repair`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Tests on inputs of growing size, for the reward `efficiency`. Only attempts that pass the hidden tests are held to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<TestLevel>,
    /// For a task that asks for tests: the programs that they have to tell apart, for the reward `written_tests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<TestedPrograms>,
}

/// Tests on inputs of one size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestLevel {
    /// How much the level counts, from 1.
    pub weight: NonZeroU32,
    /// Python statements, as in [`Task::hidden_tests`]. At least one.
    pub tests: Vec<String>,
}

/// What tests that the model writes are tried on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestedPrograms {
    /// A program that they must accept.
    pub right: String,
    /// Programs that they should not. At least one.
    pub wrong: Vec<String>,
}

impl Task {
    /// Names of the keys of a task file, in the order of the fields; those from `expected` on may be absent.
    pub const KEYS: [&str; 11] = [
        "id",
        "prompt",
        "signature",
        "entry_point",
        "reference",
        "public_tests",
        "hidden_tests",
        "expected",
        "before",
        "levels",
        "tested",
    ];

    /// Public and hidden tests, public ones first.
    pub fn all_tests(&self) -> impl Iterator<Item = &String> {
        self.public_tests.iter().chain(&self.hidden_tests)
    }

    /// The task as rewards see it, with what is known from running its own programs.
    pub fn for_rewards<'a>(&'a self, language: Language, facts: &'a TaskFacts) -> rltrain_rewards::Task<'a> {
        rltrain_rewards::Task {
            id: &self.id,
            prompt: &self.prompt,
            signature: &self.signature,
            entry_point: &self.entry_point,
            reference: Some(&self.reference),
            reference_run: facts.reference_run,
            levels: &facts.levels,
            language,
            expected: self.expected.as_ref(),
            ..rltrain_rewards::Task::default()
        }
    }
}

/// A task as templates see it. The reference and the hidden tests are left out, so that no prompt can give them
/// away.
impl From<&Task> for minijinja::Value {
    fn from(task: &Task) -> minijinja::Value {
        minijinja::Value::from_pairs([
            ("id", minijinja::Value::from(task.id.as_str())),
            ("prompt", task.prompt.as_str().into()),
            ("signature", task.signature.as_str().into()),
            ("entry_point", task.entry_point.as_str().into()),
            ("public_tests", minijinja::Value::from_iter(task.public_tests.iter().map(String::as_str))),
            ("before", task.before.as_deref().unwrap_or_default().into()),
        ])
    }
}
