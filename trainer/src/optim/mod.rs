//! The optimizer: one step's attempts in, changed weights out.

mod adamw;
mod bucket;
mod config;
mod follower;
mod optimizer;
mod report;
mod schedule;
mod sgd;
mod share;
mod shared_gradients;
mod shared_weights;
mod token_budget;
mod update;

pub use config::{OptimizerConfig, OptimizerKind, Schedule, Sharding};
pub use optimizer::{Optimizer, clip_factor, gradient_norm};
pub use report::{CriticReport, TokenReport, UpdateReport};
pub use schedule::learning_rate;
pub use share::{Means, owners, owners_of};
pub use token_budget::{TokenBudget, TooLarge, UpdateError, apply_within};
pub(crate) use update::descend;
pub use update::{Settings, accumulate, accumulate_in_parts, apply};
