//! Whether the prompt templates of a recipe can be rendered, with nothing but what a task may tell.

use minijinja::{Environment, UndefinedBehavior, context};

use super::Recipe;
use super::problems::Problems;
use crate::eval::SearchConfig;

/// Keys of a [`Task`](crate::tasks::Task) that a prompt may use. The others would tell the model the answer.
const PROMPT_FIELDS: [&str; 7] =
    ["id", "prompt", "signature", "entry_point", "language", "public_tests", "before"];

/// Signature of the task that templates are tried with.
const EXAMPLE_SIGNATURE: &str = "def identity(x):";

/// One of the three templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Template {
    Prompt,
    Prefill,
    Reply,
}

/// What is wrong with a template.
pub(super) struct Flaw {
    /// What it does or is, as the end of a sentence that begins with its name.
    pub(super) what: String,
    /// The way out.
    pub(super) help: String,
    /// The line, from 1, where that is known.
    pub(super) line: Option<usize>,
}

impl Template {
    /// Every template.
    pub(super) const ALL: [Template; 3] = [Template::Prompt, Template::Prefill, Template::Reply];

    /// Its key in a recipe.
    pub(super) fn key(self) -> &'static str {
        match self {
            Template::Prompt => "tasks.prompt",
            Template::Prefill => "tasks.prefill",
            Template::Reply => "episode.reply",
        }
    }

    /// Its block in a scaffold.
    pub(super) fn block(self) -> &'static str {
        match self {
            Template::Prompt => "prompt",
            Template::Prefill => "prefill",
            Template::Reply => "reply",
        }
    }

    /// Its text in a recipe.
    pub(super) fn of(self, recipe: &mut Recipe) -> &mut String {
        match self {
            Template::Prompt => &mut recipe.tasks.prompt,
            Template::Prefill => &mut recipe.tasks.prefill,
            Template::Reply => &mut recipe.episode.reply,
        }
    }

    /// What it uses beside the task.
    fn others(self) -> &'static [&'static str] {
        match self {
            Template::Prompt | Template::Prefill => &[],
            Template::Reply => &["feedback"],
        }
    }

    /// Tries the template on an example.
    ///
    /// # Errors
    ///
    /// With what is wrong with it.
    pub(super) fn check(self, source: &str) -> Result<(), Flaw> {
        let rendered = render(self.key(), source, self.others())?;
        if self == Template::Prefill && !rendered.ends_with(EXAMPLE_SIGNATURE) {
            return Err(Flaw {
                what: "does not end in the task's signature".to_owned(),
                help: "end it in `{{ task.signature }}`, without a newline: the model goes on from there"
                    .to_owned(),
                line: None,
            });
        }
        Ok(())
    }
}

/// Reports what is wrong with the templates of a recipe.
pub(super) fn check(recipe: &Recipe, problems: &mut Problems<'_>) {
    let texts = [&recipe.tasks.prompt, &recipe.tasks.prefill, &recipe.episode.reply];
    for (template, source) in Template::ALL.into_iter().zip(texts) {
        if let Err(flaw) = template.check(source) {
            report(template.key(), flaw, problems);
        }
    }
}

/// Reports what is wrong with the templates of `[search]`.
pub(super) fn check_search(search: &SearchConfig, problems: &mut Problems<'_>) {
    const SAID: [&str; 5] = ["prompt", "programs", "direction", "modules", "lessons"];
    let all: [(&str, &str, &[&str]); 4] = [
        ("search.prompt", &search.prompt, &SAID),
        ("search.question", &search.question, &["prompt", "input", "outputs"]),
        ("search.scattered_forest.ask", &search.scattered_forest.ask, &SAID),
        ("search.orps.critique", &search.orps.critique, &SAID),
    ];
    for (key, source, others) in all {
        if let Err(flaw) = render(key, source, others) {
            report(key, flaw, problems);
        }
    }
}

fn report(key: &str, Flaw { what, help, line }: Flaw, problems: &mut Problems<'_>) {
    let line = line.map(|line| format!(", in line {line} of the text")).unwrap_or_default();
    problems.require(false, &[key], format!("`{key}` {what}{line}"), help);
}

/// Renders a template, which may use `others` beside the task, for an example.
fn render(name: &str, source: &str, others: &[&str]) -> Result<String, Flaw> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let template = environment.template_from_named_str(name, source).map_err(|error| no_template(&error))?;
    let mut unknown: Vec<String> = template.undeclared_variables(true).into_iter().collect();
    let is_field =
        |name: &str| name.strip_prefix("task.").is_some_and(|field| PROMPT_FIELDS.contains(&field));
    unknown.retain(|name| !is_field(name) && !others.contains(&name.as_str()));
    if let Some(name) = unknown.iter().min() {
        let fields = PROMPT_FIELDS.iter().map(|field| format!("`task.{field}`"));
        let fields: Vec<String> = fields.chain(others.iter().map(|name| format!("`{name}`"))).collect();
        return Err(Flaw {
            what: format!("uses `{name}`, which a prompt does not have"),
            help: format!("a prompt has {}", fields.join(", ")),
            line: line_of(source, name),
        });
    }
    let example = context! {
        id => "example/identity",
        prompt => "Return x.",
        signature => EXAMPLE_SIGNATURE,
        entry_point => "identity",
        language => "python",
        public_tests => ["assert identity(1) == 1"],
        before => "def identity(x):\n    return None\n",
    };
    let feedback = "The program passes 0 of 1 tests.";
    let program =
        context! { program => "def identity(x):\n    return None\n", feedback, comment => feedback };
    let said = context! {
        task => example, feedback, prompt => "Return x.", programs => minijinja::Value::from_iter([program]), direction => "Make it simpler.",
        modules => [EXAMPLE_SIGNATURE], lessons => ["Make it simpler: this helped"], input => "identity(1)", outputs => ["1", "None"],
    };
    template.render(said).map_err(|error| no_template(&error))
}

/// The line of a text, from 1, that a name is in; `None` for a text of one line, where there is nothing to find.
fn line_of(source: &str, name: &str) -> Option<usize> {
    let last = name.rsplit('.').next().unwrap_or(name);
    let line = |name: &str| source.lines().position(|line| line.contains(name)).map(|line| line + 1);
    line(name).or_else(|| line(last)).filter(|_| source.contains('\n'))
}

fn no_template(error: &minijinja::Error) -> Flaw {
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    Flaw {
        what: format!("is not a template: {}{detail}", error.kind()),
        help:
            "templates are Jinja, as in `{{ task.signature }}` or `{% if task.public_tests %}...{% endif %}`"
                .to_owned(),
        line: error.line(),
    }
}
