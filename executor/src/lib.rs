//! Programs in, verdicts out.
mod comparison;
mod config;
mod embedding;
mod engine;
mod error;
mod guest;
mod job;
mod judge;
mod limits;
mod module_cache;
mod runtime;
mod sandbox;
mod shim;
mod shim_files;
mod value;
mod verdict;

pub use config::ExecutorConfig;
pub use error::InfraError;
pub use job::Job;
pub use limits::{Fuel, InvalidLimit, Limits, MemoryMib, OutputBytes, TimeoutMs};
pub use module_cache::{ModuleCache, Prepared};
pub use runtime::{Runtime, RuntimeFiles};
pub use verdict::{Outcome, Verdict};

#[cfg(test)]
mod scratch;
