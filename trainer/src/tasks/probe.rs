//! Inputs that programs are compared on: calls without a right answer, of which what they give is read off the verdict.

use std::collections::BTreeSet;

use rltrain_executor::{CallTest, Cause, Ending, StdinTest, Test};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::multiply;
use super::python_value::PythonValue;
use super::task::{Task, shown};

/// Where such inputs come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeInputs {
    /// Made from the public tests: their arguments, one of them changed a little.
    #[default]
    Near,
    /// Those of the hidden tests, without what they should give: for tasks that give the inputs away, as in program synthesis by example.
    Hidden,
}

/// An input.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// The test that has a program run on it. No program passes it.
    pub test: Test,
    /// The input for people, such as `f(2)`.
    pub input: String,
}

/// What no program gives.
const NOTHING: &str = "rltrain: no answer is right";

/// At most `most` different inputs for programs of a task; none for tests that do not say what one call, or one run, gives.
pub fn probes(task: &Task, inputs: ProbeInputs, most: usize) -> Vec<Probe> {
    let tests = match inputs {
        ProbeInputs::Near => near(task),
        ProbeInputs::Hidden => {
            task.hidden_tests.iter().filter_map(|test| without_answer(task, test)).collect()
        }
    };
    let mut seen = BTreeSet::new();
    let probe = |test: Test| {
        let text = shown(&test);
        // Of `assert CALL == LITERAL` and of a run's input and output, the first part.
        let input =
            text.strip_prefix("assert ").and_then(|rest| Some(rest.rsplit_once(" == ")?.0.to_owned()));
        let input = input.unwrap_or_else(|| {
            text.rsplit_once("\nOutput:\n").map_or(text.clone(), |(input, _)| input.to_owned())
        });
        Probe { test, input }
    };
    tests.into_iter().map(probe).filter(|probe| seen.insert(probe.input.clone())).take(most).collect()
}

/// What a program gives for an input, as text: equal for programs that give the same.
pub fn output(ending: &Ending) -> String {
    match &ending.cause {
        Some(Cause::WrongAnswer { actual, .. }) => actual.clone(),
        Some(Cause::Exception { kind, .. }) => format!("{} {kind}", ending.outcome),
        _ => ending.outcome.to_string(),
    }
}

/// A test whose answer is taken away.
fn without_answer(task: &Task, test: &Test) -> Option<Test> {
    Some(match test {
        Test::Statements(_) => call_of(task, &multiply::arguments(test, &task.entry_point)?),
        Test::Call(call) => {
            let (expected, compare) = (Json::from(NOTHING), Default::default());
            Test::Call(CallTest { expected, compare, ..call.clone() })
        }
        Test::Stdin(script) => Test::Stdin(StdinTest {
            stdin: script.stdin.clone(),
            stdout: NOTHING.to_owned(),
            compare: Default::default(),
        }),
        Test::Suite(_) | Test::Property(_) | Test::Differential(_) => return None,
    })
}

fn call_of(task: &Task, arguments: &str) -> Test {
    let nothing = PythonValue::Text(NOTHING.to_owned());
    Test::Statements(format!("assert {}({arguments}) == {nothing}", task.entry_point))
}

/// Arguments near those of the public tests: first the first change of each argument of each test, then the second, and so on.
fn near(task: &Task) -> Vec<Test> {
    let calls: Vec<(&Test, Vec<PythonValue>)> =
        task.public_tests.iter().filter_map(|test| Some((test, arguments(task, test)?))).collect();
    let mut made = Vec::new();
    // No value has more neighbours.
    for change in 0..8 {
        for (test, arguments) in &calls {
            for (place, argument) in arguments.iter().enumerate() {
                let Some(changed) = neighbours(argument).into_iter().nth(change) else { continue };
                let mut arguments = arguments.clone();
                arguments[place] = changed;
                made.extend(call_with(task, test, &arguments));
            }
        }
    }
    made
}

/// The arguments of a call, if they are plain values by position.
fn arguments(task: &Task, test: &Test) -> Option<Vec<PythonValue>> {
    match test {
        Test::Call(call) => Some(call.arguments.iter().map(PythonValue::from).collect()),
        _ => match PythonValue::parse(&format!("[{}]", multiply::arguments(test, &task.entry_point)?))? {
            PythonValue::List(items) => Some(items),
            _ => None,
        },
    }
}

/// The same call with other arguments.
fn call_with(task: &Task, test: &Test, arguments: &[PythonValue]) -> Option<Test> {
    match test {
        Test::Call(call) => {
            let arguments = arguments.iter().map(json).collect::<Option<_>>()?;
            let (expected, compare) = (Json::from(NOTHING), Default::default());
            Some(Test::Call(CallTest { arguments, expected, compare, ..call.clone() }))
        }
        _ => {
            let arguments: Vec<String> = arguments.iter().map(PythonValue::to_string).collect();
            Some(call_of(task, &arguments.join(", ")))
        }
    }
}

/// Values of the same type that differ a little, or that are special.
fn neighbours(value: &PythonValue) -> Vec<PythonValue> {
    use PythonValue::{Bool, Dict, Float, Int, List, Set, Text, Tuple};
    let all = match value {
        PythonValue::None => vec![],
        Bool(value) => vec![Bool(!value)],
        Int(n) => vec![
            Int(n.saturating_add(1)),
            Int(0),
            Int(n.saturating_neg()),
            Int(n.saturating_sub(1)),
            Int(n.saturating_mul(2)),
        ],
        Float(x) => vec![Float(x + 1.0), Float(0.0), Float(-x), Float(x / 2.0)],
        Text(text) => {
            let reversed = text.chars().rev().collect();
            let mut shorter = text.clone();
            shorter.pop();
            vec![
                Text(reversed),
                Text(String::new()),
                Text(text.repeat(2)),
                Text(shorter),
                Text(text.to_uppercase()),
            ]
        }
        List(items) => of_items(items).into_iter().map(List).collect(),
        Tuple(items) => of_items(items).into_iter().map(Tuple).collect(),
        Set(items) => vec![Set(Vec::new()), Set(items.iter().skip(1).cloned().collect())],
        Dict(entries) => vec![Dict(Vec::new()), Dict(entries.iter().skip(1).cloned().collect())],
    };
    all.into_iter().filter(|other| other != value).collect()
}

