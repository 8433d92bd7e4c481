//! HumanEval+ and MBPP+ (Liu et al. 2023) as EvalPlus publishes them: inputs without outputs, which the canonical solution gives.

use rltrain_executor::{Cases, PropertyTest, Test};
use serde_json::Value as Json;

use super::super::Task;
use super::super::python_value::PythonValue;
use super::programs::docstring;
use super::row::{Row, RowError};

/// How EvalPlus compares: floats within a tolerance that is 1e-6 where the row asks for none, everything else by `==`.
const COMPARISON: &str = r#"
def _has_float(value):
    if isinstance(value, (list, tuple)):
        return any(_has_float(item) for item in value)
    return isinstance(value, float)


def _same(result, expected, tolerance):
    if isinstance(expected, (list, tuple)) and isinstance(result, (list, tuple)):
        pairs = zip(result, expected)
        return len(result) == len(expected) and all(_same(*pair, tolerance) for pair in pairs)
    if result == expected:
        return True
    number = (int, float)
    if not isinstance(expected, number) or not isinstance(result, number):
        return False
    return abs(result - expected) <= tolerance + 1e-7 * abs(expected)
"#;

/// The tests of a row with `base_input` and `plus_input`: for each of the two, that the program gives on all inputs what the
/// reference gives. The reference runs where the program never enters.
pub(super) fn tests(row: &Row<'_>, reference: &str, id: &str) -> Result<Vec<Test>, RowError> {
    let entry_point = row.text("entry_point")?;
    let tolerance = row.get("atol").and_then(Json::as_f64).unwrap_or(0.0);
    let mut tests = Vec::new();
    for key in ["base_input", "plus_input"] {
        let inputs = match row.get(key) {
            None => continue,
            Some(Json::Array(inputs)) => inputs,
            Some(_) => return Err(row.wanted(key, "a list of lists of arguments")),
        };
        if !inputs.iter().all(Json::is_array) {
            return Err(row.wanted(key, "a list of lists of arguments"));
        }
        if inputs.is_empty() {
            continue;
        }
        let count = u32::try_from(inputs.len()).ok().and_then(|count| Cases::try_from(count).ok());
        let most = Cases::MOST;
        let cases = count.ok_or_else(|| {
            RowError::LeftOut(format!(
                "`{id}` has {} inputs in `{key}`, at most {most} are tried",
                inputs.len()
            ))
        })?;
        let literal = PythonValue::from(&Json::Array(inputs.clone()));
        tests.push(Test::Property(PropertyTest {
            function: entry_point.to_owned(),
            inputs: format!(
                "_all = iter({literal})\n\n\ndef inputs(random):\n    return tuple(next(_all))\n"
            ),
            holds: format!(
                "import copy\n\n{reference}\n{COMPARISON}\n\ndef holds(result, *arguments):\n    \
                 expected = {entry_point}(*copy.deepcopy(arguments))\n    \
                 tolerance = {tolerance:?} or (1e-6 if _has_float(expected) else 0)\n    \
                 return _same(result, expected, tolerance)\n"
            ),
            cases,
            seed: 0,
        }));
    }
    Ok(tests)
}

/// A row of MBPP+: the prompt is a docstring with an assertion in it, the solution a whole program.
pub(super) fn mbpp(row: &Row<'_>) -> Result<Task, RowError> {
    let (prompt, solution) = (row.text("prompt")?, row.text("canonical_solution")?);
    let entry_point = row.text("entry_point")?;
    let id = row.id(&["task_id"], "Mbpp")?;
    let words = docstring(&format!("def {entry_point}(\n{prompt}"), entry_point);
    let reference = format!("{}\n", solution.trim());
    Ok(Task {
        prompt: words.unwrap_or_else(|| prompt.trim().to_owned()),
        entry_point: entry_point.to_owned(),
        hidden_tests: tests(row, &reference, &id)?,
        reference,
        id,
        ..Task::default()
    })
}
