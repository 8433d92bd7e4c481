//! Task sets as others publish them, read into [`Task`]s.
//!
//! A file is read line by line, one JSON object each, compressed by gzip or not. A line that is no row of the format is an error at
//! its line; a row that is one, but whose tests cannot be run here, is left out and told of.

mod apps;
mod case2code;
mod check_function;
mod code_contests;
mod error;
mod function_calls;
mod human_eval;
mod lines;
mod live_code_bench;
mod mbpp;
mod multilingual;
mod plus;
mod programs;
mod row;
mod verl;

use std::collections::BTreeMap;
use std::path::Path;

pub(super) use check_function::{has_name, renamed};
pub use error::ConvertError;
use error::problem;
use lines::Lines;
use row::{Row, RowError};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::file::MAX_LINE_BYTES;
use super::{InvalidTasks, Task};

/// A published format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// HumanEval (Chen et al. 2021), and HumanEval+ with its tests as code or as inputs.
    HumanEval,
    /// MBPP (Austin et al. 2021): the whole set, the sanitised one, and MBPP+.
    Mbpp,
    /// APPS (Hendrycks et al. 2021): scripts and functions.
    Apps,
    /// CodeContests (Li et al. 2022).
    CodeContests,
    /// LiveCodeBench (Jain et al. 2024).
    LiveCodeBench,
    /// MBXP (Athiwaratkun et al. 2023).
    Mbxp,
    /// MultiPL-E (Cassano et al. 2023).
    MultiplE,
    /// LeetCodeDataset (Xia et al. 2025).
    LeetCode,
    /// BigCodeBench (Zhuo et al. 2024).
    BigCodeBench,
    /// Case2Code (Shao et al. 2024): functions by examples.
    Case2Code,
    /// xLAM's function calls (Liu et al. 2024): a request, functions, and the calls that answer it.
    Xlam,
    /// Rows for TRL and verl: `prompt` and `reward_model.ground_truth`.
    Verl,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 12] = [
        Format::HumanEval,
        Format::Mbpp,
        Format::Apps,
        Format::CodeContests,
        Format::LiveCodeBench,
        Format::Mbxp,
        Format::MultiplE,
        Format::LeetCode,
        Format::BigCodeBench,
        Format::Case2Code,
        Format::Xlam,
        Format::Verl,
    ];

    /// The name that the command line uses.
    pub const fn name(self) -> &'static str {
        match self {
            Format::HumanEval => "humaneval",
            Format::Mbpp => "mbpp",
            Format::Apps => "apps",
            Format::CodeContests => "codecontests",
            Format::LiveCodeBench => "livecodebench",
            Format::Mbxp => "mbxp",
            Format::MultiplE => "multipl-e",
            Format::LeetCode => "leetcode",
            Format::BigCodeBench => "bigcodebench",
            Format::Case2Code => "case2code",
            Format::Xlam => "xlam",
            Format::Verl => "verl",
        }
    }

    /// Keys that rows of the format have; no two formats have them all in common, in the order of [`Format::GUESSES`].
    const fn marks(self) -> &'static [&'static str] {
        match self {
            Format::HumanEval => &["task_id", "prompt", "entry_point", "canonical_solution"],
            Format::Mbpp => &["task_id", "code", "test_list"],
            Format::Apps => &["question", "input_output"],
            Format::CodeContests => &["description", "public_tests", "private_tests"],
            Format::LiveCodeBench => &["question_content", "public_test_cases", "private_test_cases"],
            Format::Mbxp => &["task_id", "language", "prompt", "test", "entry_point"],
            Format::MultiplE => &["name", "language", "prompt", "tests"],
            Format::LeetCode => &["task_id", "starter_code", "completion", "test", "entry_point"],
            Format::BigCodeBench => &["task_id", "complete_prompt", "test", "entry_point"],
            Format::Case2Code => &["func_name", "code", "example_inputs", "example_outputs"],
            Format::Xlam => &["query", "tools", "answers"],
            Format::Verl => &["prompt", "reward_model"],
        }
    }

    /// The formats in the order in which a row is held against them: those with marks of their own before those that are contained
    /// in others.
    const GUESSES: [Format; 12] = [
        Format::Verl,
        Format::Case2Code,
        Format::Xlam,
        Format::BigCodeBench,
        Format::LeetCode,
        Format::MultiplE,
        Format::Mbxp,
        Format::LiveCodeBench,
        Format::CodeContests,
        Format::Apps,
        Format::Mbpp,
        Format::HumanEval,
    ];

    /// The format of a row; `None` if it has the keys of none.
    pub fn guess(row: &Map<String, Json>) -> Option<Format> {
        let has = |format: &Format| format.marks().iter().all(|key| row.contains_key(*key));
        Format::GUESSES.into_iter().find(has)
    }

    fn read(self, row: &Row<'_>) -> Result<Task, RowError> {
        match self {
            Format::HumanEval => human_eval::read(row),
            Format::Mbpp => mbpp::read(row),
            Format::Apps => apps::read(row),
            Format::CodeContests => code_contests::read(row),
            Format::LiveCodeBench => live_code_bench::read(row),
            Format::Mbxp => multilingual::mbxp(row),
            Format::MultiplE => multilingual::multipl_e(row),
            Format::LeetCode => human_eval::leetcode(row),
            Format::BigCodeBench => human_eval::big_code_bench(row),
            Format::Case2Code => case2code::read(row),
            Format::Xlam => function_calls::read(row),
            Format::Verl => verl::read(row),
        }
    }
}

