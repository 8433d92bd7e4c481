//! Cross entropy of the tasks' reference solutions, as the policy would have written them.

mod config;

pub use config::{SupervisedConfig, SupervisedMode};

use crate::batch::Batch;
use crate::environment::Environment;
use crate::policy::{Policy, PolicyError};
use crate::recipe::Recipe;
use crate::rng::{Stream, uniform};
use crate::rollout::{Completion, Finish, Group};
use crate::tasks::{Answer, Task, edits};

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
    for (row, place) in tasks.iter().enumerate() {
        groups.push(group(policy, environment, recipe, (row, *place))?);
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
    (row, place): (usize, usize),
) -> Result<Group, PolicyError> {
    let (prompt, tokens, text) = solution(policy, environment, recipe, (row, place))?;
    let logprobs = vec![0.0; tokens.len()];
    let completion = Completion { tokens, logprobs, text, finish: Finish::Stop, ..Completion::default() };
    Ok(Group { task: place, prompt, completions: vec![completion] })
}

/// Token ids of the prompt of the task at `place`, and of its reference as the policy would have written it, with their text. `row` tells
/// tasks of a step apart.
///
/// # Errors
///
/// If the tokenizer refuses a text.
pub fn solution(
    policy: &Policy,
    environment: &Environment,
    recipe: &Recipe,
    (row, place): (usize, usize),
) -> Result<(Vec<i64>, Vec<i64>, String), PolicyError> {
    let (task, tokenizer) = (&environment.tasks[place], &policy.tokenizer);
    let prompt_text = environment.prompter.text(task, tokenizer)?;
    let text = answer(task, recipe, [environment.tasks_drawn, row as u64]);
    // A token that reaches over the border would not be where sampling puts it.
    let (prompt, mut tokens) = tokenizer.encode_with_prompt(&prompt_text, &text)?;
    if recipe.rollout.stop.is_empty() {
        tokens.extend(tokenizer.stop_ids.first());
    }
    Ok((prompt, tokens, text))
}

/// What follows the signature, and what ends it: the recipe's first stop text if it has one, else the model's own end. `visit` is what
/// insertions are drawn by.
fn answer(task: &Task, recipe: &Recipe, visit: [u64; 2]) -> String {
    let end = recipe.rollout.stop.first().map_or("", String::as_str);
    let insertions = match task.answer {
        Answer::Rest => None,
        Answer::Insertions => insertions(task, recipe.seed, visit),
    };
    let body = insertions.unwrap_or_else(|| {
        task.reference.strip_prefix(&task.signature).unwrap_or(&task.reference).trim_end().to_owned()
    });
    format!("{body}{end}")
}

/// Insertions that make the reference, other ones at every visit.
fn insertions(task: &Task, seed: u64, [drawn, row]: [u64; 2]) -> Option<String> {
    let mut count = 0;
    let draw = |bound: usize| {
        count += 1;
        (uniform(seed, Stream::EditSequence, &[drawn, row, count]) * bound as f64) as usize
    };
    edits::sequence(&task.signature, &task.reference, draw).map(|insertions| edits::text(&insertions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::program;

    /// What is taught is what makes the reference when the model has written it.
    #[test]
    fn insertions_are_others_at_every_visit_and_make_the_reference() {
        let reference =
            "def f(xs):\n    a = 0\n    b = 1\n    for x in xs:\n        a += x\n    return a * b\n";
        let task = Task {
            signature: "def f(xs):".to_owned(),
            reference: reference.to_owned(),
            answer: Answer::Insertions,
            ..Task::default()
        };
        let answers: Vec<String> = (0..8).map(|row| insertions(&task, 3, [16, row]).unwrap()).collect();
        assert!(answers.iter().any(|answer| *answer != answers[0]), "{answers:?}");
        for answer in &answers {
            assert_eq!(program(&task, answer), reference);
        }
        // What is no insertion is judged as it is.
        assert_eq!(program(&task, "\n    return 0"), "def f(xs):\n    return 0\n");
    }
}
