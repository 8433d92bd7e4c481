//! Rewards that can never score an attempt of the recipe, because nothing provides what they look at.

use rltrain_executor::ExecutorConfig;
use rltrain_rewards::{Expected, Input, Language, RewardSet};

use super::Recipe;
use super::problems::Problems;
use crate::facts::language;
use crate::tasks::{Task, TaskSet};

/// What a task has to have for a reward, and how a message says so.
struct Key {
    has: fn(&Task) -> bool,
    name: &'static str,
}

/// Reports such rewards. The paths of `recipe` are absolute; a task file that cannot be read is reported by who needs it.
pub(super) fn check(recipe: &Recipe, problems: &mut Problems<'_>) {
    let Ok(rewards) = RewardSet::build(&recipe.rewards) else { return };
    let mut tasks = None;
    for (reward, input) in rewards.inputs() {
        by_runtime(&recipe.executor, reward, input, problems);
        if let Some(key) = key(input) {
            let tasks: &Option<TaskSet> =
                tasks.get_or_insert_with(|| TaskSet::load(&recipe.tasks.train).ok());
            let is_there = tasks.as_ref().is_none_or(|tasks| tasks.iter().any(key.has));
            let message = format!(
                "`{reward}` can never score: no task of `{}` has the key `{}`",
                recipe.tasks.train.display(),
                key.name
            );
            let help = "take the reward out, or give tasks the key; recipes/README.md describes task files";
            problems.require(is_there, &[&format!("rewards.{reward}")], message, help);
        }
    }
}

/// Reports what the runtime does not provide.
fn by_runtime(executor: &ExecutorConfig, reward: &str, input: Input, problems: &mut Problems<'_>) {
    let runtime = executor.runtime;
    let spoken = language(runtime);
    let (holds, missing, help) = match input {
        Input::ReferenceFuel => (
            executor.counts_fuel(),
            "counts no fuel",
            "take `memory`, or a runtime in WebAssembly, here or on servers of the kind `rltrain`",
        ),
        Input::ReferenceMemory => (
            executor.measures_memory(),
            "measures no memory",
            "take the reward out, or servers of the kind `rltrain`",
        ),
        Input::Grammar => (
            spoken.is_some(),
            "runs programs that no grammar is there for",
            "take a reward that looks at the verdict alone",
        ),
        Input::Python => (
            spoken == Some(Language::Python),
            "does not run Python, which is what the reward reads",
            "take the reward out",
        ),
        _ => return,
    };
    let by = if executor.measures_memory() {
        format!("the runtime `{}`", runtime.name())
    } else {
        "a server of the kind `sandbox-fusion`".to_owned()
    };
    let message = format!("`{reward}` can never score: {by} {missing}");
    let keys = [&*format!("rewards.{reward}"), "executor.remote.kind", "executor.runtime"];
    problems.require(holds, &keys, message, help);
}

/// The key of a task that provides this, if one does.
fn key(input: Input) -> Option<Key> {
    fn expects(task: &Task, part: fn(&Expected) -> bool) -> bool {
        task.expected.as_ref().is_some_and(part)
    }
    Some(match input {
        Input::Before => Key { has: |task| task.before.is_some(), name: "before" },
        Input::WrittenTests => Key { has: |task| task.tested.is_some(), name: "tested" },
        Input::Output => {
            Key { has: |task| expects(task, |expected| expected.output.is_some()), name: "expected.output" }
        }
        Input::Trace => {
            Key { has: |task| expects(task, |expected| expected.trace.is_some()), name: "expected.trace" }
        }
        Input::Calls => {
            Key { has: |task| expects(task, |expected| expected.calls.is_some()), name: "expected.calls" }
        }
        Input::Structure => Key {
            has: |task| expects(task, |expected| expected.structure.is_some()),
            name: "expected.structure",
        },
        _ => return None,
    })
}
