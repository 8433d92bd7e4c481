//! `attempts.jsonl`: everything that evaluations into a folder have sampled, by key. Lines are only ever appended.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use fs_err::{File, OpenOptions};
use rltrain_checkpoints::ReadError;
use rltrain_executor::Verdict;
use serde::{Deserialize, Serialize};

use super::super::search::Found;
use crate::error::TrainError;
use crate::rollout::Completion;

/// Name inside a folder of results.
const FILE: &str = "attempts.jsonl";

/// Version of the lines that this build writes. It reads those before: format 1 has no programs, budget and `unaided` of searches.
const FORMAT: u64 = 2;

/// One attempt with a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Attempt {
    /// Id of the task, for people.
    pub(super) task: String,
    /// Number of the attempt, from 0.
    pub(super) sample: usize,
    /// What was sampled, without log-probabilities.
    pub(super) completion: Completion,
    /// What the hidden tests say, without the time it took.
    pub(super) verdict: Verdict,
    /// Whether it passes the public tests; absent if there are none.
    pub(super) public: Option<bool>,
    /// ENAMEL's score by fuel, 0 if it fails a test; absent if the reference was not measured.
    pub(super) efficiency: Option<f64>,
}

/// One line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    format: u64,
    key: String,
    entry: Entry,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Entry {
    Attempt(Box<Attempt>),
    /// What a verifier says of all attempts: by task, by sample.
    Forecasts(Vec<Vec<f64>>),
    Search(Found),
}

/// What is there, and where more of it goes.
pub(super) struct Store {
    path: PathBuf,
    file: File,
    attempts: BTreeMap<(String, usize), Attempt>,
    forecasts: BTreeMap<String, Vec<Vec<f64>>>,
    searches: BTreeMap<String, Found>,
}

impl Store {
    /// Reads what is there; a last line that a killed process left torn is cut off.
    ///
    /// # Errors
    ///
    /// If the disk refuses, or a line is not one of ours.
    pub(super) fn open(folder: &Path) -> Result<Store, TrainError> {
        let path = folder.join(FILE);
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        let text = fs_err::read(&path)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
        file.set_len(whole as u64)?;
        let file = OpenOptions::new().append(true).open(&path)?;
        let (attempts, forecasts, searches) = Default::default();
        let mut store = Store { path: path.clone(), file, attempts, forecasts, searches };
        for line in text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let json = |source| TrainError::Json { path: path.clone(), source };
            let line: serde_json::Value = serde_json::from_slice(line).map_err(json)?;
            let found = line.get("format").and_then(serde_json::Value::as_u64).unwrap_or_default();
            if !(1..=FORMAT).contains(&found) {
                return Err(ReadError::Format { path, found, wanted: FORMAT }.into());
            }
            store.take(serde_json::from_value(line).map_err(json)?);
        }
        Ok(store)
    }

    fn take(&mut self, Line { key, entry, .. }: Line) {
        match entry {
            Entry::Attempt(attempt) => drop(self.attempts.insert((key, attempt.sample), *attempt)),
            Entry::Forecasts(forecasts) => drop(self.forecasts.insert(key, forecasts)),
            Entry::Search(found) => drop(self.searches.insert(key, found)),
        }
    }

    /// The attempt with this number at the task whose attempts have this key.
    pub(super) fn attempt(&self, key: &str, sample: usize) -> Option<&Attempt> {
        self.attempts.get(&(key.to_owned(), sample))
    }

    /// Forecasts of this key.
    pub(super) fn forecasts(&self, key: &str) -> Option<&Vec<Vec<f64>>> {
        self.forecasts.get(key)
    }

    /// What a search of this key found.
    pub(super) fn search(&self, key: &str) -> Option<&Found> {
        self.searches.get(key)
    }

    /// Adds attempts, each with its key; they are on the disk when this returns.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub(super) fn add_attempts(&mut self, attempts: Vec<(String, Attempt)>) -> Result<(), TrainError> {
        self.add(attempts.into_iter().map(|(key, attempt)| (key, Entry::Attempt(Box::new(attempt)))))
    }

    /// As [`Store::add_attempts`].
    pub(super) fn add_forecasts(&mut self, key: &str, forecasts: Vec<Vec<f64>>) -> Result<(), TrainError> {
        self.add([(key.to_owned(), Entry::Forecasts(forecasts))])
    }

    /// As [`Store::add_attempts`].
    pub(super) fn add_search(&mut self, key: &str, found: Found) -> Result<(), TrainError> {
        self.add([(key.to_owned(), Entry::Search(found))])
    }

    fn add(&mut self, entries: impl IntoIterator<Item = (String, Entry)>) -> Result<(), TrainError> {
        let (mut text, mut lines) = (Vec::new(), Vec::new());
        for (key, entry) in entries {
            let line = Line { format: FORMAT, key, entry };
            let json = serde_json::to_writer(&mut text, &line);
            json.map_err(|source| TrainError::Json { path: self.path.clone(), source })?;
            text.push(b'\n');
            lines.push(line);
        }
        self.file.write_all(&text)?;
        self.file.sync_data()?;
        lines.into_iter().for_each(|line| self.take(line));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rltrain_executor::Ending;

    use super::*;

    #[test]
    fn a_torn_line_is_cut_off_and_what_is_whole_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let verdict = Verdict { load: Ending::PASSED, ..serde_json::from_str(VERDICT).unwrap() };
        let attempt = |sample| Attempt {
            task: "t".to_owned(),
            sample,
            completion: Completion { text: "x".to_owned(), ..Completion::default() },
            verdict: verdict.clone(),
            public: Some(true),
            efficiency: Some(1.0 / 3.0),
        };
        let mut store = Store::open(folder.path()).unwrap();
        store.add_attempts(vec![("k".to_owned(), attempt(0)), ("k".to_owned(), attempt(1))]).unwrap();
        let path = folder.path().join(FILE);
        let bytes = std::fs::read(&path).unwrap();
        let first = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for end in first..bytes.len() {
            std::fs::write(&path, &bytes[..end]).unwrap();
            let mut store = Store::open(folder.path()).unwrap();
            assert_eq!((store.attempt("k", 0), store.attempt("k", 1)), (Some(&attempt(0)), None), "{end}");
            store.add_attempts(vec![("k".to_owned(), attempt(1))]).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
        std::fs::write(&path, "{\"format\": 9, \"key\": \"k\"}\n").unwrap();
        assert!(Store::open(folder.path()).is_err(), "of another version");
    }

    const VERDICT: &str = r#"{"load": {"outcome": "passed"}, "tests": [], "fuel": 7, "peak_memory_bytes": 0, "wall_us": 0, "stdout": "", "stderr": "", "denied": {}}"#;
}
