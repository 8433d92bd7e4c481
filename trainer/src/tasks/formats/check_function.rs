//! Tests that are written as one function `check(candidate)`, taken apart, and examples in docstrings.

use rltrain_executor::Test;

use super::super::python_value::PythonValue;

/// The tests of a `check(candidate)` function: its assertions one by one, with the function's own name, if there is nothing else in
/// it and around it; otherwise the whole as one test. Assertions that are taken apart are judged by the host, and each counts.
pub(super) fn tests(source: &str, entry_point: &str) -> Vec<Test> {
    let apart = assertions(source)
        .map(|all| all.into_iter().filter(|one| has_name(one, "candidate")).collect::<Vec<_>>())
        .filter(|all| !all.is_empty());
    match apart {
        Some(all) => all.iter().map(|one| Test::Statements(renamed(one, "candidate", entry_point))).collect(),
        None => {
            let called =
                source.lines().any(|line| line.starts_with("check(") || line.starts_with("test_check("));
            let call = if called { String::new() } else { format!("\n\ncheck({entry_point})") };
            vec![Test::Statements(format!("{}{call}\n", source.trim_end()))]
        }
    }
}

/// The assertions of `check`, if the source has nothing else that matters.
fn assertions(source: &str) -> Option<Vec<String>> {
    let start = source.find("def check(candidate)")?;
    let (before, function) = source.split_at(start);
    if !is_idle(before) {
        return None;
    }
    let (_, body) = function.split_once(":\n").filter(|(head, _)| !head.contains('\n'))?;
    let is_outside = |line: &&str| !line.trim().is_empty() && !line.starts_with([' ', '\t']);
    let inside: Vec<&str> = body.lines().take_while(|line| !is_outside(line)).collect();
    let after: Vec<&str> = body.lines().skip(inside.len()).collect();
    if !after.iter().all(|line| is_call_of_check(line)) {
        return None;
    }
    let mut found = Vec::new();
    for statement in statements(&inside.join("\n"))? {
        if !statement.starts_with("assert ") && !statement.starts_with("assert(") {
            return None;
        }
        found.push(statement);
    }
    Some(found)
}

/// Whether text before `check` defines nothing but `METADATA`.
fn is_idle(text: &str) -> bool {
    let mut rest = text.trim();
    if let Some(after) = rest.strip_prefix("METADATA = {") {
        rest = after.split_once('}').map_or(after, |(_, rest)| rest).trim();
    }
    rest.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

/// Whether a line behind `check` does no more than call it.
fn is_call_of_check(line: &str) -> bool {
    let line = line.trim();
    line.is_empty()
        || line.starts_with('#')
        || line.starts_with("check(")
        || ["def test_check():", "test_check()", "if __name__ == '__main__':", "if __name__ == \"__main__\":"]
            .contains(&line)
}

/// The statements of a text, one a line but for brackets that are still open and strings over several lines; without comments.
/// `None` if a bracket or string does not close.
pub(super) fn statements(text: &str) -> Option<Vec<String>> {
    let (mut found, mut one, mut depth) = (Vec::new(), String::new(), 0_usize);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let mut length = first.len_utf8();
        match first {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.checked_sub(1)?,
            '\'' | '"' => length = string_length(rest)?,
            '#' => {
                rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
                continue;
            }
            '\\' if rest[1..].starts_with('\n') => length = 2,
            '\n' if depth == 0 => {
                take_statement(&mut one, &mut found);
                rest = &rest[1..];
                continue;
            }
            _ => {}
        }
        one.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    take_statement(&mut one, &mut found);
    (depth == 0).then_some(found)
}

fn take_statement(one: &mut String, found: &mut Vec<String>) {
    let statement = std::mem::take(one);
    if !statement.trim().is_empty() {
        found.push(statement.trim().to_owned());
    }
}

/// Bytes of the string literal that `text` begins with.
fn string_length(text: &str) -> Option<usize> {
    let one = &text[..1];
    let triple = one.repeat(3);
    let quote = if text.starts_with(&triple) { triple.as_str() } else { one };
    let mut at = quote.len();
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with(quote) {
            return Some(at + quote.len());
        }
        let mut characters = rest.chars();
        let first = characters.next()?;
        if first == '\n' && quote.len() == 1 {
            return None;
        }
        at += first.len_utf8();
        if first == '\\' {
            at += characters.next()?.len_utf8();
        }
    }
    None
}

