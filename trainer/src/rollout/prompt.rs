//! A task as the model sees it: chat-templated text that ends inside the answer.

use minijinja::{Environment, context};

use crate::episode::EpisodeConfig;
use crate::policy::{PolicyError, Tokenizer};
use crate::tasks::{Task, TasksConfig};

/// Renders prompts of tasks, and replies to attempts at them. Made once per run from the recipe's three templates.
pub struct Prompter {
    templates: Environment<'static>,
}

const USER: &str = "task prompt";
const PREFILL: &str = "task prefill";
const REPLY: &str = "reply of an episode";

impl Prompter {
    /// Compiles the templates.
    ///
    /// # Errors
    ///
    /// If one is not valid minijinja.
    pub fn new(config: &TasksConfig, episode: &EpisodeConfig) -> Result<Prompter, PolicyError> {
        let mut templates = Environment::new();
        // A misspelt field of `task` is an error, not an empty string in every prompt.
        templates.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        for (what, source) in [(USER, &config.prompt), (PREFILL, &config.prefill), (REPLY, &episode.reply)] {
            templates
                .add_template_owned(what, source.clone())
                .map_err(|source| PolicyError::Template { what, source })?;
        }
        Ok(Prompter { templates })
    }

    /// Token ids of the whole prompt: the user message in the model's chat format, and the beginning of the answer
    /// that the model has to continue. Encoded as one text, so that tokens merge across the border as they would in
    /// training data.
    ///
    /// # Errors
    ///
    /// If a template names a field that a task does not have, or the tokenizer refuses the text.
    pub fn prompt(&self, task: &Task, tokenizer: &Tokenizer) -> Result<Vec<i64>, PolicyError> {
        tokenizer.encode_prompt(&self.text(task, tokenizer)?)
    }

    /// The text that [`Prompter::prompt`] encodes.
    ///
    /// # Errors
    ///
    /// As [`Prompter::prompt`].
    pub fn text(&self, task: &Task, tokenizer: &Tokenizer) -> Result<String, PolicyError> {
        self.text_saying(task, &self.user(task)?, tokenizer)
    }

    /// What the user says of a task.
    ///
    /// # Errors
    ///
    /// If the template names a field that a task does not have.
    pub fn user(&self, task: &Task) -> Result<String, PolicyError> {
        self.render(USER, task, "")
    }

    /// As [`Prompter::text`], with `user` in place of what the user says of a task.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn text_saying(&self, task: &Task, user: &str, tokenizer: &Tokenizer) -> Result<String, PolicyError> {
        let prefill = self.render(PREFILL, task, "")?;
        // A base model knows no chat: it goes on from a text.
        if user.trim().is_empty() {
            return Ok(prefill);
        }
        Ok(tokenizer.chat(user)? + &prefill)
    }

    /// Token ids of what comes between a turn, whose last token is `last`, and the next one: the end of the model's message
    /// as far as it did not write it itself, the user's message with `feedback`, and the beginning of the next answer.
    /// Nothing that the model wrote is encoded again.
    ///
    /// # Errors
    ///
    /// As [`Prompter::prompt`], or if the model's chat template has no room for an earlier answer.
    pub fn reply(
        &self,
        task: &Task,
        feedback: &str,
        last: Option<&i64>,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<i64>, PolicyError> {
        let user = self.render(REPLY, task, feedback)?;
        let text = tokenizer.chat_reply(&user)? + &self.render(PREFILL, task, "")?;
        let mut tokens = tokenizer.encode(&text)?;
        if last.is_some_and(|last| tokenizer.stop_ids.contains(last)) && tokens.first() == last {
            tokens.remove(0);
        }
        Ok(tokens)
    }

    fn render(&self, what: &'static str, task: &Task, feedback: &str) -> Result<String, PolicyError> {
        self.templates
            .get_template(what)
            .and_then(|template| template.render(context! { task => task, feedback => feedback }))
            .map_err(|source| PolicyError::Template { what, source })
    }
}
