//! How much memory a run takes, before it starts: `rltrain plan`.
//!
//! Everything is counted from the recipe, the model's `config.json` and the lengths of prompts; no weights are loaded. Two sets
//! of lengths give two plans: all completions at their longest is the bound that decides whether a run fits, mean lengths give an
//! estimate of what will be measured.

mod device;
mod exhausted;
mod footprint;
mod lengths;
mod plan;
mod report;

pub use device::{DeviceMemory, forget_resident_peak, resident_bytes, resident_peak_bytes};
pub use exhausted::{Exhausted, is_exhausted, or_exhausted};
pub use footprint::{Class, Footprint, Phase};
pub use lengths::{Lengths, TaskLengths};
pub use plan::{Plan, Planned};
pub use report::Report;
