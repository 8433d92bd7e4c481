//! `function_calls`: the calls that the model makes are those that are wanted.

use serde_json::{Map, Value};

use super::answer;
use crate::term::reward_config;
use crate::{Attempt, Call, Input, Reward};

reward_config! {
    /// `[rewards.function_calls]`: 1 if the calls in the completion are the ones that the task wants, with the same arguments of the
    /// same types, else 0.
    ///
    /// Calls are JSON, in the last fenced block or all of the completion: an object with `name` and `arguments`, or a list of them.
    /// A task that wants no calls gives no score.
    pub struct FunctionCallsConfig for "function_calls" {
        /// Whether the order of the calls counts. Default false.
        pub ordered: bool = false,
        /// Whether some of the calls earn some of the score: the harmonic mean of precision and recall. Default false.
        pub partial: bool = false,
    }
}

/// Strict match of calls as a multiset, as in BFCL's and FunRL's reward (arXiv 2508.05118): a call is equal only with the same name
/// and the same arguments, none more and none less; 1, 1.0 and "1" differ.
#[derive(Clone, Copy, Debug)]
pub struct FunctionCalls {
    ordered: bool,
    partial: bool,
}

impl FunctionCalls {
    pub(crate) fn new(config: &FunctionCallsConfig) -> Self {
        Self { ordered: config.ordered, partial: config.partial }
    }

    /// How many calls of `wanted` are among `found`, each matched once; with order, how many agree place by place.
    fn matches(&self, wanted: &[Call], found: &[Call]) -> usize {
        if self.ordered {
            return wanted.iter().zip(found).filter(|(wanted, found)| wanted == found).count();
        }
        let mut left: Vec<&Call> = found.iter().collect();
        let mut take = |call: &&Call| {
            left.iter().position(|found| found == call).map(|at| left.swap_remove(at)).is_some()
        };
        wanted.iter().filter(|call| take(call)).count()
    }
}

/// The calls of a completion; `None` if it is no list of calls.
fn calls(completion: &str) -> Option<Vec<Call>> {
    match serde_json::from_str(answer(completion)).ok()? {
        Value::Array(calls) => calls.into_iter().map(call).collect(),
        object => call(object).map(|call| vec![call]),
    }
}

fn call(value: Value) -> Option<Call> {
    let Value::Object(mut object) = value else { return None };
    let Some(Value::String(name)) = object.remove("name") else { return None };
    let arguments = match object.remove("arguments") {
        None => Map::new(),
        Some(Value::Object(arguments)) => arguments,
        // Chat interfaces write the arguments as a text of JSON.
        Some(Value::String(text)) => serde_json::from_str(&text).ok()?,
        Some(_) => return None,
    };
    object.is_empty().then_some(Call { name, arguments })
}

impl Reward for FunctionCalls {
    fn name(&self) -> &str {
        "function_calls"
    }

    fn inputs(&self) -> &'static [Input] {
        &[Input::Calls]
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let wanted = attempt.task.expected?.calls.as_deref()?;
        let Some(found) = calls(attempt.completion) else { return Some(0.0) };
        let (matches, all) = (self.matches(wanted, &found), wanted.len() + found.len());
        Some(match (all, self.partial) {
            (0, _) => 1.0,
            (_, true) => 2.0 * matches as f64 / all as f64,
            (_, false) => f64::from(u8::from(2 * matches == all)),
        })
    }

    fn explain(&self, attempt: &Attempt<'_>) -> String {
        match (
            attempt.task.expected.and_then(|expected| expected.calls.as_deref()),
            calls(attempt.completion),
        ) {
            (None, _) => "the task wants no calls".to_owned(),
            (_, None) => "the completion is no list of calls".to_owned(),
            (Some(wanted), Some(found)) => {
                format!("{} of {} calls, {} made", self.matches(wanted, &found), wanted.len(), found.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::verdict;
    use crate::{Expected, Task};

    const WANTED: &str =
        r#"[{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}}, {"name": "g"}]"#;

    fn score(ordered: bool, partial: bool, completion: &str) -> f64 {
        let expected = Expected { calls: calls(WANTED), ..Expected::default() };
        let task = Task { expected: Some(&expected), ..Task::default() };
        let verdict = verdict(vec![]);
        FunctionCalls { ordered, partial }.score(&Attempt::new(&task, completion, "", &verdict)).unwrap()
    }

    #[test]
    fn types_arguments_and_copies_count() {
        let strict = |completion: &str| score(false, false, completion);
        assert_eq!(strict(WANTED), 1.0);
        assert_eq!(strict(&format!("```json\n{WANTED}\n```")), 1.0);
        assert_eq!(strict(&WANTED.replace("{\"a\": 1}", r#""{\"a\": 1}""#)), 1.0);
        for other in ["1.0", "\"1\"", "true", "null", "1, \"b\": 2"] {
            assert_eq!(strict(&WANTED.replace("\"a\": 1", &format!("\"a\": {other}"))), 0.0, "{other}");
        }
        assert_eq!(strict(&WANTED.replace(r#", {"name": "g"}"#, "")), 0.0);
        assert_eq!(strict(&WANTED.replace(r#"{"name": "g"}"#, r#"{"name": "g"}, {"name": "g"}"#)), 0.0);
        for text in [
            "",
            "f(a=1)",
            "[1]",
            r#"{"name": 1}"#,
            r#"{"name": "f", "arguments": []}"#,
            r#"{"name": "f", "x": 1}"#,
        ] {
            assert_eq!(strict(text), 0.0, "{text}");
        }
    }

    #[test]
    fn order_counts_only_if_it_is_asked_for() {
        let turned = r#"[{"name": "g"}, {"name": "f", "arguments": {"a": 1}}, {"name": "g"}]"#;
        assert_eq!((score(false, false, turned), score(true, false, turned)), (1.0, 0.0));
        assert_eq!(score(true, true, turned), 2.0 / 6.0);
    }

    #[test]
    fn some_of_the_calls_earn_some_of_the_score() {
        assert_eq!(score(false, true, r#"{"name": "g"}"#), 0.5);
        assert_eq!(score(false, true, "[]"), 0.0);
    }

    proptest! {
        #[test]
        fn the_order_of_calls_does_not_matter(mut names in prop::collection::vec("[fgh]", 0..6), ordered_copy in any::<bool>()) {
            let call = |name: &String| Call { name: name.clone(), arguments: Map::new() };
            let wanted: Vec<Call> = names.iter().map(call).collect();
            if ordered_copy { names.sort(); } else { names.reverse(); }
            let found: Vec<Call> = names.iter().map(call).collect();
            let unordered = FunctionCalls { ordered: false, partial: false };
            prop_assert_eq!(unordered.matches(&wanted, &found), wanted.len());
        }
    }
}
