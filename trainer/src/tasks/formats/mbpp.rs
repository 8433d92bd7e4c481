//! MBPP: words, a program, and assertions.

use rltrain_executor::Test;

use super::super::Task;
use super::check_function::has_name;
use super::programs::{functions, parameters};
use super::row::{Row, RowError};

/// A row of MBPP, whole or sanitised, or of MBPP+ with its tests as code.
pub(super) fn read(row: &Row<'_>) -> Result<Task, RowError> {
    let code = row.text("code")?;
    let words = row.optional_text("text")?.map_or_else(|| row.text("prompt"), Ok)?;
    let listed = row.texts("test_list")?;
    let challenge = row.texts("challenge_test_list")?;
    let first = listed.first().ok_or_else(|| row.wanted("test_list", "at least one assertion"))?;
    let reference = format!("{}\n", code.replace("\r\n", "\n").trim_end());
    let entry_point = functions(&reference)
        .into_iter()
        .rev()
        .find(|name| has_name(first, name))
        .ok_or_else(|| {
            RowError::malformed("test_list", format!("no function of `code` is in the test `{first}`"))
        })?
        .to_owned();
    let mut setup = row.texts("test_imports")?.join("\n");
    if let Some(more) = row.optional_text("test_setup_code")? {
        setup.push_str(more);
    }
    let setup = setup.replace("\r\n", "\n");
    let whole = row.optional_text("test")?.filter(|test| !test.trim().is_empty());
    let tests = match whole {
        // MBPP+ has its inputs in one piece of code, which contains those of the list.
        Some(whole) => vec![Test::from(whole)],
        None => {
            listed.iter().chain(&challenge).map(|test| Test::Statements(with_setup(&setup, test))).collect()
        }
    };
    let given = parameters(&reference, &entry_point).unwrap_or_default();
    let given = given.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(Task {
        id: row.id(&["task_id"], "MBPP")?,
        prompt: format!("{} The program defines `{entry_point}({given})`.", words.trim()),
        entry_point,
        reference,
        hidden_tests: tests,
        ..Task::default()
    })
}

/// A test behind what it takes. Some copies of the sanitised set have lost `test_imports`, which never names anything but `math`: a
/// test that names it gets it all the same.
fn with_setup(setup: &str, test: &str) -> String {
    let lacks_math = has_name(test, "math") && test.contains("math.") && !setup.contains("math");
    let math = if lacks_math { "import math\n" } else { "" };
    let setup = setup.trim_end();
    let gap = if setup.is_empty() { "" } else { "\n" };
    format!("{math}{setup}{gap}{}", test.trim())
}
