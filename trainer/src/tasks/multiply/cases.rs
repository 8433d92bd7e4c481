//! Tests as arguments and what is returned for them.

use rltrain_executor::{CallTest, Test, ValueComparison};

use super::super::Task;
use super::super::python_value::PythonValue;

/// A call of the task's function, and what it returns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Case {
    /// The arguments as they stand between the parentheses.
    pub(super) arguments: String,
    /// What is returned.
    pub(super) expected: PythonValue,
    /// The test as it is, if it is a call with a comparison of its own.
    pub(super) call: Option<CallTest>,
}

/// The tests of a task.
pub(super) struct Cases {
    pub(super) public: Vec<Case>,
    pub(super) hidden: Vec<Case>,
}

impl Cases {
    pub(super) fn all(&self) -> impl Iterator<Item = &Case> {
        self.public.iter().chain(&self.hidden)
    }
}

/// The tests of `task` as cases.
///
/// # Errors
///
/// If one of them says anything but what a call returns.
pub(super) fn cases(task: &Task) -> Result<Cases, String> {
    if task.entry_point.is_empty() || task.entry_point.contains('.') {
        return Err("its tests call no function at the top level".to_owned());
    }
    let read = |tests: &[Test]| {
        let one = |test: &Test| {
            case(test, &task.entry_point)
                .ok_or_else(|| format!("`{}` does not say what one call returns", test.title()))
        };
        tests.iter().map(one).collect::<Result<Vec<_>, _>>()
    };
    Ok(Cases { public: read(&task.public_tests)?, hidden: read(&task.hidden_tests)? })
}

pub(super) fn case(test: &Test, entry_point: &str) -> Option<Case> {
    match test {
        Test::Statements(source) => {
            let call = source.trim().strip_prefix("assert ")?.trim_start().strip_prefix(entry_point)?;
            let end = closing(call)?;
            let expected = call[end + 1..].trim_start().strip_prefix("==")?;
            let expected = PythonValue::parse(expected.trim())?;
            Some(Case { arguments: call[1..end].trim().to_owned(), expected, call: None })
        }
        Test::Call(call) if call.function == entry_point => {
            if !matches!(call.compare, ValueComparison::Exact | ValueComparison::Close(_)) {
                return None;
            }
            let positional = call.arguments.iter().map(|value| PythonValue::from(value).to_string());
            let named =
                call.keywords.iter().map(|(name, value)| format!("{name}={}", PythonValue::from(value)));
            let arguments = positional.chain(named).collect::<Vec<_>>().join(", ");
            let exact = call.compare == ValueComparison::Exact;
            let kept = Some(call.clone()).filter(|_| !exact);
            Some(Case { arguments, expected: PythonValue::from(&call.expected), call: kept })
        }
        _ => None,
    }
}

/// Where the parenthesis closes that `text` begins with.
pub(super) fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote = None;
    let mut escaped = false;
    for (place, character) in text.char_indices() {
        match (quote, character) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(place);
                }
            }
            (None, _) if depth == 0 => return None,
            (None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assertions_of_one_call_and_a_literal_are_cases() {
        let read =
            |test: &str| case(&test.into(), "f").map(|case| (case.arguments, case.expected.to_string()));
        assert_eq!(read("assert f(1, 'a)') == [2]"), Some(("1, 'a)'".to_owned(), "[2]".to_owned())));
        assert_eq!(read("assert f({1: (2,)}) == True"), Some(("{1: (2,)}".to_owned(), "True".to_owned())));
        assert_eq!(read("assert f() == ''"), Some((String::new(), "''".to_owned())));
        for other in [
            "assert f(1)",
            "assert f(1) + 1 == 2",
            "assert g(1) == 2",
            "assert f(1) == g(2)",
            "assert f(1) == 2, 'm'",
            "f(1)",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
