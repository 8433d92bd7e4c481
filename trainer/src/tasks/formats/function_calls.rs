//! Sets of function calls, as xLAM's is published: a request, the functions that there are, and the calls that answer it.

use rltrain_executor::{CallTest, Test, ValueComparison};
use rltrain_rewards::{Call, Expected};
use serde_json::{Map, Value as Json};

use super::super::Task;
use super::super::python_value::PythonValue;
use super::row::{Row, RowError};

/// What returns the calls.
const FUNCTION: &str = "calls";

/// A row of xLAM (Liu et al. 2024): a program that returns the calls, in any order. The reward `function_calls` knows them too,
/// for prompts that ask for JSON instead.
pub(super) fn read(row: &Row<'_>) -> Result<Task, RowError> {
    let id = row.id(&["id"], "xLAM")?;
    let answers = row.embedded("answers")?;
    let wanted = || row.wanted("answers", "a list of objects with `name` and `arguments`");
    let calls: Vec<Call> =
        answers.as_array().and_then(|all| all.iter().map(call).collect()).ok_or_else(wanted)?;
    let tools = row.embedded("tools")?;
    let tools = tools.as_array().ok_or_else(|| row.wanted("tools", "a list of functions"))?;
    let tools: Vec<String> = tools.iter().map(Json::to_string).collect();
    let list: Vec<Json> = calls.iter().map(object).collect();
    let expected = Json::Array(list);
    let signature = format!("def {FUNCTION}():");
    Ok(Task {
        id,
        prompt: format!(
            "Return the list of the function calls that answer this request, each a dictionary with `name` and `arguments`.\n\n{}\n\n\
             These functions can be called:\n\n{}",
            row.text("query")?.trim(),
            tools.join("\n")
        ),
        reference: format!("{signature}\n    return {}\n", PythonValue::from(&expected)),
        signature,
        entry_point: FUNCTION.to_owned(),
        hidden_tests: vec![Test::Call(CallTest {
            function: FUNCTION.to_owned(),
            arguments: Vec::new(),
            keywords: Map::new(),
            expected,
            compare: ValueComparison::Unordered,
        })],
        expected: Some(Expected { calls: Some(calls), ..Expected::default() }),
        ..Task::default()
    })
}

fn call(json: &Json) -> Option<Call> {
    let name = json.get("name")?.as_str()?.to_owned();
    let arguments = match json.get("arguments") {
        None | Some(Json::Null) => Map::new(),
        Some(Json::Object(arguments)) => arguments.clone(),
        Some(_) => return None,
    };
    Some(Call { name, arguments })
}

fn object(call: &Call) -> Json {
    let arguments = Json::Object(call.arguments.clone());
    Json::Object(Map::from_iter([
        ("name".to_owned(), Json::String(call.name.clone())),
        ("arguments".to_owned(), arguments),
    ]))
}
