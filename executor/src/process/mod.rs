//! The process backend: programs in compiled languages, and Python with native packages, as native processes that have been
//! shut in by the kernel.

mod calls;
mod clone;
mod commands;
mod confinement;
mod groups;
mod init;
mod isolation;
mod jail;
mod layers;
mod mounts;
mod run;
mod seccomp;
mod supervisor;
mod watch;
mod worker;

pub use commands::CommandWorker;
pub use isolation::{Isolation, LayerReport};
pub use layers::{Layer, LayerSet};
pub use mounts::View;
pub use run::{Bounds, Command, Ended, How};
pub use worker::{Done, Surroundings, Task};

pub(crate) use worker::serve_commands;
