//! `[tasks]`: what is trained on, what is evaluated on, and how the model is asked.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::curriculum::{CurriculumConfig, default_visits};

/// `[tasks]`: the task files and how a task is put to the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TasksConfig {
    /// Task file to train on: JSON lines, one task a line. A relative path is relative to the recipe.
    pub train: PathBuf,
    /// Task file to evaluate on. No task in it may be in `train`; `rltrain tasks verify` compares the two.
    pub heldout: PathBuf,
    /// What the user says to the model: a minijinja template over `task`, whose fields are `id`,
    /// `prompt`, `signature`, `entry_point`, `language`, `public_tests`, and `before`, the program that the task changes, if it does. By
    /// default a request for a Python function, the task's prompt and its signature, if it has one. It goes through the model's
    /// own chat template afterwards; where it is blank, there is no chat, and the model goes on from the prefill alone.
    #[serde(default = "default_prompt")]
    pub prompt: String,
    /// How the model's answer begins: a minijinja template over `task`, that the model goes on from. By default
    /// a code fence and the task's signature. It must end in the signature, without a newline: programs are put
    /// together from the signature and what the model writes next, and tokenizers merge a newline with the
    /// indent that follows it.
    #[serde(default = "default_prefill")]
    pub prefill: String,
    /// File with a prompting scaffold: a minijinja template with the blocks `prompt`, `prefill` and `reply`, each of which may be left
    /// out. They stand for `tasks.prompt`, `tasks.prefill` and `episode.reply`, unless the recipe says these itself; `recipes/prompts`
    /// has some. The file is read with the recipe: what a run began with stays with it. A relative path is relative to the recipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaffold: Option<PathBuf>,
    /// Visits to a task over which its pass rate is counted, for `[tasks.curriculum]` and for groups of different sizes; at least
    /// 1. Default 4. Older ones are of a policy that is no more.
    #[serde(default = "default_visits")]
    pub pass_rate_visits: NonZeroUsize,
    /// Draws tasks by how often they are solved. Absent: every task comes once in each pass over the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curriculum: Option<CurriculumConfig>,
}

fn default_prompt() -> String {
    "Write a Python function that does the following.\n\n{{ task.prompt }}{% if task.signature %}\n\nIt begins with \
     `{{ task.signature }}`.{% endif %}"
        .to_owned()
}

fn default_prefill() -> String {
    "```python\n{{ task.signature }}".to_owned()
}

#[cfg(test)]
mod tests {
    use minijinja::{Environment, UndefinedBehavior, context};

    use super::*;
    use crate::tasks::Task;

    #[test]
    fn the_default_templates_render_a_task() {
        let config: TasksConfig = toml::from_str("train = \"a.jsonl\"\nheldout = \"b.jsonl\"").unwrap();
        let task = Task {
            id: "double".to_owned(),
            prompt: "Return twice the number.".to_owned(),
            signature: "def double(n):".to_owned(),
            entry_point: "double".to_owned(),
            reference: "def double(n):\n    return 2 * n\n".to_owned(),
            public_tests: vec!["assert double(1) == 2".into()],
            hidden_tests: vec!["assert double(3) == 6".into()],
            ..Task::default()
        };
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        let render = |source| templates.render_str(source, context! { task => &task }).unwrap();
        assert_eq!(
            render(&config.prompt),
            "Write a Python function that does the following.\n\nReturn twice the number.\n\n\
             It begins with `def double(n):`."
        );
        assert_eq!(render(&config.prefill), "```python\ndef double(n):");
        let bare = Task { signature: String::new(), ..task.clone() };
        let render_bare = |source| templates.render_str(source, context! { task => &bare }).unwrap();
        assert_eq!(
            render_bare(&config.prompt),
            "Write a Python function that does the following.\n\nReturn twice the number."
        );
        assert_eq!(render("{{ task.public_tests[0] }}"), "assert double(1) == 2");
        for secret in ["{{ task.reference }}", "{{ task.hidden_tests }}"] {
            assert!(templates.render_str(secret, context! { task => &task }).is_err(), "{secret}");
        }
    }

    #[test]
    fn a_misspelt_key_is_refused() {
        let error =
            toml::from_str::<TasksConfig>("train = \"a\"\nheldout = \"b\"\nprefil = \"\"").unwrap_err();
        assert!(error.message().contains("unknown field `prefil`"), "{error}");
    }
}
