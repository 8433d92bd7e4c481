//! One task.

use serde::{Deserialize, Serialize};

/// A function to write, and the tests that judge it. Made by [`TaskSet::load`](super::TaskSet::load); read by
/// prompts, the executor and rewards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl Task {
    /// Names of the keys of a task file, in the order of the fields.
    pub const KEYS: [&str; 7] =
        ["id", "prompt", "signature", "entry_point", "reference", "public_tests", "hidden_tests"];

    /// Public and hidden tests, public ones first.
    pub fn all_tests(&self) -> impl Iterator<Item = &String> {
        self.public_tests.iter().chain(&self.hidden_tests)
    }

    /// The task as rewards see it.
    pub fn for_rewards(&self) -> rltrain_rewards::Task<'_> {
        rltrain_rewards::Task {
            id: &self.id,
            prompt: &self.prompt,
            signature: &self.signature,
            entry_point: &self.entry_point,
            reference: Some(&self.reference),
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
        ])
    }
}
