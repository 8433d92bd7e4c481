//! Whether tasks can be used as a recipe means to.

use rltrain_executor::Runtime;
use rltrain_executor::process::Language as Native;
use rltrain_rewards::Language;

use super::error::{TasksError, Unfit};
use super::{Task, TaskSet};
use crate::facts::language;
use crate::recipe::Recipe;

/// What runs programs in a language where a recipe says nothing else; `None` if nothing does.
pub fn runtime_for(language: Language) -> Option<Runtime> {
    Some(match language {
        Language::Python => Runtime::Python315,
        Language::JavaScript => Runtime::JavaScript,
        Language::Ruby => Runtime::Ruby,
        Language::C => Runtime::Native(Native::C),
        Language::Cpp => Runtime::Native(Native::Cpp),
        Language::Rust => Runtime::Native(Native::Rust),
        Language::Go => Runtime::Native(Native::Go),
        Language::Java => Runtime::Native(Native::Java),
        Language::Sql => return None,
    })
}

/// Refuses tasks that the recipe cannot be run with: of another language than its runtime's, without public tests where attempts
/// of several turns are told of them, without a reference where references are learnt from.
///
/// # Errors
///
/// With the first such task, and what to do about it.
pub fn fit(recipe: &Recipe, set: &TaskSet) -> Result<(), TasksError> {
    let (runtime, turns) = (recipe.executor.runtime, recipe.episode.turns.get());
    // No grammar knows the languages of the other runtimes, and no task says that it is in one.
    let spoken = language(runtime);
    let refuse = |task: &Task, what: String, help: &'static str| {
        let (path, task) = (set.path().to_owned(), task.id.clone());
        Err(TasksError::Unfit(Unfit { path, task, what, help }))
    };
    for task in set {
        if spoken.is_some_and(|spoken| spoken != task.language) {
            let (name, runtime) = (task.language.name(), runtime.name());
            let what = format!("is in `{name}`, which the runtime `{runtime}` does not run");
            return refuse(task, what, "set `executor.runtime`, or leave tasks in other languages out");
        }
        if turns > 1 && task.public_tests.is_empty() {
            let what = "has no public test, and `[episode]` tells the model of public tests".to_owned();
            return refuse(task, what, "set `episode.turns = 1`, or give every task a public test");
        }
        if recipe.supervised.coefficient > 0.0 && task.reference().is_none() {
            let what = "has no reference, and `[supervised]` learns from references".to_owned();
            return refuse(task, what, "set `supervised.coefficient = 0`, or leave such tasks out");
        }
    }
    Ok(())
}
