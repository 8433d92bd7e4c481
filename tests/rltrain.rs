//! The program under test, run as a user runs it.

use std::path::Path;
use std::process::{Command, Output};

/// The `rltrain` that was just built, in folder `folder`.
///
/// One thread each: the products of tiny models are too small to share, and with tests and other programs beside them
/// threads would wait for each other most of the time.
pub(crate) fn rltrain(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rltrain"));
    command.current_dir(folder).env("NO_COLOR", "1").env("OMP_NUM_THREADS", "1");
    command
}

/// Runs it to its end.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    rltrain(folder).args(arguments).output().unwrap()
}

/// Runs it and demands exit code `code`; returns standard output and standard error.
#[track_caller]
pub(crate) fn expect(folder: &Path, arguments: &[&str], code: i32) -> (String, String) {
    let output = run(folder, arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, error) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "rltrain {arguments:?}\n{out}\n{error}");
    (out, error)
}