/// Lists near another one: turned round, without the last, empty, with the first twice, with a changed first.
fn of_items(items: &[PythonValue]) -> Vec<Vec<PythonValue>> {
    let (first, rest) = (items.iter().take(1), items.iter().skip(1));
    let changed = first.clone().flat_map(neighbours).take(1);
    let with = |head: Vec<PythonValue>| head.into_iter().chain(rest.clone().cloned()).collect::<Vec<_>>();
    vec![
        items.iter().rev().cloned().collect(),
        items.iter().take(items.len().saturating_sub(1)).cloned().collect(),
        Vec::new(),
        first.clone().chain(items).cloned().collect(),
        with(changed.collect()),
    ]
}

/// The JSON value that stands for a value; `None` if there is none.
fn json(value: &PythonValue) -> Option<Json> {
    let all = |items: &[PythonValue]| items.iter().map(json).collect::<Option<Vec<_>>>().map(Json::Array);
    match value {
        PythonValue::None => Some(Json::Null),
        PythonValue::Bool(value) => Some(Json::Bool(*value)),
        PythonValue::Int(number) => i64::try_from(*number).ok().map(Json::from),
        PythonValue::Float(number) => serde_json::Number::from_f64(*number).map(Json::Number),
        PythonValue::Text(text) => Some(Json::from(text.as_str())),
        PythonValue::List(items) | PythonValue::Tuple(items) => all(items),
        PythonValue::Set(_) => None,
        PythonValue::Dict(entries) => {
            let entry = |(name, value): &(PythonValue, PythonValue)| match name {
                PythonValue::Text(name) => Some((name.clone(), json(value)?)),
                _ => None,
            };
            entries.iter().map(entry).collect::<Option<Map<_, _>>>().map(Json::Object)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rltrain_executor::Outcome;

    use super::*;

    fn task(public: &[Test], hidden: &[Test]) -> Task {
        Task {
            entry_point: "f".to_owned(),
            public_tests: public.to_vec(),
            hidden_tests: hidden.to_vec(),
            ..Task::default()
        }
    }

    fn inputs(task: &Task, inputs: ProbeInputs, most: usize) -> Vec<String> {
        probes(task, inputs, most).into_iter().map(|probe| probe.input).collect()
    }

    #[test]
    fn near_inputs_change_one_argument_and_are_never_those_of_the_test() {
        let task =
            task(&["assert f(2, 'ab') == 4".into(), "assert f([1, 2]) == 3".into(), "f(1)".into()], &[]);
        let found = inputs(&task, ProbeInputs::Near, 7);
        assert_eq!(
            found,
            ["f(3, 'ab')", "f(2, 'ba')", "f([2, 1])", "f(0, 'ab')", "f(2, '')", "f([1])", "f(-2, 'ab')"]
        );
        assert!(probes(&task, ProbeInputs::Near, 99).iter().all(|probe| {
            matches!(&probe.test, Test::Statements(test) if test.ends_with("== 'rltrain: no answer is right'"))
        }));
    }

    #[test]
    fn hidden_inputs_lose_what_they_should_give() {
        let call = r#"{"kind": "call", "function": "f", "arguments": [[1, 2]], "expected": 77}"#;
        let script = r#"{"kind": "stdin", "stdin": "5 6\n", "stdout": "77\n"}"#;
        let of = |text: &str| serde_json::from_str::<Test>(text).unwrap();
        let task = task(&[], &["assert f(1) == 77".into(), of(call), of(script), "assert f(1) < 77".into()]);
        let probes = probes(&task, ProbeInputs::Hidden, 9);
        assert_eq!(
            probes.iter().map(|probe| probe.input.as_str()).collect::<Vec<_>>(),
            ["f(1)", "f([1, 2])", "Input:\n5 6"]
        );
        for probe in &probes {
            assert!(!serde_json::to_string(&probe.test).unwrap().contains("77"), "{probe:?}");
        }
    }

    #[test]
    fn what_is_given_is_read_off_the_ending() {
        let wrong = Cause::WrongAnswer { actual: "[3]".to_owned(), expected: NOTHING.to_owned() };
        assert_eq!(output(&Ending::because(Outcome::Failed, wrong)), "[3]");
        let cause = Cause::Exception { kind: "KeyError".to_owned(), message: "1".to_owned(), line: None };
        assert_eq!(output(&Ending::because(Outcome::Raised, cause)), "raised KeyError");
        assert_eq!(output(&Outcome::OutOfFuel.into()), "out of fuel");
    }

    proptest! {
        #[test]
        fn near_arguments_are_ones_that_can_be_written_and_read(n: i64, text in "[a-z'\\\\]{0,5}", items in prop::collection::vec(-9..9i64, 0..4)) {
            let (n, items): (_, Vec<_>) = (PythonValue::Int(n.into()), items.into_iter().map(|n| PythonValue::Int(n.into())).collect());
            for value in [n, PythonValue::Text(text), PythonValue::List(items.clone()), PythonValue::Tuple(items)] {
                for near in neighbours(&value) {
                    prop_assert_ne!(&near, &value);
                    prop_assert_eq!(PythonValue::parse(&near.to_string()), Some(near));
                }
            }
        }
    }
}
