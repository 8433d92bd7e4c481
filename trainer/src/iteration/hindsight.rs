//! The task that a program does solve: the task it was written for, with what the program gives in the place of what was wanted.
//!
//! A program that runs on the inputs of a task's public tests is right for the task that wants its outputs. The tests are written anew
//! from what the sandbox said of them, and the program is judged by them once more: what does not pass then, because an answer was too
//! long to be told or has no literal, is no task.

use rltrain_executor::{Cause, Ending, Job, Pending, StdinTest, Test, Verdict};

use crate::environment::Environment;
use crate::execution::program;
use crate::policy::{Policy, PolicyError};
use crate::recipe::Recipe;
use crate::tasks::{Task, shown};

/// What is known of a program in hindsight.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Hindsight {
    /// Share of the public tests that it passes.
    pub(super) share: f64,
    /// The prompt of the task that it solves, if there is one.
    pub(super) prompt: Option<Vec<i64>>,
}

/// What is known in hindsight of programs, each a task's place and a completion. A program that the sandbox loses solves nothing.
pub(super) fn hindsight(
    policy: &Policy,
    environment: &Environment,
    recipe: &Recipe,
    written: &[(usize, &str)],
) -> Result<Vec<Hindsight>, PolicyError> {
    let ask = |task: &Task, text: &str| -> Pending {
        let tests = task.public_tests.iter().cloned();
        let job = Job::new(program(task, text), tests, recipe.executor.limits);
        environment.executor.submit(Job { public: job.tests.len(), ..job })
    };
    let asked: Vec<Pending> =
        written.iter().map(|(place, text)| ask(&environment.tasks[*place], text)).collect();
    let mut known = Vec::with_capacity(written.len());
    for ((place, text), pending) in written.iter().zip(asked) {
        let task = &environment.tasks[*place];
        let verdict = pending.wait().ok();
        let share = verdict.as_ref().map_or(0.0, share);
        let other = verdict.and_then(|verdict| solved(task, &verdict));
        let again = other.as_ref().map(|other| ask(other, text));
        known.push((share, other.zip(again)));
    }
    let tell = |(share, other): (f64, Option<(Task, Pending)>)| -> Result<Hindsight, PolicyError> {
        let other = other.and_then(|(task, pending)| {
            pending.wait().is_ok_and(|verdict| verdict.all_passed()).then_some(task)
        });
        let prompt = other.map(|task| environment.prompter.prompt(&task, &policy.tokenizer)).transpose()?;
        Ok(Hindsight { share, prompt })
    };
    known.into_iter().map(tell).collect()
}

fn share(verdict: &Verdict) -> f64 {
    verdict.passed() as f64 / verdict.total().max(1) as f64
}

/// The task with the answers that a program gave to its public tests; `None` if it has none, or did not answer one of them.
fn solved(task: &Task, verdict: &Verdict) -> Option<Task> {
    let answered = task.public_tests.iter().zip(&verdict.tests).map(|(test, ending)| answered(test, ending));
    let public_tests: Vec<Test> = answered.collect::<Option<_>>()?;
    (!public_tests.is_empty()).then(|| Task { public_tests, ..task.clone() })
}

/// A test that wants what it was given.
fn answered(test: &Test, ending: &Ending) -> Option<Test> {
    if ending.passed() {
        return Some(test.clone());
    }
    let Some(Cause::WrongAnswer { actual, .. }) = &ending.cause else { return None };
    match test {
        Test::Stdin(script) => {
            // Native programs are quoted.
            let stdout = serde_json::from_str(actual).unwrap_or_else(|_| actual.clone());
            Some(Test::Stdin(StdinTest { stdout, ..script.clone() }))
        }
        Test::Call(call) => match serde_json::from_str(actual) {
            Ok(expected) => Some(Test::Call(rltrain_executor::CallTest { expected, ..call.clone() })),
            Err(_) => assertion(&shown(test), actual),
        },
        Test::Statements(source) => assertion(source, actual),
        _ => None,
    }
}

/// `assert EXPRESSION == LITERAL` with another literal.
fn assertion(source: &str, actual: &str) -> Option<Test> {
    let (expression, literal) = source.split_once("==")?;
    let is_plain = expression.trim_start().starts_with("assert ") && !literal.contains("==");
    is_plain.then(|| Test::from(format!("{expression}== {actual}")))
}

#[cfg(test)]
mod tests {
    use rltrain_executor::Outcome;

    use super::*;

    fn wrong(actual: &str) -> Ending {
        let cause = Cause::WrongAnswer { actual: actual.to_owned(), expected: "2".to_owned() };
        Ending::because(Outcome::Failed, cause)
    }

    #[test]
    fn a_test_wants_what_it_was_given() {
        let test = Test::from("assert half(4) == 2");
        assert_eq!(answered(&test, &Ending::PASSED), Some(test.clone()));
        assert_eq!(answered(&test, &wrong("[3]")), Some("assert half(4) == [3]".into()));
        let read = |text: &str| serde_json::from_str::<Test>(text).unwrap();
        let call = read(r#"{"kind":"call","function":"f","arguments":[1],"expected":2}"#);
        let wanted = read(r#"{"kind":"call","function":"f","arguments":[1],"expected":[1,"a"]}"#);
        assert_eq!(answered(&call, &wrong(r#"[1, "a"]"#)), Some(wanted));
        assert_eq!(answered(&call, &wrong("'b'")), Some("assert f(1) == 'b'".into()));
        let script = read(r#"{"kind":"stdin","stdin":"1","stdout":"2"}"#);
        let wanted = read(r#"{"kind":"stdin","stdin":"1","stdout":"3\n"}"#);
        assert_eq!(answered(&script, &wrong("\"3\\n\"")), Some(wanted.clone()));
        assert_eq!(answered(&script, &wrong("3\n")), Some(wanted));
    }

    #[test]
    fn what_did_not_answer_solves_nothing() {
        let test = Test::from("assert half(4) == 2");
        assert_eq!(answered(&test, &Outcome::OutOfFuel.into()), None);
        assert_eq!(answered(&test, &Outcome::Raised.into()), None);
        assert_eq!(answered(&Test::from("assert half(4)"), &wrong("3")), None);
        assert_eq!(answered(&Test::from("assert f(a == b) == 2"), &wrong("3")), None);
        let task = Task { public_tests: vec![test], ..Task::default() };
        let verdict = |tests: Vec<Ending>| Verdict {
            load: Ending::PASSED,
            public: tests.len(),
            tests,
            fuel: 1,
            peak_memory_bytes: 1,
            wall: rltrain_executor::WallTime::default(),
            stdout: String::new(),
            stderr: String::new(),
            denied: Default::default(),
        };
        assert_eq!(solved(&task, &verdict(vec![Outcome::Raised.into()])), None);
        assert!(solved(&task, &verdict(vec![wrong("3")])).is_some());
        assert_eq!(solved(&Task::default(), &verdict(Vec::new())), None, "no example, no task");
    }
}
