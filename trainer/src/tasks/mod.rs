//! Tasks: what the model is asked to write, and the tests that judge it.
//!
//! A task file holds one [`Task`] a line. [`TaskSet::load`] reads one and reports everything that is wrong with it;
//! [`draw`] says which tasks a step trains on, [`Curriculum`] how likely each is by its [`PassRates`], and [`fit`] whether a recipe can be run with them.
//!
//! The rest is for `rltrain tasks`: [`generate`] makes toy tasks out of nothing, [`convert`] reads what others publish, [`verify`] runs a file's own references, [`mend`] takes out what it finds at fault,
//! [`disjoint`] compares two files, [`duplicates`] one with itself, [`split`] divides it, [`multiply`] makes variants.

mod canonical;
mod config;
mod content;
mod curriculum;
mod disjoint;
mod draw;
pub mod edits;
mod error;
mod excerpt;
mod fetch;
mod file;
mod fit;
mod formats;
mod generate;
mod mend;
mod multiply;
mod pass_rates;
mod probe;
mod python_value;
mod schema;
mod stats;
mod task;
mod verify;
mod wrong;

pub use config::TasksConfig;
pub use content::{Duplicate, content, duplicates, split};
pub(crate) use curriculum::default_visits;
pub use curriculum::{Curriculum, CurriculumConfig};
pub use disjoint::{Likeness, Overlap, copied, disjoint};
pub use draw::{Walk, draw, draw_by_chance};
pub use error::{InvalidTasks, TaskProblem, TasksError, Unfit};
pub use excerpt::Excerpt;
pub use fetch::{FetchError, HUMAN_EVAL, PublishedSet, fetch};
pub use file::TaskSet;
pub use fit::{fit, runtime_for};
pub use formats::{ConvertError, ConvertOptions, Converted, Format, LeftOut, convert};
pub use generate::{GenerateOptions, Generated, GeneratedKind, TooFew, generate};
pub use mend::{Dropped, Mended, mend};
pub use multiply::{Multiplied, MultiplyOptions, PassedOver, multiply};
pub use pass_rates::{PassRates, Visit};
pub use probe::{Probe, ProbeInputs, output, probes};
pub use schema::schema;
pub use stats::{Spread, TaskStatistics, statistics, test_kind};
pub use task::{Answer, Origin, Task, TestLevel, TestedPrograms, shown};
pub use verify::{FailedTest, Fault, VerifyReport, verify};
pub use wrong::idle_program;
