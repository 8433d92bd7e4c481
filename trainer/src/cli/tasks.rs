//! `rltrain tasks …`.

use std::path::PathBuf;

use clap::Subcommand;
use rltrain_executor::ExecutorConfig;

use super::failure::Failure;
use super::{print_line, tell};
use crate::execution::start_executor;
use crate::tasks::{TaskSet, disjoint, verify};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run every reference solution (all must pass) and wrong programs (all must fail), and compare the files
    Verify {
        /// Task files; no task of one may be in another
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
}

/// Runs one of the subcommands.
pub(super) fn run(command: &Command) -> Result<(), Failure> {
    let Command::Verify { files } = command;
    let mut sets = Vec::new();
    for file in files {
        sets.push(TaskSet::load(file).map_err(Failure::input)?);
    }
    let config = ExecutorConfig::default();
    let executor = start_executor(&config).map_err(Failure::world)?;
    let mut faults = 0;
    for set in &sets {
        let report = verify(&executor, set, config.limits).map_err(Failure::world)?;
        print_line(format_args!("{}: {report}", set.path().display()));
        faults += report.faults.len();
    }
    for (index, first) in sets.iter().enumerate() {
        for second in &sets[index + 1..] {
            let overlaps = disjoint(first, second);
            let (one, other) = (first.path().display(), second.path().display());
            print_line(format_args!("{one} and {other}: {} tasks in common", overlaps.len()));
            overlaps.iter().for_each(|overlap| tell(&overlap.to_string()));
            faults += overlaps.len();
        }
    }
    if faults == 0 { Ok(()) } else { Err(Failure::plain_input(Faulty(faults))) }
}

/// Task files that cannot be trained or evaluated on.
#[derive(Debug, thiserror::Error)]
#[error("{0} faults found; mend or remove the tasks named above")]
struct Faulty(usize);
