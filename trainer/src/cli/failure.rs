//! How a subcommand fails: what the user sees, and the exit code.

use std::error::Error;
use std::process::ExitCode;

use miette::{Diagnostic, IntoDiagnostic, Report};

use super::tell;
use crate::error::TrainError;

/// A report and an exit code.
#[derive(Debug)]
pub(super) struct Failure {
    report: Report,
    help: Option<&'static str>,
    command: Option<String>,
    code: u8,
}

impl Failure {
    /// Exit code 2: the user can mend it by changing what they gave us. The error shows the place.
    pub(super) fn input(error: impl Diagnostic + Send + Sync + 'static) -> Failure {
        Failure { report: Report::new(error), help: None, command: None, code: 2 }
    }

    /// Exit code 2, for an error without a place in a text.
    pub(super) fn plain_input(error: impl Error + Send + Sync + 'static) -> Failure {
        Failure { report: plain(error), help: None, command: None, code: 2 }
    }

    /// Exit code 1: the world failed. The whole chain of causes is shown.
    pub(super) fn world(error: impl Error + Send + Sync + 'static) -> Failure {
        Failure { report: plain(error), help: None, command: None, code: 1 }
    }

    /// Adds a way out, for an error that has none of its own.
    pub(super) fn with_help(self, help: Option<&'static str>) -> Failure {
        Failure { help, ..self }
    }

    /// Adds what to type as a way out: on a line of its own that is not wrapped, so that it can be taken as it is.
    pub(super) fn with_command(self, command: Option<String>) -> Failure {
        Failure { command, ..self }
    }

    /// Shows the report and gives the exit code.
    pub(super) fn report(self) -> ExitCode {
        tell(format!("{:?}", self.report).trim_end());
        if let Some(help) = self.help {
            tell(&format!("  help: {help}"));
        }
        if let Some(command) = self.command {
            tell(&format!("\n{command}"));
        }
        ExitCode::from(self.code)
    }
}

fn plain(error: impl Error + Send + Sync + 'static) -> Report {
    match Err::<(), _>(error).into_diagnostic() {
        Err(report) => report,
        Ok(()) => unreachable!("an error stays one"),
    }
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Failure {
        match error {
            TrainError::Tasks(error) => Failure::input(error),
            error if error.is_bad_input() => Failure::plain_input(error),
            error => Failure::world(error),
        }
    }
}

impl From<crate::policy::PolicyError> for Failure {
    fn from(error: crate::policy::PolicyError) -> Failure {
        TrainError::from(error).into()
    }
}
