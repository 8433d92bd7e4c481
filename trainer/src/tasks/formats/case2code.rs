//! Case2Code: functions that are to be found out from what they return.

use rltrain_executor::Test;
use serde_json::Value as Json;

use super::super::Task;
use super::super::python_value::PythonValue;
use super::row::{Row, RowError};

/// A row of Case2Code. The prompt shows some of the examples: they are public tests, and the others hidden ones. Examples that raise
/// an exception, or return what no literal stands for, are in no test.
pub(super) fn read(row: &Row<'_>) -> Result<Task, RowError> {
    let id = row.id(&["id"], "Case2Code")?;
    let function = row.text("func_name")?;
    let inputs = list(row, "example_inputs")?;
    let outputs = list(row, "example_outputs")?;
    let returned: Vec<Option<PythonValue>> =
        outputs.iter().map(|output| literal(output.get("return")?)).collect();
    let shown = list(row, "choosed_example_idx").unwrap_or_default();
    let is_shown = |place: usize| shown.iter().any(|shown| shown.as_u64() == Some(place as u64));
    let (mut public, mut hidden) = (Vec::new(), Vec::new());
    for (place, (input, returned)) in inputs.iter().zip(&returned).enumerate() {
        if let (Some(arguments), Some(returned)) = (arguments(input), returned) {
            let test = Test::from(format!("assert {function}({arguments}) == {returned}").as_str());
            if is_shown(place) { public.push(test) } else { hidden.push(test) }
        }
    }
    hidden.extend(rest(row, function, &returned, inputs.len())?);
    Ok(Task {
        id,
        prompt: row.text("prompt")?.trim().to_owned(),
        entry_point: function.to_owned(),
        reference: format!("{}\n", row.text("code")?.trim_end()),
        public_tests: public,
        hidden_tests: hidden,
        ..Task::default()
    })
}

/// The examples beyond those whose arguments stand in the row, as one test: `example_str` is the source that makes all of them.
fn rest(
    row: &Row<'_>,
    function: &str,
    returned: &[Option<PythonValue>],
    from: usize,
) -> Result<Option<Test>, RowError> {
    let behind = returned.iter().enumerate().skip(from);
    let known: Vec<(usize, &PythonValue)> =
        behind.filter_map(|(place, value)| Some((place, value.as_ref()?))).collect();
    let Some(source) = row.optional_text("example_str")?.filter(|_| !known.is_empty()) else {
        return Ok(None);
    };
    let joined = |texts: Vec<String>| texts.join(", ");
    let places = joined(known.iter().map(|(place, _)| place.to_string()).collect());
    let values = joined(known.iter().map(|(_, value)| value.to_string()).collect());
    let test =
        format!("{source}\nassert [{function}(**examples[place]) for place in [{places}]] == [{values}]");
    Ok(Some(Test::Statements(test)))
}

fn list<'a>(row: &Row<'a>, key: &str) -> Result<&'a [Json], RowError> {
    let items = row.get(key).and_then(Json::as_array);
    items.map(Vec::as_slice).ok_or_else(|| row.wanted(key, "a list"))
}

/// What `repr` wrote: the set has it as a text in quotes.
fn literal(json: &Json) -> Option<PythonValue> {
    let text = json.as_str()?;
    let written = serde_json::from_str::<String>(text);
    PythonValue::parse(written.as_deref().unwrap_or(text))
}

/// Arguments as a call has them, from a dictionary by their names.
fn arguments(input: &Json) -> Option<String> {
    let PythonValue::Dict(entries) = literal(input)? else { return None };
    let named = entries.iter().map(|(name, value)| match name {
        PythonValue::Text(name) => Some(format!("{name}={value}")),
        _ => None,
    });
    Some(named.collect::<Option<Vec<String>>>()?.join(", "))
}
