//! Verdicts in, numbers out.
//!
//! A [`Reward`] scores one [`Attempt`]; a [`RewardSet`] adds up the rewards that a recipe asks for. To add a signal: one
//! file with its config and its `impl Reward`, one field in [`RewardsConfig`], one line in [`RewardSet::build`].
//!
//! ```text
//! verdict, texts ─▶ raw score ─▶ only_if, min, max ─▶ shaped ─▶ × weight ─▶ effective ─▶ total
//! ```
//!
//! An attempt holds a [`Verdict`](rltrain_executor::Verdict). A sandbox that failed has none to give, so an infrastructure
//! failure cannot become a number here: the trainer masks the attempt instead. A plug-in that fails is a [`RewardError`], and
//! masked as well.

mod attempt;
mod config;
mod efficiency;
mod endpoint;
mod expected;
mod form;
mod history;
mod input;
mod judge;
mod outcome;
mod plugin;
mod reward;
mod set;
mod structure;
mod term;
mod understanding;
mod weight;

pub use attempt::{Attempt, Length, ReferenceRun, Sibling, Task, WrittenTests};
pub use config::RewardsConfig;
pub use efficiency::*;
pub use expected::{Call, DataFormat, Expected, ExpectedStructure};
pub use form::*;
pub use history::{History, Standing, TaskHistory};
pub use input::Input;
pub use judge::{Judge, JudgeConfig, WhenSpent};
pub use outcome::*;
pub use plugin::{
    Http, HttpConfig, PlugIn, PlugInError, PlugInScore, Process, ProcessConfig, Skeleton, Wasm, WasmConfig,
};
pub use reward::{OutOfRange, Reward, RewardError};
pub use set::{Part, RewardSet, RewardsError, Scored};
pub use structure::{
    AstMatch, AstMatchConfig, AstMatchForm, CodeBleu, CodeBleuConfig, DataflowMatch, DataflowMatchConfig,
    Language, ParseOnce, Statement, Syntax,
};
pub use term::{Gate, InvalidGate, Term};
pub use understanding::*;
pub use weight::{InvalidWeight, MAX_WEIGHT, Weight};

#[cfg(test)]
mod tests;
