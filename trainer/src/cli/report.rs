//! `rltrain report RUN`: a run as one HTML file.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::failure::Failure;
use super::print_line;
use crate::report::{ReportError, write};
use crate::telemetry::METRICS_FILE;

/// How often the run is looked at, in seconds.
const LOOK_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Where the page goes [default: RUN/report.html]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write it again whenever a step is done, until Ctrl-C; an open page loads itself anew
    #[arg(long)]
    watch: bool,
}

/// Writes the page and says where it is.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let output = arguments.output.clone().unwrap_or_else(|| arguments.run.join("report.html"));
    let refresh = arguments.watch.then_some(10);
    let make = || {
        write(&arguments.run, &output, refresh).map_err(|error| match error {
            ReportError::NoRun { .. } | ReportError::Log(_) => Failure::plain_input(error),
            error => Failure::world(error),
        })
    };
    let mut seen = changed(&arguments.run);
    make()?;
    print_line(output.display());
    if !arguments.watch {
        return Ok(());
    }
    loop {
        thread::sleep(LOOK_EVERY);
        let now = changed(&arguments.run);
        if now != seen {
            seen = now;
            make()?;
        }
    }
}

/// When the run last recorded a step.
fn changed(run: &Path) -> Option<SystemTime> {
    fs_err::metadata(run.join(METRICS_FILE)).and_then(|metadata| metadata.modified()).ok()
}
