//! rltrain: reinforcement-learning fine-tuning for code language models.
//!
//! A sample's way through the system, each arrow one call in [`train`]:
//!
//! ```text
//! recipe -> tasks -> rollout -> execution -> reward -> advantage -> batch -> loss -> optimizer -> metrics + checkpoint
//! ```

pub mod actor;
pub mod algorithm;
pub mod attempts;
pub mod audit;
pub mod batch;
pub mod cli;
pub mod columns;
mod counted;
pub mod critic;
pub mod environment;
pub mod episode;
pub mod error;
pub mod eval;
pub mod execution;
pub mod facts;
pub mod fleet;
pub mod import;
pub mod iteration;
pub mod journal;
pub mod learn;
pub mod learner;
pub mod material;
pub mod memory;
pub mod mkl;
pub mod optim;
pub mod parting;
pub mod policy;
pub mod projection;
pub mod ranks;
pub mod recipe;
pub mod record;
pub mod reference;
pub mod report;
pub mod rescore;
pub mod rng;
pub mod rollout;
pub mod scoring;
pub mod selfcheck;
pub mod serving;
pub mod session;
pub mod snapshot;
pub mod step_metrics;
pub mod stop;
pub mod supervised;
pub mod tasks;
pub mod telemetry;
pub mod train;
pub mod traps;
