//! A task that is answered in insertions.

use super::super::edits::sequence;
use super::super::{Answer, Origin, Task};

/// How the model is told.
const FORM: &str = "Write it in steps. A step is a line `@ N` and, below it, the lines that go behind line N of what is there so far, each of \
    which begins with `+`. Line 1 is the first one of the signature. After every step the program has no errors.";

/// The variant of `task` that is answered so.
///
/// # Errors
///
/// If its reference cannot be taken apart into steps.
pub(super) fn insertions(task: &Task) -> Result<Task, String> {
    if task.signature.is_empty() {
        return Err("it has no signature, and insertions need a line to go behind".to_owned());
    }
    match sequence(&task.signature, &task.reference, |_| 0) {
        Some(steps) if !steps.is_empty() => {}
        _ => return Err("its reference cannot be taken apart into statements".to_owned()),
    }
    Ok(Task {
        id: format!("{}+insertions", task.id),
        prompt: format!("{}\n\n{FORM}", task.prompt),
        origin: Some(Origin { task: task.id.clone(), transforms: vec!["insertions".to_owned()] }),
        answer: Answer::Insertions,
        ..task.clone()
    })
}
