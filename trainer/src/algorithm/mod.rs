//! The algorithm: rewards to advantages, advantages to a loss.
//!
//! Pure functions; what they are applied to, and in which order, is in `optim` and in `train.rs`.

mod advantage;
mod config;
mod policy_loss;

pub use advantage::{advantages, has_signal};
pub use config::{AdvantageEstimator, Aggregation, AlgorithmConfig};
pub use policy_loss::{Surrogate, clipped_surrogate};
