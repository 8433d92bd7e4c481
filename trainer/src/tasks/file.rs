//! Reading task files.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::{Index, Range};
use std::path::{Path, PathBuf};

use rltrain_executor::Test;
use rltrain_rewards::Language;

use super::Task;
use super::error::{InvalidTasks, TaskProblem, TasksError};
use super::excerpt::Excerpt;
use super::fit::runtime_for;

/// Longest line that is read, in bytes. A longer one is no task but some other file.
pub(super) const MAX_LINE_BYTES: usize = 16 << 20;

/// The tasks of one file, at least one, in the order of its lines. Made by [`TaskSet::load`].
#[derive(Clone, Debug)]
pub struct TaskSet {
    path: PathBuf,
    tasks: Vec<Task>,
    blake3: String,
}

impl TaskSet {
    /// Reads a task file: JSON lines, one [`Task`] a line; blank lines are passed over.
    ///
    /// The file is read line by line, so that only its tasks and its problems have to fit into memory.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, has no task, or has lines that are not tasks; every one of them is reported.
    pub fn load(path: &Path) -> Result<TaskSet, TasksError> {
        let unreadable = |source| TasksError::Read { path: path.to_owned(), source };
        let file = fs_err::File::open(path).map_err(unreadable)?;
        let mut reading = Reading::new(path);
        reading.read(BufReader::new(file)).map_err(unreadable)?;
        reading.finish()
    }

    /// How many tasks there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "a set of tasks is never empty")]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// The tasks in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Task> {
        self.tasks.iter()
    }

    /// The file that the tasks were read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// BLAKE3 hash of the file's bytes, in hexadecimal digits.
    pub fn blake3(&self) -> &str {
        &self.blake3
    }
}

impl Index<usize> for TaskSet {
    type Output = Task;

    fn index(&self, place: usize) -> &Task {
        &self.tasks[place]
    }
}

impl<'a> IntoIterator for &'a TaskSet {
    type Item = &'a Task;
    type IntoIter = std::slice::Iter<'a, Task>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A task file while it is read.
struct Reading<'a> {
    path: &'a Path,
    name: String,
    tasks: Vec<Task>,
    /// Line of each id.
    ids: BTreeMap<String, usize>,
    hasher: blake3::Hasher,
    total: usize,
    problems: Vec<TaskProblem>,
}

/// A line and its number, from 1.
#[derive(Clone, Copy)]
struct Line<'a> {
    number: usize,
    text: &'a str,
}

