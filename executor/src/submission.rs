//! A job on its way to the executor.

use crate::{Job, TaskKey};

/// A job and what it shares its turns with. Every [`Job`] can be handed in as it is.
#[derive(Clone, Debug)]
pub struct Submission {
    pub(crate) job: Job,
    pub(crate) task: Option<TaskKey>,
}

impl Submission {
    /// A job of this task. A job by itself is of one task with those that have the same tests.
    pub fn of_task(job: Job, task: TaskKey) -> Self {
        Self { job, task: Some(task) }
    }
}

impl From<Job> for Submission {
    fn from(job: Job) -> Self {
        Self { job, task: None }
    }
}
