//! Programs out of the samples that a run has logged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::{Label, Program, Tried};
use crate::error::TrainError;
use crate::journal::{Line, not_passed};
use crate::policy::{PolicyError, Tokenizer};
use crate::recipe::Recipe;
use crate::rollout::Prompter;
use crate::tasks::{Task, TaskSet};

/// The logged rollouts of a run.
pub struct Rollouts {
    /// Groups of attempts at one task, in the order in which they were made.
    pub groups: Vec<Tried>,
    /// BLAKE3 of the files that they were read from.
    pub blake3: String,
}

/// Reads the samples in the run folder of `recipe`, as `tokenizer` reads them. The program of an attempt's last turn is what
/// its verdict is about, so that earlier turns are left out.
///
/// # Errors
///
/// If there are none, a file cannot be read, a line is not one of this version's, or is of a task that the recipe's files do
/// not have.
pub fn read_rollouts(recipe: &Recipe, tokenizer: &Tokenizer) -> Result<Rollouts, TrainError> {
    let prompter = Prompter::new(&recipe.tasks, &recipe.episode)?;
    let sets = [TaskSet::load(&recipe.tasks.train)?, TaskSet::load(&recipe.tasks.heldout)?];
    let tasks: BTreeMap<&str, &Task> =
        sets.iter().flat_map(TaskSet::iter).map(|task| (task.id.as_str(), task)).collect();
    let mut hasher = blake3::Hasher::new();
    let mut groups: Vec<Tried> = Vec::new();
    for path in sample_files(&recipe.run)? {
        let text = fs::read_to_string(&path)?;
        hasher.update(text.as_bytes());
        let start = groups.len();
        for line in text.lines() {
            let line: Line = serde_json::from_str(line)
                .map_err(|source| TrainError::Json { path: path.clone(), source })?;
            // What others were compared with is not one of them.
            if line.greedy {
                continue;
            }
            let task = *tasks
                .get(line.task.as_str())
                .ok_or_else(|| TrainError::UnknownTask { task: line.task.clone(), path: path.clone() })?;
            if groups.len() == start || groups.last().is_some_and(|group| group.task != line.task) {
                groups.push(Tried {
                    task: line.task.clone(),
                    lines_before: task.signature.matches('\n').count(),
                    prompt: prompter.prompt(task, tokenizer)?,
                    programs: Vec::new(),
                });
            }
            let group = groups.last_mut().expect("a group was made");
            group.programs.extend(program(recipe, task, &prompter, tokenizer, line)?);
        }
    }
    groups.retain(|group| !group.programs.is_empty());
    if groups.is_empty() {
        return Err(TrainError::NoRollouts { run: recipe.run.clone() });
    }
    Ok(Rollouts { groups, blake3: hasher.finalize().to_hex().to_string() })
}

/// The files of samples in a run folder, in the order of steps.
fn sample_files(run: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let entries = match fs::read_dir(run.join("samples")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(TrainError::NoRollouts { run: run.to_owned() });
        }
        Err(error) => return Err(error.into()),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The program of one line; none if it has no verdict or no token.
fn program(
    recipe: &Recipe,
    task: &Task,
    prompter: &Prompter,
    tokenizer: &Tokenizer,
    line: Line,
) -> Result<Option<Program>, PolicyError> {
    let Some(verdict) = line.verdict else { return Ok(None) };
    let written = line.program.strip_prefix(&task.signature).unwrap_or(&line.program);
    let written = written.strip_suffix('\n').unwrap_or(written);
    let prompt = prompter.text(task, tokenizer)?;
    // A token that reaches over the border is not where sampling puts it.
    let (_, mut tokens) = tokenizer.encode_with_prompt(&prompt, written)?;
    if !line.truncated && recipe.rollout.stop.is_empty() {
        tokens.extend(tokenizer.stop_ids.first());
    }
    let label = Label { class: verdict.class(), ending: not_passed(&verdict).cloned() };
    let program = Program { tokens, interjections: Vec::new(), label };
    Ok(Some(program).filter(|program| !program.tokens.is_empty()))
}
