//! MBXP and MultiPL-E: HumanEval and MBPP in many languages, of which those are read whose tests can be run behind a program.

use rltrain_executor::Test;
use rltrain_rewards::Language;

use super::super::Task;
use super::check_function::{self, renamed, statements};
use super::programs::docstring;
use super::row::{Row, RowError};

/// What MBXP's tests want of lodash.
const LODASH: &str = "const _ = { isEqual: (a, b) => { try { assert.deepEqual(a, b); return true; } catch { return false; } } };";

/// A row of MBXP.
pub(super) fn mbxp(row: &Row<'_>) -> Result<Task, RowError> {
    let id = row.id(&["task_id"], "MBXP")?;
    let language = language(row, &id)?;
    let entry_point = row.text("entry_point")?;
    let source = row.text("test")?;
    let tests = match language {
        Language::Python => check_function::tests(source, entry_point),
        _ => vec![Test::Statements(without_lodash(source))],
    };
    let begin = row.text("prompt")?;
    let words =
        row.optional_text("description")?.map(str::to_owned).or_else(|| docstring(begin, entry_point));
    let solution = row.optional_text("canonical_solution")?;
    let task =
        Task { id, entry_point: entry_point.to_owned(), language, hidden_tests: tests, ..Task::default() };
    Ok(begun(task, begin, words, solution))
}

/// A row of MultiPL-E, which has no solutions.
pub(super) fn multipl_e(row: &Row<'_>) -> Result<Task, RowError> {
    let id = row.id(&["name"], "MultiPL-E")?;
    let language = language(row, &id)?;
    let begin = row.text("prompt")?;
    // `HumanEval_0_has_close_elements`.
    let name = id.splitn(3, '_').nth(2).unwrap_or(&id).to_owned();
    if !check_function::has_name(begin, &name) {
        let message = format!("the prompt has no function `{name}`, which `name` says");
        return Err(RowError::malformed("prompt", message));
    }
    let source = row.text("tests")?;
    let tests = match language {
        Language::Python => check_function::tests(source, &name),
        _ => javascript(source, &name),
    };
    let words = docstring(begin, &name).or_else(|| Some(comments(begin)));
    Ok(begun(
        Task { id, entry_point: name, language, hidden_tests: tests, ..Task::default() },
        begin,
        words,
        None,
    ))
}

/// The task with a signature that is all of `begin`, and a reference that goes on from it.
fn begun(task: Task, begin: &str, words: Option<String>, solution: Option<&str>) -> Task {
    let signature = begin.trim_end();
    let reference = solution.map(|solution| {
        let space =
            Some(&begin[signature.len()..]).filter(|space| space.starts_with(['\n', '\r'])).unwrap_or("\n");
        format!("{signature}{space}{}\n", solution.trim_end())
    });
    Task {
        prompt: words.filter(|words| !words.trim().is_empty()).unwrap_or_else(|| begin.trim().to_owned()),
        signature: signature.to_owned(),
        reference: reference.unwrap_or_default(),
        ..task
    }
}

/// The language of a row, if its tests can be run behind a program in it.
fn language(row: &Row<'_>, id: &str) -> Result<Language, RowError> {
    let name = row.text("language")?;
    match Language::named(name) {
        Some(language @ (Language::Python | Language::JavaScript)) => Ok(language),
        Some(_) => Err(RowError::LeftOut(format!(
            "the tests of `{id}` are code in `{name}` that is compiled with the program; only stdin tests are run in that language"
        ))),
        None => Err(RowError::LeftOut(format!("nothing runs `{name}`, the language of `{id}`"))),
    }
}

/// The words of the line comments at the beginning of a program.
fn comments(begin: &str) -> String {
    let lines = begin.lines().map(str::trim);
    let words: Vec<&str> = lines.filter_map(|line| line.strip_prefix("//")).map(str::trim).collect();
    words.join("\n").trim().to_owned()
}

fn without_lodash(source: &str) -> String {
    let is_import = |line: &str| line.contains("require(\"lodash\")") || line.contains("require('lodash')");
    let lines = source.lines().map(|line| if is_import(line) { LODASH } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

/// The assertions of MultiPL-E's `test` function one by one, or the whole as one test.
fn javascript(source: &str, name: &str) -> Vec<Test> {
    let apart = || {
        let body = source.split_once("let candidate = ")?.1.split_once('\n')?.1;
        let body = body.rsplit_once("\n}")?.0;
        let all = statements(body)?;
        let is_assertion = |one: &String| one.starts_with("assert.") && one.ends_with(';');
        (!all.is_empty() && all.iter().all(is_assertion)).then_some(all)
    };
    match apart() {
        Some(all) => {
            let one = |one: &String| renamed(one.trim_end_matches(';'), "candidate", name);
            all.iter().map(|statement| Test::Statements(one(statement))).collect()
        }
        None => vec![Test::from(source)],
    }
}
