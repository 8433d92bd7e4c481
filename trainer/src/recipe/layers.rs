//! A recipe out of several texts: a file, the files that it extends, and what the command line sets.
//!
//! ```text
//! --set ─▶ over ─▶ recipe.toml ─▶ over ─▶ what it `extends` ─▶ over ─▶ what that extends
//! ```
//!
//! Sections are merged key by key; any other value replaces the one below it. A relative path starts at the folder of the file that
//! says it; one of `--set`, where the command was typed. Every mistake is shown in the text that has it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use fs_err as fs;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::reading::{fill, remove};
use super::{Problem, RecipeError};

/// The key that names the file below.
pub(super) const EXTENDS: &str = "extends";

/// What `extends` is, for the schema and the manual.
pub(super) const EXTENDS_MANUAL: &str = "Another recipe that this one begins as: what is said here replaces what is said there, key by key. A relative \
     path is relative to this file. Default: none.";

/// Files that extend each other, at most.
const MOST_FILES: usize = 10;

/// The keys whose values are paths; `*` stands for any name.
const PATHS: [&str; 16] = [
    "run",
    "model.path",
    "model.lora.path",
    "tasks.train",
    "tasks.heldout",
    "rollout.remote.weights",
    "executor.verdict_cache",
    "executor.remote.token_file",
    "executor.remote.ca_file",
    "critic.path",
    "verifier.path",
    "verifier.start",
    "rewards.judge.*.folder",
    "rewards.process.*.directory",
    "rewards.wasm.*.component",
    "rewards.wasm.*.files",
];

/// One text that a recipe is made of.
struct Layer {
    name: String,
    /// Its bytes among those of all layers.
    place: Range<usize>,
    /// The text behind as many line feeds as there are bytes before it: places in it are places among all layers.
    padded: String,
    folder: PathBuf,
    change: Change,
}

/// What a layer does to those below it.
enum Change {
    /// Says values: a file, or `--set KEY=VALUE`.
    Says,
    /// Takes a key out: `--set KEY=`.
    Removes(Vec<String>),
    /// Is no change at all.
    None,
}

/// The texts of a recipe: the file, what is below it, and what is set above it, in this order.
pub(super) struct Layers {
    layers: Vec<Layer>,
    /// How many of them are files.
    files: usize,
    /// What was found while they were looked for.
    found: Vec<Problem>,
}

impl Layers {
    /// Reads the recipe at `path` with the files below it; `set` has `KEY=VALUE` each.
    ///
    /// # Errors
    ///
    /// If the first file cannot be read.
    pub(super) fn read(path: &Path, set: &[String]) -> Result<Layers, RecipeError> {
        let unreadable = |source| RecipeError::Read { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let file = fs::canonicalize(path).map_err(unreadable)?;
        let mut layers = Layers { layers: Vec::new(), files: 0, found: Vec::new() };
        let folder = |file: &Path| file.parent().map(Path::to_owned).unwrap_or_default();
        layers.push(path.display().to_string(), &text, folder(&file), Change::Says);
        let mut seen = vec![file];
        while let Some((place, below)) = layers.below() {
            let next = fs::canonicalize(&below).map_err(|error| format!("cannot be read: {error}"));
            let next = next.and_then(|file| match seen.contains(&file) || seen.len() == MOST_FILES {
                true => Err("extends this one in turn, or by too long a way".to_owned()),
                false => Ok(file),
            });
            let read = next.and_then(|file| {
                let text = fs::read_to_string(&file).map_err(|error| format!("cannot be read: {error}"))?;
                Ok((file, text))
            });
            match read {
                Ok((file, text)) => {
                    layers.push(below.display().to_string(), &text, folder(&file), Change::Says);
                    seen.push(file);
                }
                Err(why) => {
                    layers.found.push(Problem {
                        message: format!("the recipe below, `{}`, {why}", below.display()),
                        help: Some(EXTENDS_MANUAL.to_owned()),
                        place: Some(place),
                        text: None,
                    });
                    break;
                }
            }
        }
        layers.files = layers.layers.len();
        let here = std::env::current_dir().unwrap_or_default();
        set.iter().for_each(|set| layers.push_set(set, &here));
        Ok(layers)
    }

    /// One text alone, which extends nothing.
    pub(super) fn of_text(name: &str, text: &str) -> Layers {
        let mut layers = Layers { layers: Vec::new(), files: 1, found: Vec::new() };
        layers.push(name.to_owned(), text, PathBuf::new(), Change::Says);
        layers
    }

    /// The same with what the command line sets, above all else.
    pub(super) fn with(mut self, set: &[String]) -> Layers {
        let here = std::env::current_dir().unwrap_or_default();
        set.iter().for_each(|set| self.push_set(set, &here));
        self
    }

    fn push(&mut self, name: String, text: &str, folder: PathBuf, change: Change) {
        let start = self.length();
        let padded = "\n".repeat(start) + text;
        let place = start..start + text.len();
        self.layers.push(Layer { name, place, padded, folder, change });
    }

    /// Takes in `KEY=VALUE`. A value that is no TOML is a text without its quotation marks.
    fn push_set(&mut self, set: &str, here: &Path) {
        let Some((key, value)) = set.split_once('=') else {
            self.push("--set".to_owned(), set, here.to_owned(), Change::None);
            let place = self.layers.last().map(|layer| layer.place.clone());
            let message = format!("`--set {set}` has no `=`");
            let help = "wanted `KEY=VALUE`, such as `optimizer.learning_rate=1e-5`; without a value, the key is taken out";
            self.found.push(Problem { message, help: Some(help.to_owned()), place, text: None });
            return;
        };
        let (key, value) = (key.trim(), value.trim());
        if value.is_empty() {
            let path = key.split('.').map(str::to_owned).collect();
            return self.push("--set".to_owned(), set, here.to_owned(), Change::Removes(path));
        }
        let text = format!("{key} = {}", as_toml(value));
        self.push("--set".to_owned(), &text, here.to_owned(), Change::Says);
    }

    /// The bytes of all layers together.
    pub(super) fn length(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.place.end)
    }

