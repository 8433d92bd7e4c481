//! The scaffolds in `recipes/prompts`: what each makes of tasks, and what is said of one that is wrong.

use std::path::{Path, PathBuf};

use minijinja::{Environment, UndefinedBehavior, context};
use rltrain::recipe::Recipe;
use rltrain::tasks::Task;

use crate::rltrain::expect;
use crate::tasks::says;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

const RECIPE: &str = r#"steps = 1
run = "run"
[model]
path = "model"
[tasks]
train = "train.jsonl"
heldout = "heldout.jsonl"
scaffold = "SCAFFOLD"
[rewards.all_passed]
"#;

/// What the recipe becomes with this scaffold, in a folder where everything else that it names is there.
fn read(folder: &Path, scaffold: &str, more: &str) -> Result<Recipe, String> {
    std::fs::create_dir_all(folder.join("model")).unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::write(folder.join("model").join(file), "{}").unwrap();
    }
    std::fs::write(folder.join("train.jsonl"), "").unwrap();
    std::fs::write(folder.join("heldout.jsonl"), "").unwrap();
    let text = RECIPE.replace("SCAFFOLD", scaffold) + more;
    Recipe::read("demo.toml", &text, folder, &[]).map_err(|error| {
        let mut report = String::new();
        miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor())
            .with_width(200)
            .render_report(&mut report, &error)
            .unwrap();
        report
    })
}

fn render(source: &str, task: &Task) -> String {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates
        .render_str(source, context! { task => task, feedback => "The program passes 0 of 1 tests." })
        .unwrap()
}

fn tasks() -> [Task; 3] {
    let task = |text: &str| serde_json::from_str(text).unwrap();
    [
        task(
            r#"{"id": "a", "prompt": "Return twice n.", "signature": "def double(n):", "entry_point": "double", "before": "def double(n):\n    return n\n",
            "public_tests": ["assert double(1) == 2", {"kind": "call", "function": "double", "arguments": ["x"], "expected": "xx"}], "hidden_tests": ["assert double(3) == 6"]}"#,
        ),
        task(
            r#"{"id": "b", "prompt": "Print the square of\nthe number that you read.", "public_tests": [{"kind": "stdin", "stdin": "3\n", "stdout": "9\n"}], "hidden_tests": [{"kind": "stdin", "stdin": "4\n", "stdout": "16\n"}]}"#,
        ),
        task(
            r#"{"id": "c", "prompt": "Return twice n.", "language": "javascript", "signature": "function double(n) {", "entry_point": "double", "hidden_tests": ["assert.strictEqual(double(1), 2)"]}"#,
        ),
    ]
}

