//! Taking faults out of a task file.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Fault, Task};

/// What is left of tasks without what was found at fault.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Mended {
    /// The tasks that are left, in their order.
    #[serde(skip)]
    pub tasks: Vec<Task>,
    /// Ids of tasks among them that lost a test: what was found of them before does not hold any more.
    #[serde(skip)]
    pub changed: BTreeSet<String>,
    /// What was dropped.
    pub dropped: Vec<Dropped>,
}

/// A test that was dropped, or a whole task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// Id of the task.
    pub task: String,
    /// Title of the test; absent if the task was dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// Why.
    pub why: String,
}

/// Drops the tests that a reference does not pass and public copies of hidden ones, and the tasks whose fault is not one test:
/// the reference does not load, a wrong program passes, a test cannot be judged, or no hidden test is left.
pub fn mend<'a>(tasks: impl IntoIterator<Item = &'a Task>, faults: &[Fault]) -> Mended {
    let mut by_task: BTreeMap<&str, Vec<&Fault>> = BTreeMap::new();
    faults.iter().for_each(|fault| by_task.entry(fault.task()).or_default().push(fault));
    let mut mended = Mended::default();
    for task in tasks {
        let Some(faults) = by_task.get(task.id.as_str()) else {
            mended.tasks.push(task.clone());
            continue;
        };
        if let Some(fault) = faults.iter().find(|fault| fault.test().is_none()) {
            let (task, why) = (task.id.clone(), fault.to_string());
            mended.dropped.push(Dropped { task, test: None, why });
            continue;
        }
        match without(task, faults) {
            Some(left) => {
                mended.dropped.extend(faults.iter().map(|fault| Dropped {
                    task: task.id.clone(),
                    test: fault.test().map(|test| test.title.clone()),
                    why: fault.to_string(),
                }));
                mended.changed.insert(left.id.clone());
                mended.tasks.push(left);
            }
            None => {
                let why = format!("`{}`: no hidden test is without fault; the first: {}", task.id, faults[0]);
                mended.dropped.push(Dropped { task: task.id.clone(), test: None, why });
            }
        }
    }
    mended
}

/// The task without the tests that are at fault; `None` if no hidden one is left.
fn without(task: &Task, faults: &[&Fault]) -> Option<Task> {
    let mut places = BTreeSet::new();
    for fault in faults {
        let test = fault.test()?;
        match fault {
            // Of the two copies, the public one goes.
            Fault::HiddenTestIsPublic { .. } => {
                let hidden = task.all_tests().nth(test.place)?;
                places.extend(task.public_tests.iter().position(|public| public == hidden));
            }
            _ => {
                places.insert(test.place);
            }
        }
    }
    let public = task.public_tests.len();
    let kept = |tests: &[rltrain_executor::Test], first: usize| {
        let kept = tests.iter().enumerate().filter(|(place, _)| !places.contains(&(first + place)));
        kept.map(|(_, test)| test.clone()).collect::<Vec<_>>()
    };
    let left = Task {
        public_tests: kept(&task.public_tests, 0),
        hidden_tests: kept(&task.hidden_tests, public),
        ..task.clone()
    };
    (!left.hidden_tests.is_empty()).then_some(left)
}

#[cfg(test)]
mod tests {
    use rltrain_executor::{Outcome, Test};

    use super::super::FailedTest;
    use super::*;

    fn task(id: &str) -> Task {
        Task {
            id: id.to_owned(),
            public_tests: vec!["a".into(), "b".into()],
            hidden_tests: vec!["c".into(), "b".into()],
            ..Task::default()
        }
    }

    fn fails(id: &str, place: usize) -> Fault {
        let test = Some(FailedTest { place, title: "x".to_owned() });
        Fault::ReferenceFails { task: id.to_owned(), test, outcome: Outcome::Failed, why: String::new() }
    }

    #[test]
    fn faulty_tests_go_and_tasks_only_where_no_test_is_to_blame() {
        let tasks = ["fine", "test", "copy", "all", "easy"].map(task);
        let copy = FailedTest { place: 3, title: "b".to_owned() };
        let faults = [
            fails("test", 0),
            fails("test", 2),
            Fault::HiddenTestIsPublic { task: "copy".to_owned(), test: copy },
            fails("all", 2),
            fails("all", 3),
            Fault::WrongProgramPasses { task: "easy".to_owned(), program: "returns 0" },
        ];
        let mended = mend(&tasks, &faults);
        let ids: Vec<_> = mended.tasks.iter().map(|task| task.id.as_str()).collect();
        assert_eq!(ids, ["fine", "test", "copy"]);
        let tests = |place: usize| mended.tasks[place].all_tests().map(Test::title).collect::<Vec<_>>();
        assert_eq!(
            (tests(0), tests(1), tests(2)),
            (
                vec!["a".into(), "b".into(), "c".into(), "b".into()],
                vec!["b".into(), "b".into()],
                vec!["a".into(), "c".into(), "b".into()]
            )
        );
        assert_eq!(mended.changed, BTreeSet::from(["copy".to_owned(), "test".to_owned()]));
        let dropped: Vec<_> =
            mended.dropped.iter().map(|one| (one.task.as_str(), one.test.is_some())).collect();
        assert_eq!(
            dropped,
            [("test", true), ("test", true), ("copy", true), ("all", false), ("easy", false)]
        );
    }
}
