//! Rewards that are programs of the user's.

mod error;
mod process;
mod protocol;
mod skeleton;

pub use error::PlugInError;
pub use process::{Process, ProcessConfig};
pub use skeleton::Skeleton;

use crate::Attempt;

/// A reward outside of this program. It sees a batch of attempts, and may fail.
pub trait PlugIn: Send + Sync {
    /// Scores every attempt, in order; finite numbers, or `None` where the plug-in has nothing to say.
    ///
    /// # Errors
    ///
    /// If the plug-in does not answer, or not as it must, after it was started anew and asked again.
    fn score(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Option<f64>>, PlugInError>;
}
