//! APPS, and tests as its key `input_output` has them, which other sets have taken over.

use rltrain_executor::{CallTest, StdinTest, Test, TextComparison, ValueComparison};
use serde_json::{Map, Value as Json};

use super::super::Task;
use super::programs::PRELUDE;
use super::row::{Row, RowError, kind};

/// A row of APPS.
pub(super) fn read(row: &Row<'_>) -> Result<Task, RowError> {
    let id = row.id(&["id", "problem_id", "task_id"], "APPS")?;
    if row.get("input_output").and_then(Json::as_str).is_some_and(|text| text.trim().is_empty()) {
        return Err(RowError::LeftOut(format!("`{id}` has no test")));
    }
    let found = row.embedded("input_output")?;
    let starter = row.optional_text("starter_code")?.unwrap_or_default().trim_end();
    let judged = judged(&found, "input_output", starter)?;
    let solution = match row.get("solutions") {
        Some(Json::String(text)) if text.trim().is_empty() => None,
        Some(_) => first_text(row.embedded("solutions")?.as_ref()),
        None => None,
    };
    let begun =
        if starter.is_empty() { String::new() } else { format!("\n\nThe program defines:\n\n{starter}") };
    Ok(judged.task(id, format!("{}{begun}", row.text("question")?.trim()), solution.as_deref()))
}

fn first_text(json: &Json) -> Option<String> {
    json.as_array()?.first()?.as_str().map(str::to_owned)
}

/// Tests, and what they call.
pub(super) struct Judged {
    pub(super) tests: Vec<Test>,
    /// Empty for scripts.
    pub(super) entry_point: String,
}

impl Judged {
    /// A task with these tests. Functions get what harnesses put before them.
    pub(super) fn task(self, id: String, prompt: String, solution: Option<&str>) -> Task {
        let signature = if self.entry_point.is_empty() { "" } else { PRELUDE };
        let solution = solution.map(|solution| solution.replace("\r\n", "\n"));
        let reference = solution.filter(|solution| !solution.trim().is_empty()).map(|solution| {
            let gap = if signature.is_empty() { "" } else { "\n\n\n" };
            format!("{signature}{gap}{}\n", solution.trim_end())
        });
        Task {
            id,
            prompt,
            signature: signature.to_owned(),
            entry_point: self.entry_point,
            reference: reference.unwrap_or_default(),
            hidden_tests: self.tests,
            ..Task::default()
        }
    }
}

/// The tests of `{"inputs": […], "outputs": […], "fn_name": …}`, which stands at `key`.
pub(super) fn judged(json: &Json, key: &str, starter: &str) -> Result<Judged, RowError> {
    let wrong = |message: String| RowError::malformed(key, format!("`{key}`: {message}"));
    let list = |name: &str| match json.get(name) {
        Some(Json::Array(items)) => Ok(items),
        other => {
            let found = other.map_or("no such key", kind);
            Err(wrong(format!("found {found} at `{name}`, wanted a list")))
        }
    };
    let (inputs, outputs) = (list("inputs")?, list("outputs")?);
    if inputs.len() != outputs.len() {
        return Err(wrong(format!(
            "found {} inputs and {} outputs, wanted as many",
            inputs.len(),
            outputs.len()
        )));
    }
    let Some(function) = json.get("fn_name").and_then(Json::as_str) else {
        let pairs = inputs.iter().zip(outputs);
        let test = |(input, output)| Some(script(&lines(input)?, &lines(output)?));
        let tests =
            pairs.map(|pair| test(pair).ok_or_else(|| wrong("wanted texts, or lists of lines".to_owned())));
        return Ok(Judged { tests: tests.collect::<Result<_, _>>()?, entry_point: String::new() });
    };
    // Where every output is a list of one, that list is APPS's own and not the function's.
    let is_wrapped = outputs.iter().all(|output| output.as_array().is_some_and(|items| items.len() == 1));
    let entry_point = method(starter, function);
    let mut tests = Vec::with_capacity(inputs.len());
    for (input, output) in inputs.iter().zip(outputs) {
        let arguments = input.as_array().ok_or_else(|| {
            wrong(format!("found {} as input of a function, wanted a list of arguments", kind(input)))
        })?;
        let expected = if is_wrapped { &output[0] } else { output };
        tests.push(call(&entry_point, arguments.clone(), expected.clone()));
    }
    Ok(Judged { tests, entry_point })
}

/// How tests call a function that the program may have to define in a class `Solution`.
pub(super) fn method(starter: &str, function: &str) -> String {
    if starter.contains("class Solution") { format!("Solution().{function}") } else { function.to_owned() }
}

pub(super) fn call(function: &str, arguments: Vec<Json>, expected: Json) -> Test {
    Test::Call(CallTest {
        function: function.to_owned(),
        arguments,
        keywords: Map::new(),
        expected,
        compare: ValueComparison::Exact,
    })
}

/// A script is right if it prints the same words; harnesses differ in what they make of spaces, and this is what they agree on.
pub(super) fn script(stdin: &str, stdout: &str) -> Test {
    Test::Stdin(StdinTest {
        stdin: stdin.to_owned(),
        stdout: stdout.to_owned(),
        compare: TextComparison::Tokens,
    })
}

/// A text, or the lines of one.
fn lines(json: &Json) -> Option<String> {
    match json {
        Json::String(text) => Some(text.clone()),
        Json::Array(items) => {
            let lines: Option<Vec<String>> = items.iter().map(lines).collect();
            Some(lines?.join("\n"))
        }
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