    /// Their names: what a run notes of where its recipe is from. Empty if it is one file.
    pub(super) fn names(&self) -> Vec<String> {
        if self.layers.len() == 1 {
            return Vec::new();
        }
        let name = |(place, layer): (usize, &Layer)| {
            let text = &layer.padded[layer.place.start..];
            if place < self.files {
                layer.name.clone()
            } else {
                format!("{} {}", layer.name, text.replacen(" = ", "=", 1))
            }
        };
        self.layers.iter().enumerate().map(name).collect()
    }

    /// What the last file extends, and where it says so.
    fn below(&self) -> Option<(Range<usize>, PathBuf)> {
        let layer = self.layers.last()?;
        let (table, _) = DeTable::parse_recoverable(&layer.padded);
        let value = table.get_ref().get(EXTENDS)?;
        Some((value.span(), layer.folder.join(value.get_ref().as_str()?)))
    }

    /// All of them as one tree, in which every value knows where it was said.
    pub(super) fn merged(&self) -> (DeTable<'_>, Vec<Problem>) {
        let mut found = self.found.clone();
        let mut merged = DeTable::new();
        let (files, sets) = self.layers.split_at(self.files);
        for (index, layer) in files.iter().enumerate() {
            let mut table = parse(layer, &mut found);
            if let Some(value) = table.get(EXTENDS).filter(|_| !layer.folder.as_os_str().is_empty()) {
                if value.get_ref().as_str().is_none() {
                    let message = format!("`{EXTENDS}` is not a text, wanted the path of a recipe in quotes");
                    let place = Some(value.span());
                    found.push(Problem { message, help: Some(EXTENDS_MANUAL.to_owned()), place, text: None });
                }
                table.remove(EXTENDS);
            }
            // The first is of the folder that the caller knows.
            if index > 0 {
                place_paths(&mut table, "", &layer.folder);
            }
            fill(&mut merged, &table);
        }
        for layer in sets {
            match &layer.change {
                Change::Says => {
                    let mut table = parse(layer, &mut found);
                    place_paths(&mut table, "", &layer.folder);
                    fill(&mut table, &merged);
                    merged = table;
                }
                Change::Removes(path) => drop(remove(&mut merged, path)),
                Change::None => {}
            }
        }
        (merged, found)
    }

    fn layer_at(&self, place: &Range<usize>) -> Option<&Layer> {
        let holds = |layer: &&Layer| layer.place.start <= place.start && place.end <= layer.place.end;
        self.layers.iter().rev().find(holds).or(self.layers.first())
    }

    /// The text that has `place`, behind line feeds up to where it begins.
    pub(super) fn padded_at(&self, place: &Range<usize>) -> &str {
        self.layer_at(place).map_or("", |layer| &layer.padded)
    }

