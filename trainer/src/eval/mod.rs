//! How good a policy is, and how sure that is: pass@k over tasks, with intervals.
//!
//! [`pass_at_k`] and the bootstrap are pure functions of counts; [`heldout`] samples and executes. The unit of resampling
//! is the task, since the samples of one task are not independent evidence about other tasks.

mod bootstrap;
mod config;
mod evaluations;
pub mod heldout;
mod pass_at_k;
mod search;

pub use bootstrap::{PairedDifference, PassAtK, RESAMPLES, measure, paired_difference};
pub use config::*;
pub use evaluations::{Comparison, EVALUATIONS_FILE, Evaluation, Evaluations, read_evaluations};
pub use pass_at_k::{TaskCounts, pass_at_k};
pub use search::{Found, best_prefix, shared_out};
