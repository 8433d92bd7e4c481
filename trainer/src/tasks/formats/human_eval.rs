//! HumanEval and what has its shape: a prompt that is the beginning of the program, and a function `check`.

use rltrain_executor::{SuiteTest, Test};

use super::super::Task;
use super::programs::{PRELUDE, docstring};
use super::row::{Row, RowError};
use super::{check_function, plus};

/// A row of HumanEval or HumanEval+.
pub(super) fn read(row: &Row<'_>) -> Result<Task, RowError> {
    let entry_point = row.text("entry_point")?;
    let id = row.id(&["task_id"], "HumanEval")?;
    if id.starts_with("Mbpp/") {
        return plus::mbpp(row);
    }
    let mut task = completion(row, id, "prompt", row.text("canonical_solution")?)?;
    if row.get("plus_input").is_some() {
        task.hidden_tests = plus::tests(row, &task.reference, &task.id)?;
    } else {
        task.hidden_tests = check_function::tests(row.text("test")?, entry_point);
    }
    Ok(task)
}

/// A row of BigCodeBench, whose tests are a suite of unittest.
pub(super) fn big_code_bench(row: &Row<'_>) -> Result<Task, RowError> {
    let id = row.id(&["task_id"], "BigCodeBench")?;
    let mut task =
        completion(row, id, "complete_prompt", row.optional_text("canonical_solution")?.unwrap_or_default())?;
    if let Some(words) = row.optional_text("instruct_prompt")? {
        task.prompt = words.to_owned();
    }
    let source = format!("from solution import *\n{}", row.text("test")?);
    task.hidden_tests = vec![Test::Suite(SuiteTest { source, name: None })];
    Ok(task)
}

/// A task whose signature is the whole text at `key`, which a solution goes on from.
fn completion(row: &Row<'_>, id: String, key: &str, solution: &str) -> Result<Task, RowError> {
    let (begin, entry_point) = (row.text(key)?, row.text("entry_point")?);
    let signature = begin.trim_end();
    let words = docstring(begin, entry_point).filter(|words| !words.is_empty());
    let reference = if solution.is_empty() { String::new() } else { continued(signature, begin, solution) };
    Ok(Task {
        id,
        prompt: words.unwrap_or_else(|| begin.trim().to_owned()),
        signature: signature.to_owned(),
        entry_point: entry_point.to_owned(),
        reference,
        public_tests: check_function::doctests(begin, entry_point),
        ..Task::default()
    })
}

/// The program whose beginning is `begin`, so that `signature`, which that is without the space at its end, is a line of its own.
fn continued(signature: &str, begin: &str, solution: &str) -> String {
    let space = &begin[signature.len()..];
    let end = if solution.ends_with('\n') { "" } else { "\n" };
    if space.starts_with(['\n', '\r']) || solution.starts_with('\n') {
        format!("{begin}{solution}{end}")
    } else {
        format!("{signature}\n{space}{solution}{end}")
    }
}

/// A row of LeetCodeDataset: imports, a class that is begun, and `check`.
pub(super) fn leetcode(row: &Row<'_>) -> Result<Task, RowError> {
    let entry_point = row.text("entry_point")?;
    let (starter, solution) = (row.text("starter_code")?.trim_end(), row.text("completion")?);
    let prelude = row.optional_text("prompt")?.unwrap_or(PRELUDE).trim_end();
    let begins = |rest: &str| rest.starts_with(['\n', '\r']);
    let is_begun = !starter.is_empty() && solution.strip_prefix(starter).is_some_and(begins);
    let signature = if is_begun { format!("{prelude}\n\n\n{starter}") } else { prelude.to_owned() };
    let words = row.optional_text("problem_description")?.or(row.optional_text("query")?);
    Ok(Task {
        id: row.id(&["task_id", "question_id"], "LeetCode")?,
        prompt: words.unwrap_or(starter).to_owned(),
        reference: format!("{prelude}\n\n\n{}\n", solution.trim_end()),
        signature,
        entry_point: entry_point.to_owned(),
        hidden_tests: check_function::tests(row.text("test")?, entry_point),
        ..Task::default()
    })
}
