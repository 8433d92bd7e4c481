//! How long prompts and completions are.

use crate::episode::EpisodeConfig;
use crate::policy::{PolicyError, Tokenizer};
use crate::recipe::Recipe;
use crate::rollout::Prompter;
use crate::tasks::TaskSet;

/// Tokens of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// The prompt's.
    pub prompt: usize,
    /// What follows it: all turns with what the environment says between them.
    pub completion: usize,
}

/// Tokens of the prompts of a task set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TaskLengths {
    /// Number of tasks.
    pub tasks: usize,
    /// The longest prompt.
    pub longest: usize,
    /// The mean prompt.
    pub mean: f64,
}

impl TaskLengths {
    /// Of the prompts of `tasks`.
    ///
    /// # Errors
    ///
    /// If a template fails, or the tokenizer refuses a prompt.
    pub fn of(
        tasks: &TaskSet,
        prompter: &Prompter,
        tokenizer: &Tokenizer,
    ) -> Result<TaskLengths, PolicyError> {
        let mut lengths = Vec::with_capacity(tasks.len());
        for task in tasks.iter() {
            lengths.push(prompter.prompt(task, tokenizer)?.len());
        }
        let (count, sum) = (lengths.len(), lengths.iter().sum::<usize>());
        Ok(TaskLengths {
            tasks: count,
            longest: lengths.into_iter().max().unwrap_or(1),
            mean: sum as f64 / count.max(1) as f64,
        })
    }
}

impl Lengths {
    /// The longest attempt: the longest prompt, every turn at its limit and all that the environment may say, as far as the
    /// model has positions.
    pub fn longest(recipe: &Recipe, tasks: &TaskLengths, max_positions: usize) -> Lengths {
        let said = (recipe.episode.turns.get() - 1) * longest_reply(&recipe.episode);
        let completion = recipe.longest_attempt().saturating_add(said);
        let most = max_positions.saturating_sub(tasks.longest).max(recipe.rollout.max_tokens.get());
        Lengths { prompt: tasks.longest, completion: completion.min(most) }
    }

    /// A mean attempt of `completion` tokens.
    pub fn mean(tasks: &TaskLengths, completion: f64) -> Lengths {
        let rounded = |tokens: f64| (tokens.round() as usize).max(1);
        Lengths { prompt: rounded(tasks.mean), completion: rounded(completion) }
    }
}

/// Most tokens that the environment says after a turn. A token is a character at least.
fn longest_reply(episode: &EpisodeConfig) -> usize {
    episode.feedback_characters.get() + episode.reply.chars().count()
}
