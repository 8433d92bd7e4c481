//! The `rltrain` program: parse arguments, run one subcommand, turn its failure into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    rltrain::cli::run(std::env::args_os())
}
