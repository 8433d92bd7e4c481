//! `rltrain ckpt …`: looks after the checkpoints of runs. Data goes to standard output; with `--json`, it is for scripts.

mod diff;
mod export;
mod ls;
mod prune;
mod pull;
mod push;
mod show;
mod verify;

use clap::Subcommand;

use super::failure::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the checkpoints of a run, or of a remote store
    Ls(ls::Arguments),
    /// Show what a checkpoint is, where it comes from and what is in it
    Show(show::Arguments),
    /// Hash every file anew; exit code 1 if anything is broken
    Verify(verify::Arguments),
    /// Name every key and tensor in which two checkpoints differ
    Diff(diff::Arguments),
    /// Write a checkpoint as a folder for transformers or PEFT
    Export(export::Arguments),
    /// Delete old checkpoints of a run
    Prune(prune::Arguments),
    /// Copy a checkpoint into a remote store
    Push(push::Arguments),
    /// Copy a checkpoint out of a remote store
    Pull(pull::Arguments),
}

/// Does what was asked for.
pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Ls(arguments) => ls::run(arguments),
        Command::Show(arguments) => show::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::Diff(arguments) => diff::run(arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Prune(arguments) => prune::run(arguments),
        Command::Push(arguments) => push::run(arguments),
        Command::Pull(arguments) => pull::run(arguments),
    }
}
