//! Expert iteration: attempts, over some steps, become a data set of states and targets; the model is fine-tuned on it, from its
//! beginning or from where it is; the next attempts are those of the fine-tuned model.
//!
//! ```text
//! attempts ─▶ visits ─▶ data set ─▶ relabelled examples ─▶ epochs of optimizer steps
//!    ▲       (gather)      │  (relabel)                     (fine_tune)  │
//!    └─────────────────────┼─────────────────────────────────────────────┘
//!                     in checkpoints
//! ```
//!
//! What an attempt came to is gathered turn by turn, so that states in the middle of an attempt can be learnt from: imitation on the
//! states that the learner itself visits (DAgger, Ross et al. 2011), as muCode (Jain et al. 2025, arXiv:2502.20380) has it.

mod config;
mod dataset;
mod fine_tune;
mod gather;
mod hindsight;
mod relabel;

pub use config::{FineTuneFrom, IterationConfig, Relabel};
pub use dataset::{Dataset, Found, Visit};
pub use fine_tune::{Gathered, learn};
pub use gather::gather;
pub use relabel::{Example, Relabelled, relabelled};
