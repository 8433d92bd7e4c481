//! `rltrain tasks …`.

mod arrange;
mod convert;
mod generate;
mod stats;
mod verify;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
pub(super) use convert::convert_file;
use serde::Serialize;
use tempfile::NamedTempFile;

use super::failure::Failure;
use super::print_line;
use crate::tasks::{self, Task, TaskSet};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run every reference solution (all must pass) and wrong programs (all must fail), and compare the files
    Verify(verify::Arguments),
    /// Turn a published data set into a task file
    Convert(convert::Arguments),
    /// Count tasks, tests, characters and duplicates
    Stats(stats::Arguments),
    /// Divide a task file in two, by content
    Split(arrange::SplitArguments),
    /// Take out tasks that say what an earlier one says
    Dedupe(arrange::DedupeArguments),
    /// Tell which tasks of one file are in another, by content and by wording, without running anything
    Overlap(arrange::OverlapArguments),
    /// Make variants of tasks whose tests say what a function returns
    Multiply(arrange::MultiplyArguments),
    /// Make tasks in a toy language out of nothing, such as tiny models learn in minutes
    Generate(generate::Arguments),
    /// Print the JSON schema of a line of a task file
    Schema,
}

/// Runs one of the subcommands.
pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Verify(arguments) => verify::run(arguments),
        Command::Convert(arguments) => convert::run(arguments),
        Command::Stats(arguments) => stats::run(arguments),
        Command::Split(arguments) => arrange::split(arguments),
        Command::Dedupe(arguments) => arrange::dedupe(arguments),
        Command::Overlap(arguments) => arrange::overlap(arguments),
        Command::Multiply(arguments) => arrange::multiply(arguments),
        Command::Generate(arguments) => generate::run(arguments),
        Command::Schema => {
            print_line(tasks::schema().trim_end());
            Ok(())
        }
    }
}

fn load(path: &Path) -> Result<TaskSet, Failure> {
    TaskSet::load(path).map_err(Failure::input)
}

/// Prints a value as one line of JSON.
fn print_json(value: &impl Serialize) {
    print_line(serde_json::to_string(value).expect("texts and numbers are JSON"));
}

/// A task file while it is written: beside its place, where it comes to as a whole or not at all.
pub(super) struct TaskFile {
    path: PathBuf,
    file: io::BufWriter<NamedTempFile>,
}

impl TaskFile {
    /// Begins the file that is to be at `path`; what is there stays until the end.
    pub(super) fn create(path: &Path) -> io::Result<TaskFile> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = NamedTempFile::new_in(folder).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot write into `{}`: {error}", folder.display()))
        })?;
        Ok(TaskFile { path: path.to_owned(), file: io::BufWriter::new(file) })
    }

    /// Adds a task.
    pub(super) fn write(&mut self, task: &Task) -> io::Result<()> {
        serde_json::to_writer(&mut self.file, task)?;
        self.file.write_all(b"\n")
    }

    /// Puts the file in its place, readable as files are.
    pub(super) fn finish(self) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let file = self.file.into_inner()?;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }
}

/// Writes tasks to a file.
fn write<'a>(path: &Path, tasks: impl IntoIterator<Item = &'a Task>) -> Result<(), Failure> {
    let write = || {
        let mut file = TaskFile::create(path)?;
        tasks.into_iter().try_for_each(|task| file.write(task))?;
        file.finish()
    };
    write().map_err(Failure::world)
}