/// Whether `name` is in `text` as a whole word.
pub(in super::super) fn has_name(text: &str, name: &str) -> bool {
    places(text, name).next().is_some()
}

/// `text` with another name in place of `name`, wherever that is a whole word.
pub(in super::super) fn renamed(text: &str, name: &str, other: &str) -> String {
    let mut result = String::new();
    let mut end = 0;
    for place in places(text, name) {
        result.push_str(&text[end..place]);
        result.push_str(other);
        end = place + name.len();
    }
    result + &text[end..]
}

fn places<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let stands_alone = move |place: &usize| {
        !text[..*place].ends_with(is_word) && !text[place + name.len()..].starts_with(is_word)
    };
    text.match_indices(name).map(|(place, _)| place).filter(stands_alone)
}

/// The examples of a docstring, `>>> f(1)` with the value below it, as assertions; those that call `entry_point` and whose value is a
/// literal.
pub(super) fn doctests(text: &str, entry_point: &str) -> Vec<Test> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut found = Vec::new();
    for (place, line) in lines.iter().enumerate() {
        let Some(call) = line.strip_prefix(">>> ") else { continue };
        let value: Vec<&str> = lines[place + 1..]
            .iter()
            .take_while(|line| !line.is_empty() && !line.starts_with(">>>") && !line.starts_with("\"\"\""))
            .copied()
            .collect();
        let value = value.join(" ");
        let value = value.trim_end_matches("\"\"\"").trim_end_matches("'''").trim_end();
        if call.starts_with(&format!("{entry_point}(")) && PythonValue::parse(value).is_some() {
            found.push(Test::Statements(format!("assert {} == {value}", call.trim())));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(source: &str) -> Vec<String> {
        tests(source, "add").iter().map(super::super::super::shown).collect()
    }

    #[test]
    fn a_function_of_assertions_becomes_as_many_tests() {
        let source = "METADATA = {\n    'author': 'x'\n}\n\n\ndef check(candidate):\n    # easy\n    assert candidate(1) == 2\n    \
                      assert candidate(\n        [1, '#)']) == [ # why\n    2]\n    assert True\n\n    assert abs(candidate(2) - 3) < 1e-6, \
                      \"candidates\"\n\ncheck(add)\n";
        assert_eq!(
            sources(source),
            [
                "assert add(1) == 2",
                "assert add(\n        [1, '#)']) == [ \n    2]",
                "assert abs(add(2) - 3) < 1e-6, \"candidates\""
            ]
        );
    }

    #[test]
    fn anything_else_stays_one_test() {
        for source in [
            "def check(candidate):\n    for n in range(9):\n        assert candidate(n) == n\n",
            "import math\n\ndef check(candidate):\n    assert candidate(1) == 1\n",
            "def check(candidate):\n    x = 1\n    assert candidate(x) == x\n",
            "def check(candidate):\n    assert candidate(1) == [1\n",
        ] {
            assert_eq!(sources(source), [format!("{}\n\ncheck(add)\n", source.trim_end())], "{source}");
        }
        let called = "x = 1\ndef check(candidate):\n    assert candidate(x)\n\ncheck(add)";
        assert_eq!(sources(called), [format!("{called}\n")]);
    }

    #[test]
    fn examples_with_a_literal_are_tests() {
        let docstring = ">>> add(1, 2)\n    3\n    >>> add('a', 'b')\n    'ab'\n    >>> add(1, 1)\n    two\n    >>> other(1)\n    1\n    \
                         >>> add([1], [2])\n    [1,\n     2]\n    \"\"\"";
        let found: Vec<String> = doctests(docstring, "add").iter().map(super::super::super::shown).collect();
        assert_eq!(
            found,
            ["assert add(1, 2) == 3", "assert add('a', 'b') == 'ab'", "assert add([1], [2]) == [1, 2]"]
        );
    }

    #[test]
    fn only_whole_names_are_renamed() {
        assert_eq!(renamed("f(f1, xf, f.f)", "f", "g"), "g(f1, xf, g.g)");
    }
}
