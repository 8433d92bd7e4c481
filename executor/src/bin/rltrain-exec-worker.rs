//! A worker by itself, for programs that use this crate without a subcommand of their own for it, and for its tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    rltrain_executor::worker_main()
}
