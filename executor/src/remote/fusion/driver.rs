//! The Python file that a server is given: a program, and what is to be called of it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::Ending;
use crate::plan::PLAIN;
use crate::value::Value;

/// What a driver is to do.
#[derive(Serialize)]
pub(super) struct Task<'a> {
    /// What lines of the driver begin with. Another one for each request: a program that prints such a line without knowing it is not
    /// heard.
    pub(super) mark: String,
    pub(super) program: &'a str,
    /// Whether the program is compiled, and not run.
    pub(super) only_compile: bool,
    pub(super) steps: Vec<Step<'a>>,
}

/// One thing to be done after the program has run.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Step<'a> {
    pub(super) kind: StepKind,
    pub(super) source: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StepKind {
    /// Statements are run.
    Run,
    /// An expression is evaluated, and its value told.
    Value,
    /// An expression is compiled.
    Compile,
}

/// What a driver says of the program, and then of each step.
#[derive(Deserialize)]
struct Told {
    /// 0 for the program, the number of the step from 1 otherwise.
    at: usize,
    ending: Ending,
    /// In marshal format and base64.
    value: Option<String>,
}

/// How something ended, and the value that it gave, if that is a plain one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) ending: Ending,
    pub(super) value: Option<Value>,
}

/// A mark that no program can guess.
pub(super) fn mark() -> String {
    use std::hash::{BuildHasher, RandomState};
    // The standard library seeds each from the operating system.
    let random = || RandomState::new().hash_one(0_u8);
    format!("rltrain-{:016x}{:016x} ", random(), random())
}

impl Task<'_> {
    /// The file.
    pub(super) fn code(&self) -> serde_json::Result<String> {
        let task = STANDARD.encode(serde_json::to_vec(self)?);
        Ok(format!("{}{}, \"{task}\")\n", include_str!("driver.py"), PLAIN.trim()))
    }

    /// What the driver has said, by number, and what else was printed.
    pub(super) fn read(&self, stdout: &str) -> (BTreeMap<usize, Done>, String) {
        let (mut done, mut printed) = (BTreeMap::new(), String::new());
        let mut rest = stdout;
        let mark = format!("\n{}", self.mark);
        while let Some((before, after)) = rest.split_once(&mark) {
            printed.push_str(before);
            let (line, after) = after.split_once('\n').unwrap_or((after, ""));
            if let Ok(told) = serde_json::from_str::<Told>(line) {
                let bytes = told.value.and_then(|value| STANDARD.decode(value).ok());
                let value = bytes.and_then(|bytes| Value::read(&bytes).ok());
                // The first one counts.
                done.entry(told.at).or_insert(Done { ending: told.ending, value });
            }
            rest = after;
        }
        printed.push_str(rest);
        (done, printed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    #[test]
    fn what_the_driver_says_is_told_from_what_the_program_prints() {
        let task = Task { mark: "mark ".to_owned(), program: "", only_compile: false, steps: Vec::new() };
        let stdout = "hello\nmark {\"at\": 0, \"ending\": {\"outcome\": \"passed\"}, \"value\": null}\n\
                      mark {}\nnot \nmark nonsense\nmark\
                      \nmark {\"at\": 1, \"ending\": {\"outcome\": \"passed\"}, \"value\": \"aQcAAAA=\"}\n";
        let (done, printed) = task.read(stdout);
        assert_eq!(done[&0], Done { ending: Ending::PASSED, value: None });
        assert_eq!(done[&1], Done { ending: Ending::PASSED, value: Some(Value::small(7)) });
        assert!(printed.starts_with("hello") && printed.contains("not"), "{printed:?}");
        let (done, printed) = task.read("cut off\nmark {\"at\": 0, \"ending\": {\"outc");
        assert_eq!((done.len(), printed.as_str()), (0, "cut off"));
        let twice = "\nmark {\"at\": 0, \"ending\": {\"outcome\": \"raised\"}}\n".to_owned()
            + "\nmark {\"at\": 0, \"ending\": {\"outcome\": \"passed\"}}\n";
        assert_eq!(task.read(&twice).0[&0].ending, Outcome::Raised);
    }
}
