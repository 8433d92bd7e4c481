//! CodeContests: scripts, with public, private and generated tests.

use rltrain_executor::Test;
use serde_json::Value as Json;

use super::super::Task;
use super::apps::{Judged, script};
use super::row::{Row, RowError};

/// The number that stands for Python 3 among the languages of solutions.
const PYTHON3: i64 = 3;

/// A row of CodeContests, or of a set of its shape.
pub(super) fn read(row: &Row<'_>) -> Result<Task, RowError> {
    let public = tests(row, "public_tests")?;
    let mut hidden = tests(row, "private_tests")?;
    hidden.extend(tests(row, "generated_tests")?);
    let id = row.id(&["name", "id", "task_id"], "CodeContests")?;
    let (public, hidden) = if hidden.is_empty() { (Vec::new(), public) } else { (public, hidden) };
    let solution = solution(row.get("solutions"));
    let judged = Judged { tests: hidden, entry_point: String::new() };
    let task = judged.task(id, row.text("description")?.trim().to_owned(), solution);
    Ok(Task { public_tests: public, ..task })
}

/// The first solution in Python 3.
fn solution(solutions: Option<&Json>) -> Option<&str> {
    let solutions = solutions?;
    let (languages, texts) = (solutions.get("language")?.as_array()?, solutions.get("solution")?.as_array()?);
    let is_python =
        |language: &Json| language.as_i64() == Some(PYTHON3) || language.as_str() == Some("PYTHON3");
    languages.iter().zip(texts).find(|(language, _)| is_python(language))?.1.as_str()
}

/// The tests at a key: `{"input": […], "output": […]}`, or a list of `{"input": …, "output": …}`.
fn tests(row: &Row<'_>, key: &str) -> Result<Vec<Test>, RowError> {
    let refuse = || row.wanted(key, "`input` and `output` as lists of texts");
    let Some(found) = row.get(key) else { return Ok(Vec::new()) };
    let text = |json: &Json| json.as_str().map(str::to_owned).ok_or_else(refuse);
    if let Json::Array(pairs) = found {
        let side = |pair: &Json, name| pair.get(name).ok_or_else(refuse).and_then(text);
        return pairs.iter().map(|pair| Ok(script(&side(pair, "input")?, &side(pair, "output")?))).collect();
    }
    let list = |name: &str| found.get(name).and_then(Json::as_array).ok_or_else(refuse);
    let (inputs, outputs) = (list("input")?, list("output")?);
    if inputs.len() != outputs.len() {
        return Err(row.wanted(key, "as many inputs as outputs"));
    }
    inputs.iter().zip(outputs).map(|(input, output)| Ok(script(&text(input)?, &text(output)?))).collect()
}
