//! The process backend: programs in compiled languages, and Python with native packages, as native processes that have been
//! shut in by the kernel.

mod calls;
mod clone;
mod config;
mod confinement;
mod explanation;
mod groups;
mod init;
mod isolation;
mod jail;
mod judge;
mod layers;
mod mounts;
mod owner;
mod run;
mod seccomp;
mod supervisor;
mod toolchain;
mod watch;
mod worker;

pub use config::ProcessConfig;
pub use isolation::{Isolation, LayerReport};
pub use layers::{Layer, LayerSet};
pub use mounts::View;
pub use owner::{CommandWorker, ProgramWorker};
pub use run::{Bounds, Command, Ended, How};
pub use toolchain::{Language, Toolchain};
pub use worker::{Done, Surroundings, Task};

pub(crate) use worker::{serve_commands, serve_programs};
