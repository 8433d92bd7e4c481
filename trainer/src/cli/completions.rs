//! `rltrain completions SHELL`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::failure::Failure;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script that the shell reads.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "rltrain", &mut script);
    // As `print_line`: a closed pipe is not a failure.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), &script);
    Ok(())
}
