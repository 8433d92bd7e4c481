//! The pages in `docs/`: they are in the book, their links lead somewhere, their commands are ones, and what can be run is run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use rltrain::cli;
use serde_json::Value;

use crate::rltrain::expect;
use crate::tiny;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Every page for people: those of `docs/` and `recipes/`, and those at the top.
fn pages() -> Vec<PathBuf> {
    let mut folders = vec![root().join("docs"), root().join("recipes")];
    let mut pages: Vec<PathBuf> = markdown_in(root());
    while let Some(folder) = folders.pop() {
        pages.extend(markdown_in(&folder));
        let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
        folders.extend(entries.filter(|path| path.is_dir()));
    }
    pages.sort();
    pages
}

fn markdown_in(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// Fenced blocks of one language, in order.
fn blocks<'a>(text: &'a str, language: &'a str) -> impl Iterator<Item = &'a str> {
    let fenced = text.split("\n```").skip(1).step_by(2);
    fenced.filter_map(move |block| block.strip_prefix(language)?.strip_prefix('\n'))
}

/// Where the links of a page lead, without those into other sites and within the page.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let without_place = targets.map(|target| target.split_once('#').map_or(target, |(page, _)| page));
    without_place.filter(|target| !target.is_empty() && !target.contains("://") && !target.contains(' '))
}

#[test]
fn every_link_leads_to_a_file() {
    let mut count = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            let target = page.parent().unwrap().join(link);
            assert!(target.exists(), "{}: {link} is not there", page.display());
            count += 1;
        }
    }
    assert!(count > 100, "{count} links");
}

#[test]
fn every_page_of_the_documentation_is_in_the_book() {
    let docs = root().join("docs");
    let summary = std::fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let listed: BTreeSet<PathBuf> = links(&summary).map(|link| docs.join(link)).collect();
    let there = pages().into_iter().filter(|page| page.starts_with(&docs));
    let there: BTreeSet<PathBuf> = there.filter(|page| !page.ends_with("SUMMARY.md")).collect();
    assert_eq!(
        there.difference(&listed).collect::<Vec<_>>(),
        Vec::<&PathBuf>::new(),
        "not in docs/SUMMARY.md"
    );
}

/// Flags that are no more, and misspelt subcommands, are found without running anything.
#[test]
fn every_command_of_the_documentation_is_one() {
    let mut count = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for block in blocks(&text, "console").chain(blocks(&text, "sh")) {
            let block = block.replace("\\\n", " ");
            for line in block.lines() {
                let Some(words) = command(line) else { continue };
                let understood = cli::understands(words.iter().map(Into::into));
                assert!(understood.is_ok(), "{}: {line}\n{}", page.display(), understood.unwrap_err());
                count += 1;
            }
        }
    }
    assert!(count > 30, "{count} commands");
}

/// The words of a line that starts `rltrain`, behind a prompt and variables, up to what belongs to the shell.
fn command(line: &str) -> Option<Vec<String>> {
    let line = line.split(" #").next().unwrap_or_default();
    let words = shlex::split(line)?;
    let mut ours = words.into_iter().skip_while(|word| word == "$" || word.contains('=')).peekable();
    ours.next_if(|word| word == "rltrain" || word.ends_with("/rltrain"))?;
    let ours = ["rltrain".to_owned()].into_iter().chain(ours);
    let shell = |word: &String| ["|", "<", ">", "2>", "&&", ";", "&"].contains(&word.as_str());
    Some(ours.take_while(|word| !shell(word)).collect())
}

/// What is said of other trainers' keys names keys that recipes have.
#[test]
fn what_a_key_of_another_trainer_becomes_is_there() {
    let schema = std::fs::read_to_string(root().join("recipes/recipe.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let page = std::fs::read_to_string(root().join("docs/migrating.md")).unwrap();
    let mut count = 0;
    for line in page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| TRL |")) {
        let Some(here) = line.split(" | ").nth(1) else { continue };
        // What follows a colon are values.
        let keys = here.split(':').next().unwrap_or_default().split('`').skip(1).step_by(2);
        for key in keys {
            assert!(has(&schema, key), "no key `{key}`: {line}");
            count += 1;
        }
    }
    assert!(count > 80, "{count} keys");
}

/// Whether a schema has a key with dots in it.
fn has(schema: &Value, key: &str) -> bool {
    let mut place = schema;
    for part in key.split('.') {
        let Some(next) = property(schema, place, part) else { return false };
        place = next;
    }
    true
}

/// A property of a schema, or of what it refers to or may be.
fn property<'a>(schema: &'a Value, place: &'a Value, name: &str) -> Option<&'a Value> {
    if let Some(found) = place.get("properties").and_then(|properties| properties.get(name)) {
        return Some(found);
    }
    if let Some(reference) = place.get("$ref").and_then(Value::as_str) {
        let target = schema.pointer(reference.strip_prefix('#')?)?;
        return property(schema, target, name);
    }
    let choices = ["anyOf", "allOf", "oneOf"].iter().filter_map(|way| place.get(way)?.as_array()).flatten();
    choices.into_iter().find_map(|choice| property(schema, choice, name))
}

#[test]
fn the_recipe_that_a_script_becomes_is_one() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make(folder.path());
    let page = std::fs::read_to_string(root().join("docs/migrating.md")).unwrap();
    let recipe = blocks(&page, "toml").next().unwrap().replace("models/Qwen2.5-Coder-0.5B-Instruct", "model");
    std::fs::write(folder.path().join("recipe.toml"), recipe).unwrap();
    expect(folder.path(), &["check", "recipe.toml"], 0);
}

#[test]
fn the_tutorial_leads_to_a_model_and_a_report() {
    let folder = tempfile::tempdir().unwrap();
    tiny::make_model(&folder.path().join("SmolLM2-135M-Instruct"));
    let page = std::fs::read_to_string(root().join("docs/tutorial.md")).unwrap();
    for (name, block) in ["train.jsonl", "heldout.jsonl"].into_iter().zip(blocks(&page, "jsonl")) {
        std::fs::write(folder.path().join(name), format!("{block}\n")).unwrap();
    }
    std::fs::write(folder.path().join("recipe.toml"), blocks(&page, "toml").next().unwrap()).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_rltrain")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut ran = 0;
    for line in blocks(&page, "console").flat_map(str::lines).filter(|line| !line.is_empty()) {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(folder.path()).env("PATH", &path).env("OMP_NUM_THREADS", "1");
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
        ran += 1;
    }
    assert!(ran >= 8, "{ran}");
    assert!(folder.path().join("runs/first/report.html").is_file());
}
