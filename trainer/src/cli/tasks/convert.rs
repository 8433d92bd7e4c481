//! `rltrain tasks convert`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{TaskFile, print_json};
use crate::cli::failure::Failure;
use crate::cli::tell;
use crate::counted::counted;
use crate::tasks::{ConvertError, ConvertOptions, Converted, Format, TaskSet, convert};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// What was published: lines of JSON, compressed by gzip or not
    #[arg(value_name = "IN")]
    from_file: PathBuf,
    /// The task file to write
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// The format; guessed from the keys of the first row where that is unambiguous
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    from: Option<Format>,
    /// How many of a task's tests become public where the format has no public ones, from the first; one stays hidden
    #[arg(long, value_name = "N", default_value_t = 0)]
    public: usize,
    /// Print what was done as one JSON object
    #[arg(long)]
    json: bool,
}

fn format(name: &str) -> Result<Format, String> {
    let known = Format::ALL.into_iter().find(|format| format.name() == name);
    known.ok_or_else(|| format!("wanted one of {}", Format::ALL.map(Format::name).join(", ")))
}

/// Rows that are told of one by one; of more, how many there are.
const TOLD: usize = 5;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let options = ConvertOptions { from: arguments.from, public: arguments.public };
    let done = convert_file(&arguments.from_file, &arguments.out, options)?;
    if arguments.json {
        print_json(&done);
    }
    Ok(())
}

/// Converts a file, and tells of it.
pub(in crate::cli) fn convert_file(
    path: &Path,
    out: &Path,
    options: ConvertOptions,
) -> Result<Converted, Failure> {
    let mut file = TaskFile::create(out).map_err(Failure::world)?;
    let done = convert(path, options, |task| file.write(task)).map_err(failure)?;
    file.finish().map_err(Failure::world)?;
    // What was written is read as a run would: whatever a row brought along that no task file can have is found here.
    TaskSet::load(out).map_err(Failure::input)?;
    let (tasks, left_out) = (done.tasks, done.left_out.len());
    let (tasks, rows) = (counted(tasks, "task"), counted(left_out, "row"));
    tell(&format!("{}: {tasks} from {}, {rows} left out", out.display(), done.format));
    for row in done.left_out.iter().take(TOLD) {
        tell(&format!("  line {}: {}", row.line, row.why));
    }
    if left_out > TOLD {
        tell(&format!("  and {} more; --json has them all", left_out - TOLD));
    }
    Ok(done)
}

fn failure(error: ConvertError) -> Failure {
    let command = error.command().map(str::to_owned);
    let failure = if error.is_bad_input() { Failure::input(error) } else { Failure::world(error) };
    failure.with_command(command)
}
