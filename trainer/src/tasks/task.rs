//! One task.

use std::num::NonZeroU32;

use rltrain_executor::{Test, ValueComparison};
use rltrain_rewards::{Expected, Language};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::python_value::PythonValue;
use crate::facts::TaskFacts;

/// A program to write, and the tests that judge it. Made by [`TaskSet::load`](super::TaskSet::load); read by
/// prompts, the executor and rewards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Name of the task, unique within its file. It appears in logs and in the journal of samples.
    pub id: String,
    /// What the program must do, edge cases included, in words.
    pub prompt: String,
    /// What every program begins with and the model goes on from: the first line of a function, such as `def double(n):`, or
    /// several lines, with imports and a docstring. It ends in no space or newline. Absent where the model writes the whole program.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub signature: String,
    /// What tests call: the name of a function, or an expression such as `Solution().twoSum`. Absent for a program that reads
    /// stdin.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub entry_point: String,
    /// A whole program that begins with the signature and passes every test. Training never sees it; it proves that
    /// the tests can be passed. Absent where none is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reference: String,
    /// Tests, usually `assert double(2) == 4`, that a prompt may show to the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub public_tests: Vec<Test>,
    /// Tests that decide whether an attempt is right. The model never sees them. At least one.
    #[schemars(length(min = 1))]
    pub hidden_tests: Vec<Test>,
    /// What programs are written in. Default `python`. It must be what the recipe's runtime runs.
    #[serde(default, skip_serializing_if = "is_python")]
    pub language: Language,
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
    /// Where the task comes from, if `rltrain tasks multiply` made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// What the model writes behind the signature: the rest of the program, or insertions that make the program of the signature.
    /// Default `rest`.
    #[serde(default, skip_serializing_if = "Answer::is_rest")]
    pub answer: Answer,
}

/// What the model writes behind the signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The rest of the program.
    #[default]
    Rest,
    /// Insertions: `@ N` on a line of its own, and then lines that begin with `+` and go behind line N of what is there. Python only.
    Insertions,
}

impl Answer {
    fn is_rest(&self) -> bool {
        *self == Answer::Rest
    }
}

/// Tests on inputs of one size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestLevel {
    /// How much the level counts, from 1.
    pub weight: NonZeroU32,
    /// Tests, as in `hidden_tests`. At least one.
    #[schemars(length(min = 1))]
    pub tests: Vec<Test>,
}

/// What tests that the model writes are tried on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestedPrograms {
    /// A program that they must accept.
    pub right: String,
    /// Programs that they should not. At least one.
    #[schemars(length(min = 1))]
    pub wrong: Vec<String>,
}

/// What a variant of a task was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Id of the task.
    pub task: String,
    /// What was done to it, in this order, such as `add 3` or `induction`.
    pub transforms: Vec<String>,
}

fn is_python(language: &Language) -> bool {
    *language == Language::Python
}

impl Task {
    /// Names of the keys of a task file, in the order of the fields. All but `id`, `prompt` and `hidden_tests` may be absent.
    pub const KEYS: [&str; 14] = [
        "id",
        "prompt",
        "signature",
        "entry_point",
        "reference",
        "public_tests",
        "hidden_tests",
        "language",
        "expected",
        "before",
        "levels",
        "tested",
        "origin",
        "answer",
    ];

    /// Public and hidden tests, public ones first.
    pub fn all_tests(&self) -> impl Iterator<Item = &Test> {
        self.public_tests.iter().chain(&self.hidden_tests)
    }

    /// A program that passes every test, if one is known.
    pub fn reference(&self) -> Option<&str> {
        Some(self.reference.as_str()).filter(|reference| !reference.is_empty())
    }

    /// The task as rewards see it, with what is known from running its own programs.
    pub fn for_rewards<'a>(&'a self, language: Language, facts: &'a TaskFacts) -> rltrain_rewards::Task<'a> {
        rltrain_rewards::Task {
            id: &self.id,
            prompt: &self.prompt,
            signature: &self.signature,
            entry_point: &self.entry_point,
            reference: self.reference(),
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
            ("language", task.language.name().into()),
            ("public_tests", minijinja::Value::from_iter(task.public_tests.iter().map(shown))),
            ("before", task.before.as_deref().unwrap_or_default().into()),
        ])
    }
}

/// A test as a prompt shows it: statements as they are, a call as the assertion that says the same in Python, input and output
/// under each other, a suite's source.
pub fn shown(test: &Test) -> String {
    match test {
        Test::Statements(source) => source.clone(),
        Test::Call(call) => {
            let positional = call.arguments.iter().map(|value| PythonValue::from(value).to_string());
            let named =
                call.keywords.iter().map(|(name, value)| format!("{name}={}", PythonValue::from(value)));
            let arguments: Vec<String> = positional.chain(named).collect();
            let call_text = format!("{}({})", call.function, arguments.join(", "));
            match call.compare {
                // What a function of its own accepts is not said by the expected value.
                ValueComparison::Custom(_) => call_text,
                _ => format!("assert {call_text} == {}", PythonValue::from(&call.expected)),
            }
        }
        Test::Stdin(script) => {
            format!("Input:\n{}\nOutput:\n{}", script.stdin.trim_end(), script.stdout.trim_end())
        }
        Test::Suite(suite) => suite.source.clone(),
        Test::Property(_) => test.title().into_owned(),
        Test::Differential(differential) => shown(&differential.test),
    }
}
