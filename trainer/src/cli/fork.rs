//! `rltrain fork RUN --at STEP --set KEY=VALUE --to NEW_RUN`.

use std::path::{Path, PathBuf};

use clap::Args;
use fs_err as fs;
use rltrain_checkpoints::{Checkpoint, RunLock, Store, WriteError, replace_file};
use thiserror::Error;
use toml::{Table, Value};

use super::failure::Failure;
use super::print_line;
use super::run_folder::recipe_of;
use crate::error::TrainError;
use crate::eval::EVALUATIONS_FILE;
use crate::recipe::{Recipe, differences};
use crate::session::{CHECKPOINTS, ForkedFrom, RECIPE, RunRecord};
use crate::telemetry::{METRICS_FILE, TENSORBOARD_FOLDER, TIMINGS_FILE};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Folder of the run to fork
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Step of the checkpoint that the new run starts from; the newest whole one if none is said
    #[arg(long, value_name = "STEP")]
    at: Option<u64>,
    /// A key of the recipe and its new value, such as `optimizer.learning_rate=1e-5`; without a value, the key is taken out. May be
    /// given several times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Folder of the new run; it may be there, but empty
    #[arg(long, value_name = "NEW_RUN")]
    to: PathBuf,
}

/// What cannot be forked like this.
#[derive(Debug, Error)]
enum CannotFork {
    #[error("`--set {0}` has no `=`; wanted `KEY=VALUE`, such as `optimizer.learning_rate=1e-5`")]
    NoValue(String),
    #[error("`--set {0}`: the recipe has a value, not a section, on the way to that key")]
    NotASection(String),
    #[error("`{0}` cannot be set: {1}")]
    Fixed(&'static str, &'static str),
    #[error("`{}` is not empty; name another folder", .0.display())]
    NotEmpty(PathBuf),
}

/// Makes the new run's folder; `rltrain resume` trains it.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let old = recipe_of(&arguments.run)?;
    let store = Store::open_read_only(&old.run.join(CHECKPOINTS));
    let checkpoint = find(&store, arguments.at)?;
    let to = std::path::absolute(&arguments.to).map_err(Failure::world)?;
    let is_used = fs::read_dir(&to).is_ok_and(|mut entries| entries.next().is_some());
    if is_used || to.is_file() {
        return Err(Failure::plain_input(CannotFork::NotEmpty(to)));
    }
    let mut table = old.clone().moved_to(&to).table();
    for change in &arguments.set {
        set(&mut table, change).map_err(Failure::plain_input)?;
    }
    let here = std::env::current_dir().map_err(Failure::world)?;
    let text = table.to_string();
    let recipe = Recipe::read("the recipe of the fork", &text, &here).map_err(Failure::input)?;
    let mut changed = differences(&old.clone().moved_to(&to).table(), &recipe.table());
    changed.retain(|difference| difference.key != "run");
    let (step, hash) = (checkpoint.step(), checkpoint.blake3());
    let from = ForkedFrom { run: old.run.clone(), step, checkpoint_blake3: hash.clone(), changed };
    make(&recipe, &old.run, &checkpoint, from)?;
    let name = arguments.to.display();
    print_line(format_args!(
        "{name}: forked from `{}` after step {step} (BLAKE3 {hash}); `rltrain resume {name}` goes on",
        arguments.run.display()
    ));
    Ok(())
}

/// The checkpoint to start from: that of `step`, or the newest whole one.
fn find(store: &Store, step: Option<u64>) -> Result<Checkpoint, Failure> {
    let found = match step {
        Some(step) => Ok(Some(crate::session::named_checkpoint(store, step)?)),
        None => store.newest_valid().map(|newest| newest.map(|(checkpoint, _)| checkpoint)),
    };
    let nothing = || super::run_folder::Unknown::Empty { path: store.dir().to_owned() };
    found.map_err(super::run_folder::unreadable)?.ok_or_else(|| Failure::plain_input(nothing()))
}

/// Makes the change `KEY=VALUE` in a recipe.
fn set(recipe: &mut Table, change: &str) -> Result<(), CannotFork> {
    let (key, value) = change.split_once('=').ok_or_else(|| CannotFork::NoValue(change.to_owned()))?;
    let (key, value) = (key.trim(), value.trim());
    match key {
        "run" => return Err(CannotFork::Fixed("run", "`--to` names the new run's folder")),
        "algorithm.preset" => {
            let why =
                "a run's recipe has every key that a preset stands for; set those, or write a new recipe";
            return Err(CannotFork::Fixed("algorithm.preset", why));
        }
        _ => {}
    }
    let mut section = recipe;
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let inner = section.entry(part).or_insert_with(|| Value::Table(Table::new()));
        section = inner.as_table_mut().ok_or_else(|| CannotFork::NotASection(change.to_owned()))?;
    }
    if value.is_empty() {
        section.remove(last);
        return Ok(());
    }
    // What is no TOML is a text without its quotation marks.
    let parsed = format!("value = {value}").parse::<Table>().ok().and_then(|mut line| line.remove("value"));
    section.insert(last.to_owned(), parsed.unwrap_or_else(|| Value::String(value.to_owned())));
    Ok(())
}

/// Writes the folder. The recipe comes last: a folder without it is of no run.
fn make(recipe: &Recipe, old: &Path, checkpoint: &Checkpoint, from: ForkedFrom) -> Result<(), Failure> {
    let run = &recipe.run;
    let _lock = RunLock::acquire(run).map_err(TrainError::from)?;
    let step = checkpoint.step();
    let store = Store::open(&run.join(CHECKPOINTS)).map_err(Failure::world)?;
    let copy = store.write(step, |draft| {
        let mut files = checkpoint.manifest().files.keys();
        files.try_for_each(|name| draft.copy(&checkpoint.path().join(name), name))
    });
    copy.map_err(|source: WriteError| TrainError::Write { step, source, kept: None })?;
    copy_past(old, run).map_err(Failure::world)?;
    RunRecord::new(Some(from)).save(run).map_err(Failure::world)?;
    replace_file(&run.join(RECIPE), recipe.resolved().as_bytes()).map_err(Failure::world)
}

/// Copies what the old run told, so that the new one's curves begin where its do. What it told after the checkpoint is cut off when
/// the run goes on.
fn copy_past(old: &Path, run: &Path) -> std::io::Result<()> {
    for name in [METRICS_FILE, TIMINGS_FILE, EVALUATIONS_FILE] {
        let from = old.join(name);
        if from.is_file() {
            fs::copy(from, run.join(name))?;
        }
    }
    let (from, to) = (old.join(TENSORBOARD_FOLDER), run.join(TENSORBOARD_FOLDER));
    if from.is_dir() {
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_toml_or_texts_and_go_where_the_key_says() {
        let mut table: Table =
            "seed = 1\n[optimizer]\nlearning_rate = 0.1\nkind = \"adamw\"".parse().unwrap();
        for change in ["seed=2", "optimizer.learning_rate = 1e-5", "tasks.train=a b.jsonl", "optimizer.kind="]
        {
            set(&mut table, change).unwrap();
        }
        let wanted = "seed = 2\n[optimizer]\nlearning_rate = 1e-5\n[tasks]\ntrain = \"a b.jsonl\"";
        assert_eq!(table, wanted.parse::<Table>().unwrap());
        assert!(matches!(set(&mut table, "seed"), Err(CannotFork::NoValue(_))));
        assert!(matches!(set(&mut table, "seed.x=1"), Err(CannotFork::NotASection(_))));
        assert!(matches!(set(&mut table, "algorithm.preset=dapo"), Err(CannotFork::Fixed(..))));
    }
}
