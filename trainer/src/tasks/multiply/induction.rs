//! A function that is to be found out from what it gives.

use super::super::formats::renamed;
use super::super::{Origin, Task};
use super::cases::{Case, Cases};
use super::transform::forwarded;

/// The name that says nothing.
const NAME: &str = "f";

/// How the examples are introduced; which one a task gets is decided by its name.
const INTRODUCTIONS: [&str; 4] = [
    "Find out what the function `f` does from these calls and what they return, and write it.",
    "Here is what a function returns. Write the function, so that it holds for other arguments as well.",
    "Write a Python function `f` that is in accordance with all of these examples.",
    "The source of the function `f` is lost, and this is known of it. Write it anew.",
];

/// The variant of `task` that shows at most `shown` examples and nothing else: no words, and no name.
///
/// # Errors
///
/// If too few tests would remain hidden, or its name is another one's already.
pub(super) fn induction(task: &Task, given: &Cases, shown: usize) -> Result<Task, String> {
    let all: Vec<&Case> = given.all().collect();
    let shown = shown.min(all.len().saturating_sub(1));
    if shown < 2 {
        return Err(format!("it has {} tests, and a variant by examples shows two and hides one", all.len()));
    }
    if super::super::formats::has_name(&task.reference, NAME) {
        return Err(format!("its reference has a name `{NAME}` already"));
    }
    let rename = |text: &str| renamed(text, &task.entry_point, NAME);
    let line = |case: &&Case| format!("{NAME}({}) == {}", case.arguments, case.expected);
    let examples: Vec<String> = all[..shown].iter().map(line).collect();
    let test = |case: &&Case| format!("assert {}", line(case)).into();
    let (signature, reference) = match task.signature.contains('\n') {
        // A docstring would tell: the function goes on under its own name, behind one that has none.
        true => {
            let given_on = forwarded(task)?;
            let names = given_on.split(", ").map(|name| name.split('=').next().unwrap_or(name));
            let signature = format!("def {NAME}({}):", names.collect::<Vec<_>>().join(", "));
            let body = format!("return {}({given_on})", task.entry_point);
            (signature.clone(), format!("{signature}\n    {body}\n\n\n{}", task.reference))
        }
        false => (rename(&task.signature), rename(&task.reference)),
    };
    let introduction =
        INTRODUCTIONS[blake3::hash(task.id.as_bytes()).as_bytes()[0] as usize % INTRODUCTIONS.len()];
    Ok(Task {
        id: format!("{}+induction", task.id),
        prompt: format!("{introduction}\n\n{}", examples.join("\n")),
        signature,
        entry_point: NAME.to_owned(),
        reference,
        public_tests: all[..shown].iter().map(test).collect(),
        hidden_tests: all[shown..].iter().map(test).collect(),
        origin: Some(Origin { task: task.id.clone(), transforms: vec!["induction".to_owned()] }),
        ..Task::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::multiply::cases::cases;

    #[test]
    fn nothing_of_a_variant_says_what_the_function_is_called_or_does() {
        let task = Task {
            id: "t".to_owned(),
            prompt: "Return twice n.".to_owned(),
            signature: "def double(n):".to_owned(),
            entry_point: "double".to_owned(),
            reference: "def double(n):\n    return n and 2 + double(n - 1)\n".to_owned(),
            public_tests: vec!["assert double(1) == 2".into()],
            hidden_tests: vec!["assert double(3) == 6".into(), "assert double(0) == 0".into()],
            ..Task::default()
        };
        let made = induction(&task, &cases(&task).unwrap(), 4).unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&made).unwrap(), @r#"
        {
          "id": "t+induction",
          "prompt": "Here is what a function returns. Write the function, so that it holds for other arguments as well.\n\nf(1) == 2\nf(3) == 6",
          "signature": "def f(n):",
          "entry_point": "f",
          "reference": "def f(n):\n    return n and 2 + f(n - 1)\n",
          "public_tests": [
            "assert f(1) == 2",
            "assert f(3) == 6"
          ],
          "hidden_tests": [
            "assert f(0) == 0"
          ],
          "origin": {
            "task": "t",
            "transforms": [
              "induction"
            ]
          }
        }
        "#);
        let few = Task { hidden_tests: vec!["assert double(3) == 6".into()], ..task };
        assert!(induction(&few, &cases(&few).unwrap(), 4).unwrap_err().contains("has 2 tests"));
    }
}
