//! Cross entropy of the tasks' reference solutions, as the policy would have written them.

mod config;

pub use config::{SupervisedConfig, SupervisedMode};

use crate::batch::Batch;
use crate::environment::Environment;
use crate::policy::{Policy, PolicyError};
use crate::recipe::Recipe;
use crate::rollout::{Completion, Finish, Group};
use crate::tasks::Task;

/// The references of the tasks at these places as a batch whose advantage is the recipe's coefficient; `None` if references do
/// not count, or there are none.
///
/// # Errors
///
/// If the tokenizer refuses a text.
pub fn references(
    policy: &Policy,
    environment: &Environment,
    recipe: &Recipe,
    tasks: &[usize],
) -> Result<Option<Batch>, PolicyError> {
    let coefficient = recipe.supervised.coefficient;
    if coefficient == 0.0 || tasks.is_empty() {
        return Ok(None);
    }
    let mut groups = Vec::with_capacity(tasks.len());
    for place in tasks {
        groups.push(group(policy, environment, recipe, *place)?);
    }
    let batch = Batch::new(&groups, policy.weights.device());
    let advantages = vec![coefficient; groups.len()];
    Ok(Some(batch.with_advantages(advantages)))
}

/// A group of one attempt: the reference solution.
fn group(
    policy: &Policy,
    environment: &Environment,
    recipe: &Recipe,
    place: usize,
) -> Result<Group, PolicyError> {
    let (prompt, tokens) = solution(policy, environment, recipe, place)?;
    let (logprobs, text) = (vec![0.0; tokens.len()], answer(&environment.tasks[place], recipe));
    let completion = Completion { tokens, logprobs, text, finish: Finish::Stop, ..Completion::default() };
    Ok(Group { task: place, prompt, completions: vec![completion] })
}

/// Token ids of the prompt of the task at `place`, and of its reference as the policy would have written it.
///
/// # Errors
///
/// If the tokenizer refuses a text.
pub fn solution(
    policy: &Policy,
    environment: &Environment,
    recipe: &Recipe,
    place: usize,
) -> Result<(Vec<i64>, Vec<i64>), PolicyError> {
    let (task, tokenizer) = (&environment.tasks[place], &policy.tokenizer);
    let prompt_text = environment.prompter.text(task, tokenizer)?;
    // A token that reaches over the border would not be where sampling puts it.
    let (prompt, mut tokens) = tokenizer.encode_with_prompt(&prompt_text, &answer(task, recipe))?;
    if recipe.rollout.stop.is_empty() {
        tokens.extend(tokenizer.stop_ids.first());
    }
    Ok((prompt, tokens))
}

/// What follows the signature, and what ends it: the recipe's first stop text if it has one, else the model's own end.
fn answer(task: &Task, recipe: &Recipe) -> String {
    let body = task.reference.strip_prefix(&task.signature).unwrap_or(&task.reference).trim_end();
    let end = recipe.rollout.stop.first().map_or("", String::as_str);
    format!("{body}{end}")
}