/// How a file is converted.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConvertOptions {
    /// The format; guessed from the first row if it is not given.
    pub from: Option<Format>,
    /// How many of a task's tests, from the first, become public where the format says nothing of public tests; one stays hidden in
    /// any case.
    pub public: usize,
}

/// What came of a conversion.
#[derive(Clone, Debug, Serialize)]
pub struct Converted {
    /// Name of the format.
    pub format: &'static str,
    /// Tasks written.
    pub tasks: usize,
    /// Rows whose tests cannot be run here.
    pub left_out: Vec<LeftOut>,
}

/// A row that is no task here.
#[derive(Clone, Debug, Serialize)]
pub struct LeftOut {
    /// Its line, from 1.
    pub line: usize,
    /// Why.
    pub why: String,
}

/// Reads `path` and hands each task to `write`, in the order of the file.
///
/// # Errors
///
/// If the file cannot be read or is of no format that this knows, with every line that is no row of the format (the tasks before
/// were handed over then), or what `write` says.
pub fn convert(
    path: &Path,
    options: ConvertOptions,
    mut write: impl FnMut(&Task) -> std::io::Result<()>,
) -> Result<Converted, ConvertError> {
    let mut lines = Lines::open(path)?;
    let mut format = options.from;
    let mut done = Converted { format: "", tasks: 0, left_out: Vec::new() };
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    let (mut problems, mut total) = (Vec::new(), 0);
    while let Some(line) = lines.next()? {
        let mut report = |key: &str, message: String, format: Option<Format>| {
            total += 1;
            if problems.len() < InvalidTasks::SHOWN {
                problems.push(problem(path, line.number, line.text, key, message, format));
            }
        };
        let row = match serde_json::from_str::<Json>(line.text) {
            Ok(Json::Object(row)) => row,
            Ok(other) => {
                report("", format!("found {}, wanted a JSON object", row::kind(&other)), format);
                continue;
            }
            Err(error) => {
                report("", format!("not JSON: {error}"), format);
                continue;
            }
        };
        let known = match format.or_else(|| Format::guess(&row)) {
            Some(known) => *format.insert(known),
            None => return Err(ConvertError::unknown(path, line.number, &row)),
        };
        done.format = known.name();
        match known.read(&Row::new(&row)).and_then(|task| finished(task, options.public)) {
            Ok(task) => match ids.insert(task.id.clone(), line.number) {
                Some(first) => report("", format!("the id `{}` is also in line {first}", task.id), format),
                None => {
                    write(&task).map_err(ConvertError::Write)?;
                    done.tasks += 1;
                }
            },
            Err(RowError::LeftOut(why)) => done.left_out.push(LeftOut { line: line.number, why }),
            Err(RowError::Malformed { key, message }) => report(&key, message, format),
        }
    }
    if total > 0 {
        return Err(ConvertError::Invalid(Box::new(InvalidTasks { path: path.to_owned(), total, problems })));
    }
    if done.tasks == 0 {
        return Err(ConvertError::nothing(path, &done.left_out));
    }
    Ok(done)
}

/// The task with its first tests made public, if it has none, and held to what task files can hold.
fn finished(mut task: Task, public: usize) -> Result<Task, RowError> {
    if task.hidden_tests.is_empty() {
        return Err(RowError::LeftOut(format!("`{}` has no test", task.id)));
    }
    if task.public_tests.is_empty() {
        let public = public.min(task.hidden_tests.len() - 1);
        task.public_tests = task.hidden_tests.drain(..public).collect();
    }
    task.public_tests.retain(|test| !task.hidden_tests.contains(test));
    let length = serde_json::to_string(&task).map_or(usize::MAX, |line| line.len());
    if length >= MAX_LINE_BYTES {
        let id = task.id;
        return Err(RowError::LeftOut(format!(
            "`{id}` takes {length} bytes, at most {MAX_LINE_BYTES} are read"
        )));
    }
    Ok(task)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
