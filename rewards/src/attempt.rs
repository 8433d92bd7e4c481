//! What rewards look at: the task, what the model wrote for it, and what came of that.

use rltrain_executor::Verdict;
use serde::{Deserialize, Serialize};

use crate::Expected;
use crate::efficiency::Level;
use crate::history::TaskHistory;
use crate::structure::{Language, ParseOnce};

/// A task, as far as rewards need to know it. Made by the trainer, once for all attempts at the task: the reference is parsed once.
#[derive(Debug, Default)]
pub struct Task<'a> {
    /// Name of the task, unique within its file.
    pub id: &'a str,
    /// What the program must do, in words.
    pub prompt: &'a str,
    /// First line of the function to write; empty if the task asks for a whole program.
    pub signature: &'a str,
    /// Name of the function to write; empty if the task asks for a whole program.
    pub entry_point: &'a str,
    /// A program that passes every test.
    pub reference: Option<&'a str>,
    /// What running the reference took, for the rewards that compare with it.
    pub reference_run: Option<ReferenceRun>,
    /// Levels of difficulty, if the tests have them; empty otherwise.
    pub levels: &'a [Level],
    /// Language of the program and of the reference.
    pub language: Language,
    /// Answers of the task that are not tests.
    pub expected: Option<&'a Expected>,
    /// The syntax tree of the reference, once someone asks for it. Begins as `ParseOnce::default()`.
    pub parsed: ParseOnce,
}

/// What running the reference against the tests of the task took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceRun {
    /// Fuel of the program and all its tests.
    pub fuel: u64,
    /// Most memory held at once, in bytes.
    pub peak_memory_bytes: u64,
}

/// One attempt at a task. Made by the trainer after execution; borrowed, never kept.
///
/// There is a [`Verdict`] in it. A sandbox that failed has none to give, so that an infrastructure failure cannot become a number
/// here: the trainer masks the attempt instead.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// The task.
    pub task: &'a Task<'a>,
    /// The text that the model was given, after the chat template.
    pub prompt: &'a str,
    /// The text that the model wrote.
    pub completion: &'a str,
    /// The program taken from the completion, as it was run.
    pub program: &'a str,
    /// What the tests said about the program.
    pub verdict: &'a Verdict,
    /// How long the completion is, in tokens; `None` where nobody counted.
    pub length: Option<Length>,
    /// Fuel of each of the task's levels that was run, in their order; empty where the task has none.
    pub level_fuel: &'a [u64],
    /// What the same tests said about the program that the attempt changes.
    pub before: Option<&'a Verdict>,
    /// What came of tests that the attempt wrote.
    pub written_tests: Option<WrittenTests>,
    /// What is known of the task from earlier steps.
    pub history: Option<&'a TaskHistory>,
    /// The other attempts at the task in this step, without this one.
    pub siblings: &'a [Sibling<'a>],
    /// The syntax tree of the program, once someone asks for it. Begins as `ParseOnce::default()`.
    pub parsed: ParseOnce,
}

impl<'a> Attempt<'a> {
    /// An attempt of which no more is known than what everybody knows.
    pub fn new(task: &'a Task<'a>, completion: &'a str, program: &'a str, verdict: &'a Verdict) -> Self {
        Self {
            task,
            prompt: task.prompt,
            completion,
            program,
            verdict,
            length: None,
            level_fuel: &[],
            before: None,
            written_tests: None,
            history: None,
            siblings: &[],
            parsed: ParseOnce::default(),
        }
    }
}

/// How long a completion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// Tokens of the completion.
    pub tokens: usize,
    /// Tokens that it could have had.
    pub most: usize,
    /// Whether it was cut off there.
    pub truncated: bool,
}

/// What came of the tests that an attempt wrote, run against programs other than its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenTests {
    /// Whether the reference passes them.
    pub reference_passed: bool,
    /// Wrong programs that fail at least one of them.
    pub caught: usize,
    /// Wrong programs they were run against.
    pub wrong_programs: usize,
}

/// Another attempt at the same task.
#[derive(Clone, Copy, Debug)]
pub struct Sibling<'a> {
    /// Its program.
    pub program: &'a str,
    /// What the tests said about it.
    pub verdict: &'a Verdict,
}