impl<'a> Reading<'a> {
    fn new(path: &'a Path) -> Reading<'a> {
        Reading {
            path,
            name: path.display().to_string(),
            tasks: Vec::new(),
            ids: BTreeMap::new(),
            hasher: blake3::Hasher::new(),
            total: 0,
            problems: Vec::new(),
        }
    }

    fn read(&mut self, mut file: impl BufRead) -> io::Result<()> {
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            // One byte more than is allowed tells a line that is too long from one that just fits.
            (&mut file).take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut bytes)?;
            if bytes.is_empty() {
                break;
            }
            self.hasher.update(&bytes);
            let too_long = bytes.len() > MAX_LINE_BYTES && bytes.last() != Some(&b'\n');
            if too_long {
                self.skip_line(&mut file)?;
            }
            let text = String::from_utf8_lossy(&bytes);
            let line = Line { number, text: text.trim_end_matches(['\n', '\r']) };
            if too_long {
                let message = format!("longer than {MAX_LINE_BYTES} bytes, wanted a task");
                self.report(
                    line,
                    0..1,
                    message,
                    "a task file holds one JSON object a line, with a newline after each",
                );
            } else if let Err(error) = std::str::from_utf8(&bytes) {
                let place = error.valid_up_to();
                let message = format!("byte {} is not UTF-8", place + 1);
                self.report(line, place..place + 1, message, "save the file as UTF-8");
            } else if !line.text.trim().is_empty() {
                self.take(line);
            }
        }
        Ok(())
    }

    /// Reads on to the next line without keeping what it reads.
    fn skip_line(&mut self, file: &mut impl BufRead) -> io::Result<()> {
        loop {
            let buffer = file.fill_buf()?;
            let newline = buffer.iter().position(|byte| *byte == b'\n');
            let used = newline.map_or(buffer.len(), |place| place + 1);
            self.hasher.update(&buffer[..used]);
            let over = newline.is_some() || buffer.is_empty();
            file.consume(used);
            if over {
                return Ok(());
            }
        }
    }

    fn report(
        &mut self,
        line: Line<'_>,
        place: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.total += 1;
        if self.problems.len() < InvalidTasks::SHOWN {
            let (excerpt, place) = Excerpt::cut(&self.name, line.number, line.text, place);
            let (message, help) = (message.into(), help.into());
            self.problems.push(TaskProblem { line: line.number, message, help, excerpt, place });
        }
    }

    /// Takes one line in, as a task or as problems.
    fn take(&mut self, line: Line<'_>) {
        match serde_json::from_str::<Task>(line.text) {
            Ok(task) => {
                self.check(line, &task);
                self.tasks.push(task);
            }
            Err(error) => self.report_json(line, &error),
        }
    }

    fn report_json(&mut self, line: Line<'_>, error: &serde_json::Error) {
        let whole = error.to_string();
        let message = whole.split(" at line ").next().unwrap_or(&whole);
        let end = error.column().min(line.text.len());
        let keys =
            || format!("the keys of a task are {}", Task::KEYS.map(|key| format!("`{key}`")).join(", "));
        let quoted = message.split('`').nth(1).unwrap_or_default();
        if message.starts_with("unknown field") {
            let place = line.text[..end].rfind(&format!("\"{quoted}\"")).unwrap_or(end);
            let near = Task::KEYS.into_iter().filter(|key| strsim::jaro_winkler(key, quoted) > 0.8);
            let near = near
                .max_by(|a, b| strsim::jaro_winkler(a, quoted).total_cmp(&strsim::jaro_winkler(b, quoted)));
            let help = near.map_or_else(keys, |key| format!("did you mean `{key}`? {}", keys()));
            self.report(line, place..place + quoted.len() + 2, format!("unknown key `{quoted}`"), help);
        } else if message.starts_with("missing field") {
            self.report(line, end.saturating_sub(1)..end, format!("the key `{quoted}` is missing"), keys());
        } else if message.starts_with("duplicate field") {
            let place = line.text[..end].rfind(&format!("\"{quoted}\"")).unwrap_or(end);
            let help = "keep one of the two";
            self.report(
                line,
                place..place + quoted.len() + 2,
                format!("the key `{quoted}` is there twice"),
                help,
            );
        } else if error.is_data() {
            self.report(
                line,
                end.saturating_sub(1)..end,
                format!("not a task: {}", message.replace("struct Task", "a JSON object")),
                keys(),
            );
        } else {
            let message = format!("not JSON: {message}");
            let help = "each line is one JSON object, without a comma after it";
            self.report(line, end.saturating_sub(1)..end, message, help);
        }
    }

    /// Reports what a task says that cannot work.
    fn check(&mut self, line: Line<'_>, task: &Task) {
        let Task { id, prompt, signature, reference, public_tests, hidden_tests, .. } = task;
        if id.trim().is_empty() {
            self.report(line, key(line, "id"), "the id is empty", "give every task a name of its own");
        } else if let Some(first) = self.ids.insert(id.clone(), line.number) {
            let message = format!("the id `{id}` is also in line {first}");
            self.report(line, key(line, "id"), message, "give every task a name of its own");
        }
        if prompt.trim().is_empty() {
            self.report(
                line,
                key(line, "prompt"),
                "the prompt is empty",
                "say in words what the function must do",
            );
        }
        self.check_signature(line, task);
        let begins = |rest: &str| signature.is_empty() || rest.is_empty() || rest.starts_with(['\n', '\r']);
        let known = task.reference().is_some();
        if known && !reference.strip_prefix(signature.as_str()).is_some_and(begins) {
            let message = format!("the reference does not begin with the signature `{signature}`");
            let help = "the reference is a whole program that begins with the signature, to the letter";
            self.report(line, key(line, "reference"), message, help);
        }
        if hidden_tests.is_empty() {
            let message = "`hidden_tests` is empty, wanted at least one test";
            let help = "a test is a statement such as `assert double(2) == 4`, or an object: docs/tasks.md";
            self.report(line, key(line, "hidden_tests"), message, help);
        }
        for (name, tests) in [("public_tests", public_tests), ("hidden_tests", hidden_tests)] {
            if let Some(place) = tests.iter().position(is_blank) {
                let message = format!("test {} of `{name}` is blank", place + 1);
                self.report(
                    line,
                    key(line, name),
                    message,
                    "write a statement such as `assert double(2) == 4`",
                );
            }
        }
        self.check_extras(line, task);
    }

    /// Reports what the keys that may be absent say and that cannot work.
    fn check_extras(&mut self, line: Line<'_>, task: &Task) {
        let mut levels = task.levels.iter();
        if levels.any(|level| level.tests.iter().all(is_blank)) {
            let help = "give every level its weight and at least one test, or take it out";
            self.report(line, key(line, "levels"), "a level has no test, wanted at least one", help);
        }
        if task.tested.as_ref().is_some_and(|tested| tested.wrong.is_empty()) {
            let message = "`tested` has no wrong program, wanted at least one";
            let help = "tests are good if the right program passes them and wrong ones do not";
            self.report(line, key(line, "tested"), message, help);
        }
        if runtime_for(task.language).is_none() {
            let message = format!("nothing runs programs in `{}`", task.language.name());
            let help = "docs/languages.md and docs/process-backend.md list the languages";
            self.report(line, key(line, "language"), message, help);
        }
    }

    fn check_signature(&mut self, line: Line<'_>, task: &Task) {
        let Task { signature, entry_point, language, .. } = task;
        let place = key(line, "signature");
        let is_python = *language == Language::Python;
        let (last, one_line) = (signature.lines().next_back().unwrap_or_default(), !signature.contains('\n'));
        if signature.is_empty() {
            return;
        }
        if signature.ends_with(char::is_whitespace) || is_python && one_line && !last.ends_with(':') {
            let found = signature.escape_debug();
            let wanted = if is_python && one_line { "end in a colon" } else { "end at its last letter" };
            let message = format!("the signature `{found}` does not {wanted}");
            let help = "no space and no newline follow the signature: the model writes what does";
            self.report(line, place, message, help);
        } else if entry_point.is_empty() {
            let help = "name the function that tests call";
            self.report(line, place, "a signature without the key `entry_point`", help);
        } else if is_python && signature.contains("def ") && !defines(signature, entry_point) {
            // Imports alone are a beginning, too.
            let message =
                format!("the entry point `{entry_point}` is not defined by the signature `{signature}`");
            let help = "a signature has `def`, the entry point and an opening parenthesis";
            self.report(line, key(line, "entry_point"), message, help);
        }
    }

    fn finish(self) -> Result<TaskSet, TasksError> {
        let path = self.path.to_owned();
        if self.total > 0 {
            let (total, problems) = (self.total, self.problems);
            return Err(Box::new(InvalidTasks { path, total, problems }).into());
        }
        if self.tasks.is_empty() {
            return Err(TasksError::Empty { path });
        }
        Ok(TaskSet { path, tasks: self.tasks, blake3: self.hasher.finalize().to_hex().to_string() })
    }
}

/// Whether a signature in Python defines what tests call: `f`, or the last name of `Solution().f`.
fn defines(signature: &str, entry_point: &str) -> bool {
    let name = entry_point.rsplit('.').next().unwrap_or(entry_point).trim_end_matches("()");
    ["def ", "class "].iter().any(|word| signature.contains(&format!("{word}{name}")))
}

/// Whether a test says nothing.
fn is_blank(test: &Test) -> bool {
    matches!(test, Test::Statements(source) if source.trim().is_empty())
}

/// Where a key is in a line; at its beginning if it is not there.
///
/// Quotes inside JSON strings have a backslash before them, so the quoted key followed by a colon is nowhere else.
fn key(line: Line<'_>, name: &str) -> Range<usize> {
    let quoted = format!("\"{name}\"");
    let is_key = |place: &usize| line.text[place + quoted.len()..].trim_start().starts_with(':');
    let place = line.text.match_indices(&quoted).map(|(place, _)| place).find(is_key).unwrap_or(0);
    place..place + quoted.len()
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
