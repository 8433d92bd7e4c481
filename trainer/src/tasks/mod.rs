//! Tasks: what the model is asked to write, and the tests that judge it.
//!
//! A task file holds one [`Task`] a line. [`TaskSet::load`] reads one and reports everything that is wrong with it;
//! [`draw`] says which tasks a step trains on, [`Curriculum`] how likely each is by its [`PassRates`]; [`verify`] runs a file's own references, and [`disjoint`]
//! compares two files, for `rltrain tasks verify`.

mod canonical;
mod config;
mod curriculum;
mod disjoint;
mod draw;
mod error;
mod excerpt;
mod file;
mod pass_rates;
mod task;
mod verify;

pub use config::TasksConfig;
pub(crate) use curriculum::default_visits;
pub use curriculum::{Curriculum, CurriculumConfig};
pub use disjoint::{Likeness, Overlap, copied, disjoint};
pub use draw::{Walk, draw, draw_by_chance};
pub use error::{InvalidTasks, TaskProblem, TasksError};
pub use excerpt::Excerpt;
pub use file::TaskSet;
pub use pass_rates::{PassRates, Visit};
pub use task::{Task, TestLevel, TestedPrograms};
pub use verify::{Fault, VerifyReport, verify};
