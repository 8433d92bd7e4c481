//! What is wrong with a task file.

use std::io;
use std::path::PathBuf;

use miette::{Diagnostic, SourceSpan};
use thiserror::Error;

use super::excerpt::Excerpt;

/// Why a task file could not be used.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum TasksError {
    /// The file could not be read.
    #[error("cannot read the task file `{}`", path.display())]
    #[diagnostic(
        code(tasks::unreadable),
        help("paths in a recipe are relative to the recipe; docs/tasks.md describes task files")
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file has no task.
    #[error("the task file `{}` has no task, wanted at least one", path.display())]
    #[diagnostic(code(tasks::empty), help("a task file holds one JSON object a line"))]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Some lines of the file are not tasks.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Invalid(#[from] Box<InvalidTasks>),
    /// A task that the recipe cannot be run with.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unfit(#[from] Unfit),
}

/// A task that is well in itself, and not what the recipe needs.
#[derive(Debug, Error, Diagnostic)]
#[error("the task `{task}` of `{}` {what}", path.display())]
#[diagnostic(code(tasks::unfit), help("{help}"))]
pub struct Unfit {
    /// The file.
    pub path: PathBuf,
    /// Id of the task.
    pub task: String,
    /// What it is or lacks, as the end of a sentence that begins with the task.
    pub what: String,
    /// The way out.
    pub help: &'static str,
}

/// The problems of one task file.
#[derive(Debug, Error, Diagnostic)]
#[error("the task file `{}` has {}", path.display(), count(*.total, .problems.len()))]
#[diagnostic(code(tasks::invalid))]
pub struct InvalidTasks {
    /// The file.
    pub path: PathBuf,
    /// How many problems there are.
    pub total: usize,
    /// The first of them, in the order of the file; at least one, at most [`InvalidTasks::SHOWN`].
    #[related]
    pub problems: Vec<TaskProblem>,
}

impl InvalidTasks {
    /// How many problems are kept. Whoever has more made the same mistake throughout.
    pub const SHOWN: usize = 20;
}

/// One problem: what was found and wanted, where, and the way out.
#[derive(Debug, Error, Diagnostic)]
#[error("line {line}: {message}")]
pub struct TaskProblem {
    /// Number of the line, from 1.
    pub line: usize,
    /// What was found and what was wanted.
    pub message: String,
    #[help]
    pub(super) help: String,
    #[source_code]
    pub(super) excerpt: Excerpt,
    #[label]
    pub(super) place: SourceSpan,
}

fn count(total: usize, shown: usize) -> String {
    match (total, shown) {
        (1, _) => "a problem".to_owned(),
        (total, shown) if shown < total => format!("{total} problems; these are the first {shown}"),
        (total, _) => format!("{total} problems"),
    }
}
