//! Proposals as prompts.

use std::borrow::Cow;

use minijinja::{Environment, UndefinedBehavior, Value, context};
use rltrain_executor::Verdict;

use super::config::SearchConfig;
use super::proposal::{Ask, Node, Proposal};
use super::self_edit::comment;
use crate::episode::{EpisodeConfig, feedback};
use crate::eval::Examinee;
use crate::policy::PolicyError;
use crate::recipe::Recipe;
use crate::tasks::Task;

const PROMPT: &str = "prompt of a search";
const CRITIQUE: &str = "critique of a search";
const DIRECTIONS: &str = "request for directions of a search";
const QUESTION: &str = "question of a search";

/// What is said to the model.
pub(super) struct Speaker<'a> {
    templates: Environment<'static>,
    examinee: Examinee<'a>,
    episode: &'a EpisodeConfig,
}

impl<'a> Speaker<'a> {
    /// Compiles the templates.
    ///
    /// # Errors
    ///
    /// If one is not valid minijinja.
    pub(super) fn new(
        examinee: &Examinee<'a>,
        recipe: &'a Recipe,
        config: &SearchConfig,
    ) -> Result<Speaker<'a>, PolicyError> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        let all = [
            (PROMPT, &config.prompt),
            (CRITIQUE, &config.orps.critique),
            (DIRECTIONS, &config.scattered_forest.ask),
            (QUESTION, &config.question),
        ];
        for (what, source) in all {
            templates
                .add_template_owned(what, source.clone())
                .map_err(|source| PolicyError::Template { what, source })?;
        }
        Ok(Speaker { templates, examinee: *examinee, episode: &recipe.episode })
    }

    /// Token ids that a proposal is asked with.
    pub(super) fn prompt(
        &self,
        task: &Task,
        nodes: &[Node],
        proposal: &Proposal,
    ) -> Result<Vec<i64>, PolicyError> {
        let (prompter, tokenizer) = (&self.examinee.environment.prompter, &self.examinee.policy.tokenizer);
        let seen = revealed(task, proposal.revealed);
        if proposal.is_plain() {
            return prompter.prompt(&seen, tokenizer);
        }
        let parent = proposal.parent.map(|parent| self.exhibit(&seen, &nodes[parent]));
        let texts = |all: &[String]| Value::from_iter(all.iter().map(String::as_str));
        let said = context! {
            task => &*seen,
            prompt => prompter.user(&seen)?,
            programs => Value::from_iter(parent),
            direction => proposal.direction.as_str(),
            modules => texts(&proposal.modules),
            lessons => texts(&proposal.lessons),
        };
        match proposal.ask {
            Ask::Program => {
                let user = self.render(PROMPT, said)?;
                tokenizer.encode_prompt(&prompter.text_saying(&seen, &user, tokenizer)?)
            }
            Ask::Critique => self.words(&self.render(CRITIQUE, said)?),
            Ask::Directions => self.words(&self.render(DIRECTIONS, said)?),
        }
    }

    /// Token ids of the question which of `outputs` is right for an input.
    pub(super) fn question(
        &self,
        task: &Task,
        input: &str,
        outputs: &[&str],
    ) -> Result<Vec<i64>, PolicyError> {
        let prompt = self.examinee.environment.prompter.user(task)?;
        let outputs = Value::from_iter(outputs.iter().copied());
        self.words(&self.render(QUESTION, context! { task => task, prompt, input, outputs })?)
    }

    /// Token ids of a message that is answered in words.
    fn words(&self, user: &str) -> Result<Vec<i64>, PolicyError> {
        let tokenizer = &self.examinee.policy.tokenizer;
        tokenizer.encode_prompt(&tokenizer.chat(user)?)
    }

    /// A program as templates see it; `task` has the tests that may be told of.
    fn exhibit(&self, task: &Task, node: &Node) -> Value {
        let tests = &task.public_tests;
        let verdict = node.verdict.as_ref().map(|verdict| first_tests(verdict, tests.len()));
        let most = self.episode.feedback_characters.get();
        let feedback = verdict
            .as_ref()
            .map(|verdict| feedback(self.episode.feedback, verdict, tests, &node.program, most));
        let comment = verdict.as_ref().map(|verdict| comment(verdict, &node.program));
        context! {
            program => node.program.as_str(), feedback => feedback.unwrap_or_default(), comment => comment.unwrap_or_default(),
        }
    }

    fn render(&self, what: &'static str, said: Value) -> Result<String, PolicyError> {
        self.templates
            .get_template(what)
            .and_then(|template| template.render(said))
            .map_err(|source| PolicyError::Template { what, source })
    }
}

/// The task with its first public tests alone, if not all of them are shown.
fn revealed(task: &Task, revealed: Option<usize>) -> Cow<'_, Task> {
    match revealed.filter(|count| *count < task.public_tests.len()) {
        None => Cow::Borrowed(task),
        Some(count) => Cow::Owned(Task { public_tests: task.public_tests[..count].to_vec(), ..task.clone() }),
    }
}

/// A verdict of the public tests, as if the first `count` were all of them.
fn first_tests(verdict: &Verdict, count: usize) -> Verdict {
    let tests: Vec<_> = verdict.tests.iter().take(count).cloned().collect();
    Verdict { public: tests.len(), tests, ..verdict.clone() }
}