#[test]
fn every_scaffold_is_rendered_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut names: Vec<PathBuf> = std::fs::read_dir(root().join("recipes/prompts"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    assert!(names.len() >= 8, "{names:?}");
    for path in names {
        let recipe = read(folder.path(), &path.canonicalize().unwrap().display().to_string(), "").unwrap();
        assert_eq!(recipe.tasks.scaffold, None);
        let mut text = String::new();
        for task in &tasks() {
            for (what, source) in [
                ("prompt", &recipe.tasks.prompt),
                ("prefill", &recipe.tasks.prefill),
                ("reply", &recipe.episode.reply),
            ] {
                text.push_str(&format!("===== {} {what}\n{}\n", task.id, render(source, task)));
            }
            // Programs are put together from the signature and what follows.
            assert!(render(&recipe.tasks.prefill, task).ends_with(&task.signature), "{}", path.display());
        }
        let name = path.file_stem().unwrap().to_str().unwrap().replace('-', "_");
        insta::assert_snapshot!(name, text);
    }
}

#[test]
fn the_scaffold_for_chat_says_what_recipes_say_by_default() {
    let folder = tempfile::tempdir().unwrap();
    let chat = root().canonicalize().unwrap().join("recipes/prompts/chat.jinja").display().to_string();
    let recipe = read(folder.path(), &chat, "").unwrap();
    let plain = Recipe::parse("demo.toml", &RECIPE.replace("scaffold = \"SCAFFOLD\"\n", "")).unwrap();
    let task = &tasks()[0];
    assert_eq!(render(&recipe.tasks.prompt, task), render(&plain.tasks.prompt, task));
    assert_eq!(render(&recipe.tasks.prefill, task), render(&plain.tasks.prefill, task));
    assert_eq!(render(&recipe.episode.reply, task), render(&plain.episode.reply, task));
}

#[test]
fn what_a_recipe_says_itself_wins_and_a_scaffold_need_not_say_all() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("mine.jinja"),
        "{# Mine. #}\n{% block prompt %}\nDo {{ task.prompt }}\n{% endblock %}\n",
    )
    .unwrap();
    let recipe = read(folder.path(), "mine.jinja", "").unwrap();
    assert_eq!(recipe.tasks.prompt, "Do {{ task.prompt }}");
    assert!(recipe.tasks.prefill.starts_with("```python"));
    let own = RECIPE.replace("scaffold = ", "prompt = \"Mine\"\nscaffold = ");
    let folder = folder.path();
    let recipe = Recipe::read("demo.toml", &own.replace("SCAFFOLD", "mine.jinja"), folder, &[]).unwrap();
    assert_eq!(recipe.tasks.prompt, "Mine");
    // The pinned recipe has the texts, and no longer depends on the file.
    assert_eq!(Recipe::parse("recipe.toml", &recipe.resolved()).unwrap(), recipe);
}

#[test]
fn mistakes_in_a_scaffold_are_named_at_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        (
            "{% block prompt %}\nSay\n{{ task.reference }}\n{% endblock %}\n",
            "`mine.jinja`, line 3: the block `prompt` uses `task.reference`, which a prompt does not have",
        ),
        (
            "{% block prompt %}\n\n{{ feedback }}\n{% endblock %}\n",
            "line 3: the block `prompt` uses `feedback`",
        ),
        (
            "{% block reply %}\n{% if %}\n{% endblock %}\n",
            "line 2: the block `reply` is not a template: syntax error",
        ),
        (
            "{% block prefill %}\n{{ task.signature }}:\n{% endblock %}\n",
            "line 2: the block `prefill` does not end in the task's signature",
        ),
        ("{% block user %}\n{% endblock %}\n", "line 1: no block is called `user`"),
        ("{% block prompt %}\nSay\n", "line 1: the block `prompt` has no end"),
        ("\nSay\n", "line 2: found text outside of blocks"),
        ("{# Nothing. #}\n", "line 1: found no block"),
    ];
    for (text, wanted) in cases {
        std::fs::write(folder.path().join("mine.jinja"), text).unwrap();
        let said = read(folder.path(), "mine.jinja", "").unwrap_err();
        assert!(said.contains(wanted), "{wanted}\n{said}");
        assert!(said.contains("scaffold = \"mine.jinja\""), "{said}");
    }
    let said = read(folder.path(), "elsewhere.jinja", "").unwrap_err();
    assert!(said.contains("elsewhere.jinja"), "{said}");
}

/// A recipe for programs in one language does not take tasks in another, and says so before anything is loaded.
#[test]
fn tasks_that_a_recipe_cannot_be_run_with_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    crate::tiny::make(folder.path());
    let path = folder.path().join("heldout.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let first = text.lines().next().unwrap().to_owned();
    let with = |line: &str| std::fs::write(&path, text.replacen(&first, line, 1)).unwrap();
    with(&first.replacen('{', "{\"language\":\"ruby\",", 1));
    let (_, error) = expect(folder.path(), &["check", "recipe.toml"], 2);
    says(&error, "is in `ruby`, which the runtime `python-3.15` does not run");
    with(&first);
    expect(folder.path(), &["check", "recipe.toml"], 0);
}
