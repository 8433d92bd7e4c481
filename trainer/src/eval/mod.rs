//! How good a policy is, and how sure that is: pass@k over tasks, with intervals.
//!
//! [`pass_at_k`] and the bootstrap are pure functions of counts; [`heldout`] samples and executes for a run, [`suite`] for
//! `rltrain eval`. The unit of resampling
//! is the task, since the samples of one task are not independent evidence about other tasks.

mod bootstrap;
mod config;
mod evaluations;
mod examinee;
mod expectation;
pub mod heldout;
mod pass_at_k;
mod permutation;
mod search;
pub mod suite;

pub use bootstrap::{PairedDifference, PassAtK, RESAMPLES, mean, measure, paired_difference};
pub use config::*;
pub use evaluations::{Comparison, EVALUATIONS_FILE, Evaluation, Evaluations, read_evaluations};
pub use examinee::Examinee;
pub use expectation::{best_at_k, chosen_at_k, filtered_at_k, rank_weights};
pub use pass_at_k::{TaskCounts, pass_at_k};
pub use permutation::p_value;
pub use search::*;
