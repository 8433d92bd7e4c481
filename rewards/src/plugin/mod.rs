//! Rewards that are programs of the user's.

mod batches;
mod error;
mod http;
mod process;
mod protocol;
mod skeleton;
mod wasm;

use std::ops::RangeInclusive;

pub(crate) use batches::side_by_side;
pub use error::PlugInError;
pub use http::{Http, HttpConfig};
pub use process::{Process, ProcessConfig};
pub(crate) use protocol::{SeenAttempt, shown};
pub use skeleton::Skeleton;
pub use wasm::{Wasm, WasmConfig};

use crate::Attempt;

/// What a plug-in says of one attempt: a finite number, or `None` where it has nothing to say; an error if it does not answer, or
/// not as it must, however often it was asked.
pub type PlugInScore = Result<Option<f64>, PlugInError>;

/// A reward outside of this program. It sees a batch of attempts, and may fail.
pub trait PlugIn: Send + Sync {
    /// Scores every attempt, in order.
    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<PlugInScore>;

    /// Why the score is what it is, in a line for people; empty where the score says it all. Asked after [`score`](Self::score).
    fn explain(&self, _attempt: &Attempt<'_>) -> String {
        String::new()
    }
}

/// The range that a plug-in may score in, if it is one.
fn range(least: f64, greatest: f64) -> Result<RangeInclusive<f64>, String> {
    if !(least.is_finite() && greatest.is_finite() && least <= greatest) {
        return Err(format!("it may score from {least} to {greatest}, wanted finite numbers in this order"));
    }
    Ok(least..=greatest)
}

#[cfg(test)]
pub(crate) mod tests_support {
    pub(crate) use super::http::tests::Server;
}
