//! Why a file of another format cannot be converted.

use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use serde_json::{Map, Value as Json};
use thiserror::Error;

use super::super::excerpt::Excerpt;
use super::super::{InvalidTasks, TaskProblem};
use super::{Format, LeftOut};

/// Why there is no task file.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum ConvertError {
    /// The file could not be read.
    #[error("cannot read `{}`", path.display())]
    #[diagnostic(code(convert::unreadable))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds no lines of JSON.
    #[error("`{}` is {found}, wanted lines of JSON, compressed by gzip or not", path.display())]
    #[diagnostic(code(convert::not_lines), help("{why}"))]
    NotLines {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// Why it is not read, and what would.
        why: &'static str,
        /// What to type to get lines of JSON; it is in no help, which would break it into lines.
        command: Option<String>,
    },
    /// The first row has the keys of no format.
    #[error("cannot tell the format of `{}`: line {line} has the keys {keys}", path.display())]
    #[diagnostic(code(convert::unknown_format), help("{help}"))]
    Unknown {
        /// The file.
        path: PathBuf,
        /// Line of the row.
        line: usize,
        /// Its keys.
        keys: String,
        /// What would have been known.
        help: String,
    },
    /// Some lines are no rows of the format.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Invalid(Box<InvalidTasks>),
    /// There is no task in it.
    #[error("`{}` has no row that can be a task here{why}", path.display())]
    #[diagnostic(code(convert::nothing))]
    Nothing {
        /// The file.
        path: PathBuf,
        /// The first reason, if there is one.
        why: String,
    },
    /// The tasks could not be written.
    #[error("cannot write the tasks")]
    Write(#[source] io::Error),
}

impl ConvertError {
    pub(super) fn unknown(path: &Path, line: usize, row: &Map<String, Json>) -> ConvertError {
        let quoted = |name: &str| format!("`{name}`");
        let keys: Vec<String> = row.keys().map(|key| quoted(key)).collect();
        let help = if row.contains_key("hidden_tests") {
            "this is a task file already: recipes take it as it is".to_owned()
        } else {
            let format = |format: Format| {
                let marks: Vec<String> = format.marks().iter().map(|key| quoted(key)).collect();
                format!("{} ({})", format.name(), marks.join(", "))
            };
            let formats: Vec<String> = Format::ALL.into_iter().map(format).collect();
            format!("name the format with --from, one of: {}", formats.join("; "))
        };
        ConvertError::Unknown { path: path.to_owned(), line, keys: keys.join(", "), help }
    }

    pub(super) fn nothing(path: &Path, left_out: &[LeftOut]) -> ConvertError {
        let why =
            left_out.first().map_or(String::new(), |first| format!(": {} (line {})", first.why, first.line));
        ConvertError::Nothing { path: path.to_owned(), why }
    }

    /// What to type to get something that can be read.
    pub fn command(&self) -> Option<&str> {
        match self {
            ConvertError::NotLines { command, .. } => command.as_deref(),
            _ => None,
        }
    }

    /// Whether the user can mend it by changing what they gave us.
    pub fn is_bad_input(&self) -> bool {
        !matches!(self, ConvertError::Write(_))
    }
}

/// A line that is no row; `key` is where, as far as that is known.
pub(super) fn problem(
    path: &Path,
    number: usize,
    text: &str,
    key: &str,
    message: String,
    format: Option<Format>,
) -> TaskProblem {
    let quoted = format!("\"{key}\"");
    let place = if key.is_empty() { None } else { text.find(&quoted) };
    let place = place.map_or(0..1, |place| place..place + quoted.len());
    let (excerpt, place) = Excerpt::cut(&path.display().to_string(), number, text, place);
    let help = match format {
        Some(format) => {
            format!("this is not as {} has it; docs/tasks.md describes what is read", format.name())
        }
        None => "each line is one JSON object".to_owned(),
    };
    TaskProblem { line: number, message, help, excerpt, place }
}
