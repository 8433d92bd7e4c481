//! What a judge may cost, counted across restarts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::cache::{kept, private_folder};
use crate::plugin::PlugInError;

/// The first line of a ledger: its format, and the version.
const HEADER: &str = "rltrain-judge-ledger 1\n";

/// Requests and tokens, and where they are written down: a line each in the file `ledger`, so that a run that goes on knows what was
/// spent before. A line that a crash cut short counts as nothing.
pub(super) struct Budget {
    /// Empty: nothing is written down.
    folder: PathBuf,
    most: Spent,
    /// Read when the first request is made.
    state: Mutex<Option<State>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Spent {
    requests: u64,
    tokens: u64,
}

struct State {
    spent: Spent,
    ledger: Option<File>,
}

/// A line of the ledger.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    requests: u64,
    tokens: u64,
}

impl Budget {
    /// A budget; 0 is no limit.
    pub(super) fn new(folder: &Path, most_requests: u64, most_tokens: u64) -> Self {
        let most = Spent { requests: most_requests, tokens: most_tokens };
        Self { folder: folder.to_owned(), most, state: Mutex::new(None) }
    }

    /// Counts a request that is about to be made.
    ///
    /// # Errors
    ///
    /// If there is nothing left to pay it with.
    pub(super) fn begin(&self) -> Result<(), PlugInError> {
        self.with(|state, most| {
            let left = |spent: u64, most: u64| most == 0 || spent < most;
            let Spent { requests, tokens } = state.spent;
            if !left(requests, most.requests) || !left(tokens, most.tokens) {
                return Err(PlugInError::Spent(format!("{requests} requests and {tokens} tokens")));
            }
            Ok(Line { requests: 1, tokens: 0 })
        })
    }

    /// Counts the tokens of a request that was answered.
    pub(super) fn end(&self, tokens: u64) -> Result<(), PlugInError> {
        self.with(|_, _| Ok(Line { requests: 0, tokens }))
    }

    fn with(&self, line: impl FnOnce(&State, Spent) -> Result<Line, PlugInError>) -> Result<(), PlugInError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.folder.join("ledger");
        let failed = |error: io::Error| kept(&path, &error);
        let state = match &mut *state {
            Some(state) => state,
            empty => empty.insert(self.open(&path).map_err(failed)?),
        };
        let line = line(state, self.most)?;
        if let Some(ledger) = &mut state.ledger {
            let mut text = serde_json::to_string(&line).expect("two numbers are JSON by contract");
            text.push('\n');
            ledger.write_all(text.as_bytes()).map_err(failed)?;
        }
        state.spent.add(&line);
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<State> {
        if self.folder.as_os_str().is_empty() {
            return Ok(State { spent: Spent::default(), ledger: None });
        }
        private_folder(&self.folder)?;
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut ledger = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        if text.is_empty() {
            ledger.write_all(HEADER.as_bytes())?;
        } else if !text.starts_with(HEADER) {
            return Err(io::Error::other(format!("it does not begin with `{}`", HEADER.trim())));
        } else if !text.ends_with('\n') {
            // What comes next begins on a line of its own.
            ledger.write_all(b"\n")?;
        }
        let mut spent = Spent::default();
        for line in text.lines().skip(1).filter_map(|line| serde_json::from_str(line).ok()) {
            spent.add(&line);
        }
        Ok(State { spent, ledger: Some(ledger) })
    }
}

impl Spent {
    fn add(&mut self, line: &Line) {
        self.requests = self.requests.saturating_add(line.requests);
        self.tokens = self.tokens.saturating_add(line.tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_of_requests_or_tokens_ends() {
        for (requests, tokens) in [(2, 0), (0, 20)] {
            let budget = Budget::new(Path::new(""), requests, tokens);
            for _ in 0..2 {
                budget.begin().unwrap();
                budget.end(10).unwrap();
            }
            let error = budget.begin().unwrap_err().to_string();
            assert_eq!(error, "the budget is spent: 2 requests and 20 tokens");
        }
        let endless = Budget::new(Path::new(""), 0, 0);
        (0..99).for_each(|_| endless.begin().unwrap());
    }

    #[test]
    fn what_was_spent_before_a_restart_is_spent() {
        let folder = tempfile::tempdir().unwrap();
        let budget = || Budget::new(folder.path(), 3, 0);
        budget().begin().unwrap();
        let second = budget();
        second.begin().unwrap();
        second.end(5).unwrap();
        // A crash in the middle of a line, which is lost.
        let ledger = folder.path().join("ledger");
        let text = fs::read_to_string(&ledger).unwrap();
        assert_eq!(text.lines().count(), 4);
        fs::write(&ledger, format!("{text}{{\"requests\":1,\"tok")).unwrap();
        budget().begin().unwrap();
        assert!(matches!(budget().begin(), Err(PlugInError::Spent(_))));
    }

    #[test]
    fn a_ledger_of_another_version_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ledger"), "rltrain-judge-ledger 2\n").unwrap();
        let error = Budget::new(folder.path(), 1, 0).begin().unwrap_err().to_string();
        assert!(error.ends_with("it does not begin with `rltrain-judge-ledger 1`"), "{error}");
    }
}
