//! The optimizer: one step's attempts in, changed weights out.

mod adamw;
mod config;
mod schedule;
mod update;

pub use adamw::{AdamW, Moments, clip_factor, gradient_norm};
pub use config::{OptimizerConfig, Schedule};
pub use schedule::learning_rate;
pub use update::{Settings, UpdateReport, accumulate, apply};
