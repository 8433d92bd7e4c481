//! Rewards for the form of what the model writes.

mod constraints;
mod data;
mod fence;
mod format;
mod function_calls;
mod length;
mod repetition;
mod structured_output;
mod style;

pub use constraints::{Construct, Measure};
pub use format::{Fence, Format, FormatConfig};
pub use function_calls::{FunctionCalls, FunctionCallsConfig};
pub use length::{Brevity, BrevityConfig, Overlong, OverlongConfig};
pub use repetition::{Repetition, RepetitionConfig};
pub use structured_output::{StructuredOutput, StructuredOutputConfig};
pub use style::{Style, StyleConfig};

pub(crate) use fence::answer;
