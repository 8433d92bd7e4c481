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
mod run_group;
mod seccomp;
mod supervisor;
mod toolchain;
mod watch;
mod worker;

use crate::InfraError;

pub use config::ProcessConfig;
pub use isolation::{Isolation, LayerReport};
pub use layers::{Layer, LayerSet};
pub use mounts::View;
pub use owner::{CommandWorker, ProgramWorker};
pub use run::{Bounds, Command, Ended, How};
pub use toolchain::{Language, Toolchain};
pub use worker::{Done, Surroundings, Task};

pub(crate) use worker::{serve_commands, serve_programs};

/// What it takes to run programs in a language on this host.
///
/// # Errors
///
/// If there is no toolchain for it, or a layer of isolation is missing that is not accepted.
pub(crate) fn prepare(
    language: Language,
    config: &ProcessConfig,
) -> Result<(Surroundings, Toolchain), InfraError> {
    Isolation::probe().check(config.accept_missing)?;
    let toolchain = Toolchain::find(language)?;
    let view = View::of_system_and(&toolchain.folders).map_err(|error| {
        InfraError::Sandbox(format!(
            "the folders of the {} toolchain cannot be shown: {error}",
            language.name()
        ))
    })?;
    Ok((Surroundings { view, accept_missing: config.accept_missing }, toolchain))
}
