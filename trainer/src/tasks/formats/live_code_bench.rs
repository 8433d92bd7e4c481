//! LiveCodeBench: scripts and methods; private tests that are JSON, or a pickle in zlib in base64.

use rltrain_executor::Test;
use serde_json::Value as Json;

use super::super::Task;
use super::apps::{Judged, call, method, script};
use super::row::{Row, RowError};

/// A row of LiveCodeBench.
pub(super) fn read(row: &Row<'_>) -> Result<Task, RowError> {
    let id = row.id(&["question_id"], "LiveCodeBench")?;
    let starter = row.optional_text("starter_code")?.unwrap_or_default().trim_end();
    let function = match row.get("metadata") {
        Some(_) => row.embedded("metadata")?.get("func_name").and_then(Json::as_str).map(str::to_owned),
        None => None,
    };
    let entry_point = function.map(|function| method(starter, &function)).unwrap_or_default();
    let public = tests(row, "public_test_cases", &entry_point)?;
    if is_packed(row) {
        return Err(RowError::LeftOut(format!(
            "the private tests of `{id}` are a pickle, which is a program and is not read; docs/tasks.md has the command that unpacks them"
        )));
    }
    let hidden = tests(row, "private_test_cases", &entry_point)?;
    let (public, hidden) = if hidden.is_empty() { (Vec::new(), public) } else { (public, hidden) };
    let begun =
        if starter.is_empty() { String::new() } else { format!("\n\nThe program begins with:\n\n{starter}") };
    let judged = Judged { tests: hidden, entry_point };
    let mut task = judged.task(id, format!("{}{begun}", row.text("question_content")?.trim()), None);
    if !starter.is_empty() && !task.entry_point.is_empty() {
        task.signature = format!("{}\n\n\n{starter}", task.signature);
    }
    Ok(Task { public_tests: public, ..task })
}

/// Whether the private tests are there and no JSON.
fn is_packed(row: &Row<'_>) -> bool {
    let text = row.get("private_test_cases").and_then(Json::as_str).map(str::trim_start);
    text.is_some_and(|text| !text.is_empty() && !text.starts_with(['[', '{', 'n']))
}

fn tests(row: &Row<'_>, key: &str, entry_point: &str) -> Result<Vec<Test>, RowError> {
    if row.get(key).and_then(Json::as_str).is_some_and(|text| text.trim().is_empty()) {
        return Ok(Vec::new());
    }
    let found = row.embedded(key)?;
    if found.is_null() {
        return Ok(Vec::new());
    }
    let refuse = || row.wanted(key, "a list of objects with `input`, `output` and `testtype`");
    let cases = found.as_array().ok_or_else(refuse)?;
    cases.iter().map(|case| test(case, entry_point).ok_or_else(refuse)).collect()
}

/// One case; a method is given one argument a line, each JSON.
pub(super) fn test(case: &Json, entry_point: &str) -> Option<Test> {
    let side = |name: &str| case.get(name)?.as_str();
    let (input, output) = (side("input")?, side("output")?);
    if side("testtype").is_none_or(|kind| kind != "functional") {
        return Some(script(input, output));
    }
    let arguments: Option<Vec<Json>> = input
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).ok())
        .collect();
    Some(call(entry_point, arguments?, serde_json::from_str(output).ok()?))
}
