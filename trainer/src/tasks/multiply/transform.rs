//! Changes of what a function returns.

use rltrain_executor::{CallTest, Test};

use super::super::formats::renamed;
use super::super::python_value::PythonValue;
use super::super::wrong::body_indent;
use super::super::{Origin, Task};
use super::Draws;
use super::cases::{Case, Cases, closing};

/// What type results are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    /// Floats, or floats and whole numbers.
    Float,
    Text,
    /// Lists or tuples.
    Sequence,
}

impl Kind {
    fn of_one(value: &PythonValue) -> Option<Kind> {
        Some(match value {
            PythonValue::Bool(_) => Kind::Bool,
            PythonValue::Int(_) => Kind::Int,
            PythonValue::Float(number) if number.is_finite() => Kind::Float,
            PythonValue::Text(_) => Kind::Text,
            PythonValue::List(_) | PythonValue::Tuple(_) => Kind::Sequence,
            _ => return None,
        })
    }

    /// What type all of them are of; `None` if there is none for which there are changes.
    pub(super) fn of<'a>(values: impl Iterator<Item = &'a PythonValue>) -> Option<Kind> {
        let mut kinds = values.map(Kind::of_one);
        let first = kinds.next()??;
        kinds.try_fold(first, |known, kind| match (known, kind?) {
            (known, kind) if known == kind => Some(known),
            (Kind::Int | Kind::Float, Kind::Int | Kind::Float) => Some(Kind::Float),
            _ => None,
        })
    }
}

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transform {
    Add(i32),
    Multiply(i32),
    Not,
    AsInt,
    AsText,
    Reverse,
    Append(&'static str),
    Length,
}

impl Transform {
    /// The changes that results of a type allow, with numbers and texts drawn for them.
    pub(super) fn of(kind: Kind, draws: &mut Draws) -> Vec<Transform> {
        let mut number = || 2 + draws.below(8) as i32;
        match kind {
            Kind::Bool => vec![Transform::Not, Transform::AsInt],
            Kind::Int => vec![Transform::Add(number()), Transform::Multiply(number()), Transform::AsText],
            Kind::Float => vec![Transform::Add(number()), Transform::Multiply(number())],
            Kind::Text => {
                let end = ["!", "?", "-end", "."][draws.below(4)];
                vec![Transform::Reverse, Transform::Append(end), Transform::Length]
            }
            Kind::Sequence => vec![Transform::Reverse, Transform::Length],
        }
    }

    /// What type the changed result is of.
    pub(super) fn gives(&self, kind: Kind) -> Kind {
        match self {
            Transform::Add(_) | Transform::Multiply(_) | Transform::Reverse | Transform::Append(_) => kind,
            Transform::Not => Kind::Bool,
            Transform::AsInt | Transform::Length => Kind::Int,
            Transform::AsText => Kind::Text,
        }
    }

    /// How it is called in [`Origin::transforms`].
    pub(super) fn name(&self) -> String {
        match self {
            Transform::Add(number) => format!("add {number}"),
            Transform::Multiply(number) => format!("multiply {number}"),
            Transform::Not => "not".to_owned(),
            Transform::AsInt => "as-int".to_owned(),
            Transform::AsText => "as-text".to_owned(),
            Transform::Reverse => "reverse".to_owned(),
            Transform::Append(end) => format!("append {end}"),
            Transform::Length => "length".to_owned(),
        }
    }

    fn words(&self) -> String {
        match self {
            Transform::Add(number) => format!("add {number} to it"),
            Transform::Multiply(number) => format!("multiply it by {number}"),
            Transform::Not => "turn True into False and False into True".to_owned(),
            Transform::AsInt => "turn True into 1 and False into 0".to_owned(),
            Transform::AsText => "turn it into a string".to_owned(),
            Transform::Reverse => "reverse it".to_owned(),
            Transform::Append(end) => format!("append '{end}' to it"),
            Transform::Length => "take its length instead".to_owned(),
        }
    }

    /// The changed value, by Python's rules; `None` if that is beyond 128 bits.
    fn apply(&self, value: PythonValue) -> Option<PythonValue> {
        Some(match (self, value) {
            (Transform::Add(number), PythonValue::Int(value)) => {
                PythonValue::Int(value.checked_add(i128::from(*number))?)
            }
            (Transform::Add(number), PythonValue::Float(value)) => {
                PythonValue::Float(value + f64::from(*number))
            }
            (Transform::Multiply(number), PythonValue::Int(value)) => {
                PythonValue::Int(value.checked_mul(i128::from(*number))?)
            }
            (Transform::Multiply(number), PythonValue::Float(value)) => {
                PythonValue::Float(value * f64::from(*number))
            }
            (Transform::Not, PythonValue::Bool(value)) => PythonValue::Bool(!value),
            (Transform::AsInt, PythonValue::Bool(value)) => PythonValue::Int(i128::from(value)),
            (Transform::AsText, PythonValue::Int(value)) => PythonValue::Text(value.to_string()),
            (Transform::Reverse, PythonValue::Text(text)) => PythonValue::Text(text.chars().rev().collect()),
            (Transform::Reverse, PythonValue::List(mut items)) => {
                items.reverse();
                PythonValue::List(items)
            }
            (Transform::Reverse, PythonValue::Tuple(mut items)) => {
                items.reverse();
                PythonValue::Tuple(items)
            }
            (Transform::Append(end), PythonValue::Text(text)) => PythonValue::Text(text + end),
            (Transform::Length, PythonValue::Text(text)) => PythonValue::Int(text.chars().count() as i128),
            (Transform::Length, PythonValue::List(items) | PythonValue::Tuple(items)) => {
                PythonValue::Int(items.len() as i128)
            }
            _ => return None,
        })
    }

    /// The same of an expression.
    fn expression(&self, inner: &str) -> String {
        match self {
            Transform::Add(number) => format!("({inner} + {number})"),
            Transform::Multiply(number) => format!("({inner} * {number})"),
            Transform::Not => format!("(not {inner})"),
            Transform::AsInt => format!("int({inner})"),
            Transform::AsText => format!("str({inner})"),
            Transform::Reverse => format!("{inner}[::-1]"),
            Transform::Append(end) => format!("({inner} + '{end}')"),
            Transform::Length => format!("len({inner})"),
        }
    }
}

/// The variant of `task` with these changes.
///
/// # Errors
///
/// If nothing would change, or the signature has examples that cannot be changed with the rest.
pub(super) fn transformed(task: &Task, given: &Cases, changes: &[Transform]) -> Result<Task, String> {
    let apply =
        |value: &PythonValue| changes.iter().try_fold(value.clone(), |value, change| change.apply(value));
    let test = |case: &Case| {
        let expected = apply(&case.expected).ok_or("a result has no value after the change")?;
        Ok::<_, String>(changed_test(task, case, &expected))
    };
    let public = given.public.iter().map(test).collect::<Result<Vec<_>, _>>()?;
    let hidden = given.hidden.iter().map(test).collect::<Result<Vec<_>, _>>()?;
    if given.hidden.iter().all(|case| apply(&case.expected).as_ref() == Some(&case.expected)) {
        return Err("the change leaves every result as it is".to_owned());
    }
    let words: Vec<String> = changes.iter().map(Transform::words).collect();
    let sentence = format!("Before the result is returned, {}.", words.join(", then "));
    let signature = changed_signature(task, &sentence, &apply)?;
    let before = format!("{}_before", task.entry_point);
    let original = renamed(&task.reference, &task.entry_point, &before);
    let given_on =
        if task.signature.is_empty() { "*arguments, **named".to_owned() } else { forwarded(task)? };
    let call =
        changes.iter().fold(format!("{before}({given_on})"), |inner, change| change.expression(&inner));
    let reference = if task.signature.is_empty() {
        format!("{}\n\n\ndef {}({given_on}):\n    return {call}\n", original.trim_end(), task.entry_point)
    } else {
        let indent = " ".repeat(body_indent(task));
        format!("{signature}\n{indent}return {call}\n\n\n{}\n", original.trim_end())
    };
    let names: Vec<String> = changes.iter().map(Transform::name).collect();
    Ok(Task {
        id: format!("{}+{}", task.id, names.join("+").replace(' ', "-")),
        prompt: format!("{} {sentence}", task.prompt.trim_end()),
        signature,
        reference,
        public_tests: public,
        hidden_tests: hidden,
        entry_point: task.entry_point.clone(),
        origin: Some(Origin { task: task.id.clone(), transforms: names }),
        ..Task::default()
    })
}

fn changed_test(task: &Task, case: &Case, expected: &PythonValue) -> Test {
    match (&case.call, json(expected)) {
        (Some(call), Some(expected)) => Test::Call(CallTest { expected, ..call.clone() }),
        _ => Test::Statements(format!("assert {}({}) == {expected}", task.entry_point, case.arguments)),
    }
}

/// A number or text as JSON.
fn json(value: &PythonValue) -> Option<serde_json::Value> {
    Some(match value {
        PythonValue::Int(number) => i64::try_from(*number).ok()?.into(),
        PythonValue::Float(number) => (*number).into(),
        PythonValue::Text(text) => text.as_str().into(),
        PythonValue::Bool(value) => (*value).into(),
        PythonValue::List(items) => items.iter().map(json).collect::<Option<Vec<_>>>()?.into(),
        _ => return None,
    })
}

/// The signature without what it says of the returned type, and with the sentence at the end of its docstring and the examples there
/// changed, if it has one.
fn changed_signature(
    task: &Task,
    sentence: &str,
    apply: &impl Fn(&PythonValue) -> Option<PythonValue>,
) -> Result<String, String> {
    let refuse = || "its signature has examples, or a form, that cannot be changed with the rest".to_owned();
    let head = format!("def {}(", task.entry_point);
    if task.signature.is_empty() {
        return Ok(String::new());
    }
    let start = task.signature.rfind(&head).ok_or_else(refuse)? + head.len() - 1;
    let close = start + closing(&task.signature[start..]).ok_or_else(refuse)?;
    let colon = close + task.signature[close..].find(':').ok_or_else(refuse)?;
    let (begin, docstring) = (&task.signature[..=close], &task.signature[colon + 1..]);
    if docstring.trim().is_empty() {
        return Ok(format!("{begin}:"));
    }
    let quote = ["\"\"\"", "'''"].into_iter().find(|quote| docstring.ends_with(quote)).ok_or_else(refuse)?;
    let body = docstring.strip_suffix(quote).unwrap_or(docstring);
    let body = changed_examples(body, task, apply).ok_or_else(refuse)?;
    let indent = " ".repeat(body_indent(task));
    Ok(format!("{begin}:{}\n{indent}{sentence}\n{indent}{quote}", body.trim_end()))
}

/// The examples `>>> f(1)` of a docstring with the values below them changed; `None` if it has examples of another form.
fn changed_examples(
    docstring: &str,
    task: &Task,
    apply: &impl Fn(&PythonValue) -> Option<PythonValue>,
) -> Option<String> {
    let mut lines: Vec<String> = docstring.lines().map(str::to_owned).collect();
    let call = format!("{}(", task.entry_point);
    let is_other = |line: &str| ["=>", "➞", "==", "xample", "eturns "].iter().any(|sign| line.contains(sign));
    let mut place = 0;
    while place < lines.len() {
        let line = lines[place].clone();
        if line.trim_start().starts_with(">>>") {
            let value = lines.get(place + 1)?.clone();
            let indent = &value[..value.len() - value.trim_start().len()];
            lines[place + 1] = format!("{indent}{}", apply(&PythonValue::parse(value.trim())?)?);
            place += 1;
        } else if line.contains(&call) || is_other(&line) {
            return None;
        }
        place += 1;
    }
    Some(lines.join("\n"))
}

/// The parameters of the task's function as arguments of a call that passes them on.
pub(super) fn forwarded(task: &Task) -> Result<String, String> {
    let refuse = || format!("the parameters of `{}` cannot be passed on", task.entry_point);
    let head = format!("def {}(", task.entry_point);
    let start = task.signature.rfind(&head).ok_or_else(refuse)? + head.len() - 1;
    let close = closing(&task.signature[start..]).ok_or_else(refuse)?;
    let mut passed = Vec::new();
    let mut by_name = false;
    for parameter in at_commas(&task.signature[start + 1..start + close]) {
        let name = parameter.split([':', '=']).next().unwrap_or_default().trim();
        match name {
            "" | "/" => {}
            "self" => return Err(refuse()),
            "*" => by_name = true,
            _ if name.starts_with('*') => {
                by_name = true;
                passed.push(name.to_owned());
            }
            _ if by_name => passed.push(format!("{name}={name}")),
            _ => passed.push(name.to_owned()),
        }
    }
    Ok(passed.join(", "))
}

/// Cuts a text at the commas outside of brackets and strings.
fn at_commas(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start, mut quote) = (Vec::new(), 0, 0, None);
    for (place, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth -= 1,
            (None, ',') if depth == 0 => {
                parts.push(&text[start..place]);
                start = place + 1;
            }
            (None, _) => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::multiply::cases::cases;

    fn task() -> Task {
        Task {
            id: "t".to_owned(),
            prompt: "Return twice n.".to_owned(),
            signature: "def double(n: int, *, by=(2, 3)) -> int:".to_owned(),
            entry_point: "double".to_owned(),
            reference: "def double(n: int, *, by=(2, 3)) -> int:\n    return n and n + double(0)\n"
                .to_owned(),
            public_tests: vec!["assert double(1) == 1".into()],
            hidden_tests: vec!["assert double(3) == 3".into()],
            ..Task::default()
        }
    }

    fn change(task: &Task, changes: &[Transform]) -> Result<Task, String> {
        transformed(task, &cases(task)?, changes)
    }

    #[test]
    fn a_variant_has_words_tests_and_reference_changed_alike() {
        let made = change(&task(), &[Transform::Add(3), Transform::AsText]).unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&made).unwrap(), @r#"
        {
          "id": "t+add-3+as-text",
          "prompt": "Return twice n. Before the result is returned, add 3 to it, then turn it into a string.",
          "signature": "def double(n: int, *, by=(2, 3)):",
          "entry_point": "double",
          "reference": "def double(n: int, *, by=(2, 3)):\n    return str((double_before(n, by=by) + 3))\n\n\ndef double_before(n: int, *, by=(2, 3)) -> int:\n    return n and n + double_before(0)\n",
          "public_tests": [
            "assert double(1) == '4'"
          ],
          "hidden_tests": [
            "assert double(3) == '6'"
          ],
          "origin": {
            "task": "t",
            "transforms": [
              "add 3",
              "as-text"
            ]
          }
        }
        "#);
    }

    #[test]
    fn a_docstring_is_told_and_its_examples_are_changed() {
        let begin =
            "from math import pi\n\ndef double(n):\n    \"\"\" Twice.\n    >>> double(1)\n    2\n    \"\"\"";
        let reference = format!("{begin}\n    return 2 * n\n");
        let with = |signature: &str, reference: &str| Task {
            signature: signature.to_owned(),
            reference: reference.to_owned(),
            ..task()
        };
        let made = change(&with(begin, &reference), &[Transform::Multiply(5)]).unwrap();
        insta::assert_snapshot!(made.reference, @r#"
        from math import pi

        def double(n):
            """ Twice.
            >>> double(1)
            10
            Before the result is returned, multiply it by 5.
            """
            return (double_before(n) * 5)


        from math import pi

        def double_before(n):
            """ Twice.
            >>> double_before(1)
            2
            """
            return 2 * n
        "#);
        let other = begin.replace("Twice.", "double(2) => 4");
        assert!(change(&with(&other, &reference), &[Transform::Add(1)]).unwrap_err().contains("examples"));
    }

    #[test]
    fn a_change_that_changes_nothing_is_none() {
        let same = Task {
            hidden_tests: vec!["assert double(3) == 'aba'".into()],
            public_tests: Vec::new(),
            ..task()
        };
        assert!(change(&same, &[Transform::Reverse]).unwrap_err().contains("as it is"));
    }

    #[test]
    fn results_of_one_type_have_a_kind() {
        let kind = |values: &[&str]| {
            let values: Vec<_> = values.iter().map(|value| PythonValue::parse(value).unwrap()).collect();
            Kind::of(values.iter())
        };
        assert_eq!(kind(&["1", "2.5"]), Some(Kind::Float));
        assert_eq!(kind(&["True", "False"]), Some(Kind::Bool));
        assert_eq!(kind(&["True", "1"]), None);
        assert_eq!(kind(&["(1,)", "[]"]), Some(Kind::Sequence));
        assert_eq!(kind(&["None"]), None);
    }

    #[test]
    fn parameters_are_passed_on_as_they_are_named() {
        let with = |parameters: &str| {
            let signature = format!("def double({parameters}):");
            forwarded(&Task { signature, ..task() })
        };
        assert_eq!(
            with("a, b: Dict[str, int] = {',': 1}, *rest, c=1, **more").unwrap(),
            "a, b, *rest, c=c, **more"
        );
        assert_eq!(with("").unwrap(), "");
        assert!(with("self, a").is_err());
    }
}
