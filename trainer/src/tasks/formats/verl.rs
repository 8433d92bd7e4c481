//! Rows for TRL and verl: what the model is told, and a ground truth that says how it is judged.

use rltrain_executor::{SuiteTest, Test};
use serde_json::Value as Json;

use super::super::Task;
use super::apps::{self, Judged};
use super::check_function::statements;
use super::live_code_bench;
use super::row::{Row, RowError};

const KEY: &str = "reward_model";

/// A row with `prompt` and `reward_model.ground_truth`.
pub(super) fn read(row: &Row<'_>) -> Result<Task, RowError> {
    let id = match row.get("extra_info").and_then(|info| info.get("index")) {
        Some(Json::Number(number)) => format!("verl/{number}"),
        Some(Json::String(text)) => text.clone(),
        _ => row.id(&["id", "task_id", "index"], "verl")?,
    };
    let truth = row.get(KEY).and_then(|model| model.get("ground_truth"));
    let truth = truth.ok_or_else(|| RowError::malformed(KEY, "`reward_model`: found no `ground_truth`"))?;
    let parsed = truth.as_str().and_then(|text| serde_json::from_str::<Json>(text).ok());
    let judged = match parsed.as_ref().unwrap_or(truth) {
        Json::Object(_) => apps::judged(parsed.as_ref().unwrap_or(truth), KEY, "")?,
        Json::Array(items) => listed(items)?,
        Json::String(source) if !source.trim().is_empty() => {
            Judged { tests: code(source), entry_point: String::new() }
        }
        _ => return Err(unknown()),
    };
    let solution = row.optional_text("solution")?;
    let mut task = judged.task(id, words(row)?, solution);
    if task.entry_point.is_empty() && !task.hidden_tests.iter().all(|test| matches!(test, Test::Stdin(_))) {
        task.entry_point = called(&task.hidden_tests);
    }
    Ok(task)
}

fn unknown() -> RowError {
    RowError::malformed(
        KEY,
        "`reward_model`: found a `ground_truth` that says nothing of tests, wanted `inputs` and `outputs`, a list of assertions, a \
         list of `input` and `output`, or a test module",
    )
}

/// A list of assertions, or of inputs and outputs.
fn listed(items: &[Json]) -> Result<Judged, RowError> {
    let assertions: Option<Vec<Test>> = items.iter().map(|item| item.as_str().map(Test::from)).collect();
    if let Some(tests) = assertions {
        return Ok(Judged { tests, entry_point: String::new() });
    }
    let name = |item: &Json| {
        let named = item.get("fn_name").or_else(|| item.get("metadata")?.get("func_name"))?;
        named.as_str().map(str::to_owned)
    };
    let entry_point = items.iter().find_map(name).unwrap_or_default();
    let tests: Option<Vec<Test>> =
        items.iter().map(|item| live_code_bench::test(item, &entry_point)).collect();
    Ok(Judged { tests: tests.ok_or_else(unknown)?, entry_point })
}

/// Code: a test module, or assertions.
fn code(source: &str) -> Vec<Test> {
    if source.lines().any(|line| line.trim_start().starts_with("def test_")) {
        return vec![Test::Suite(SuiteTest { source: source.to_owned(), name: None })];
    }
    let apart = statements(source).filter(|all| all.iter().all(|one| one.starts_with("assert")));
    apart.map_or_else(|| vec![Test::from(source)], |all| all.into_iter().map(Test::Statements).collect())
}

/// The function that tests in Python call: what the first assertion calls, or what a suite imports.
fn called(tests: &[Test]) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let source = match tests.first() {
        Some(Test::Statements(source)) => {
            source.trim_start().trim_start_matches("assert").trim_start_matches([' ', '('])
        }
        Some(Test::Suite(suite)) => suite.source.split("from solution import ").nth(1).unwrap_or_default(),
        _ => "",
    };
    source.split(|c| !is_word(c)).next().unwrap_or_default().to_owned()
}

/// What the user says: the prompt itself, or the user's messages in it.
fn words(row: &Row<'_>) -> Result<String, RowError> {
    let Some(Json::Array(messages)) = row.get("prompt") else { return row.text("prompt").map(str::to_owned) };
    let of_user = |message: &&Json| message.get("role").and_then(Json::as_str) == Some("user");
    let content = |message: &Json| message.get("content").and_then(Json::as_str).map(str::to_owned);
    let said: Vec<String> = messages.iter().filter(of_user).filter_map(content).collect();
    if said.is_empty() {
        Err(row.wanted("prompt", "a text or messages of a user"))
    } else {
        Ok(said.join("\n\n"))
    }
}