    /// The text that has `place`, with its name, and where in it that is; the first text for a place that is none.
    pub(super) fn text_at(&self, place: &Range<usize>) -> (&str, &str, Range<usize>) {
        let Some(layer) = self.layer_at(place) else { return ("", "", 0..0) };
        let start = layer.place.start;
        let local = place.start.saturating_sub(start)..place.end.saturating_sub(start);
        (&layer.name, &layer.padded[start..], local)
    }

    /// The first text, with its name.
    pub(super) fn first(&self) -> (&str, &str) {
        self.layers.first().map_or(("", ""), |layer| (&layer.name, &layer.padded))
    }
}

/// A value as TOML writes it.
fn as_toml(value: &str) -> String {
    let line = format!("value = {value}");
    match line.parse::<toml::Table>() {
        Ok(table) if table.len() == 1 => value.to_owned(),
        _ => toml::Value::String(value.to_owned()).to_string(),
    }
}

fn parse<'i>(layer: &'i Layer, found: &mut Vec<Problem>) -> DeTable<'i> {
    let (table, errors) = DeTable::parse_recoverable(&layer.padded);
    found.extend(errors.into_iter().map(|error| Problem {
        message: format!("not TOML: {}", error.message()),
        help: None,
        place: error.span(),
        text: None,
    }));
    table.into_inner()
}

/// Makes the relative paths of a table start at `folder`.
fn place_paths(table: &mut DeTable<'_>, section: &str, folder: &Path) {
    for (name, value) in table.iter_mut() {
        let key = if section.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{section}.{}", name.get_ref())
        };
        match value.get_mut() {
            DeValue::Table(inner) => place_paths(inner, &key, folder),
            value if PATHS.iter().any(|path| names(path, &key)) => place(value, folder),
            _ => {}
        }
    }
}

/// Makes a path, or each of several, start at `folder`.
fn place(value: &mut DeValue<'_>, folder: &Path) {
    match value {
        // An empty one stands for a folder of its own.
        DeValue::String(path) if !path.is_empty() => {
            *path = super::join(folder, Path::new(&**path)).to_string_lossy().into_owned().into();
        }
        DeValue::Array(paths) => paths.iter_mut().map(Spanned::get_mut).for_each(|path| place(path, folder)),
        _ => {}
    }
}

/// Whether `pattern` names `key`.
fn names(pattern: &str, key: &str) -> bool {
    let (mut wanted, mut found) = (pattern.split('.'), key.split('.'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == "*" || wanted == found => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::recipe::{Recipe, change};

    /// A path that is not in the list would start at the wrong folder in a recipe that is extended.
    #[test]
    fn the_list_of_paths_is_complete() {
        let text = r#"
steps = 1
run = "p"
[model]
path = "p"
[model.lora]
path = "p"
[tasks]
train = "p"
heldout = "q"
[rollout]
engine = "sglang"
servers = ["http://localhost"]
[rollout.remote]
weights = "p"
[executor]
verdict_cache = "p"
[executor.remote]
servers = ["http://localhost"]
token_file = "p"
ca_file = "p"
[critic]
path = "p"
kind = "separate"
[algorithm]
preset = "ppo"
[verifier]
path = "p"
start = "p"
[rewards.judge.a]
url = "http://localhost/v1"
model = "m"
rubric = "r"
folder = "p"
[rewards.process.a]
command = ["true"]
directory = "p"
[rewards.wasm.a]
component = "p"
files = ["p"]
"#;
        let recipe: Recipe = toml::from_str(text).unwrap();
        let placed = recipe.with_paths(|_| PathBuf::from("PLACED")).table();
        let keys: BTreeSet<String> = change::flatten(&placed)
            .into_iter()
            .filter(|(_, value)| value.contains("PLACED"))
            .map(|(key, _)| key.replace(".a.", ".*."))
            .collect();
        assert_eq!(keys, PATHS.iter().map(|path| (*path).to_owned()).collect());
    }

    #[test]
    fn values_are_toml_or_texts() {
        for value in ["1e-5", "[1, 2]", "\"x\"", "{}"] {
            assert_eq!(as_toml(value), value);
        }
        for value in ["dapo", "a b", "1\nb = 2", "say \"x\""] {
            let table: toml::Table = format!("value = {}", as_toml(value)).parse().unwrap();
            assert_eq!((table.len(), table["value"].as_str()), (1, Some(value)));
        }
    }
}
