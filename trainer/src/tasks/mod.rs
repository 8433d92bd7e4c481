//! Tasks: what the model is asked to write, and the tests that judge it.
//!
//! A task file holds one [`Task`] a line. [`TaskSet::load`] reads one and reports everything that is wrong with it;
//! [`draw`] says which tasks a step trains on; [`verify`] runs a file's own references, and [`disjoint`]
//! compares two files, for `rltrain tasks verify`.

mod canonical;
mod config;
mod disjoint;
mod draw;
mod error;
mod excerpt;
mod file;
mod task;
mod verify;

pub use config::TasksConfig;
pub use disjoint::{Likeness, Overlap, disjoint};
pub use draw::draw;
pub use error::{InvalidTasks, TaskProblem, TasksError};
pub use excerpt::Excerpt;
pub use file::TaskSet;
pub use task::{Task, TestLevel, TestedPrograms};
pub use verify::{Fault, VerifyReport, verify};
