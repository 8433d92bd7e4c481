//! The command line: one file per subcommand. Exit codes: 0 done, 1 the world failed, 2 bad input.

mod audit;
mod changes;
mod check;
mod checkup;
mod ckpt;
mod completions;
mod critic;
mod doctor;
mod eval;
mod exec;
mod executor;
mod failure;
mod fetch;
mod fork;
mod import;
mod manual;
mod merge;
mod plan;
mod preview;
mod replay;
mod report;
mod rescore;
mod reward;
mod run_folder;
mod sample;
mod schema;
mod selfcheck;
mod serve;
pub mod startup;
mod subject;
mod tasks;
mod train;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
pub use manual::manual;

/// Reinforcement-learning fine-tuning for code language models
#[derive(Debug, Parser)]
#[command(name = "rltrain", version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    /// The recipe to train; a run that was interrupted goes on where it stopped
    #[arg(value_name = "RECIPE", required = true)]
    recipe: Option<PathBuf>,
    #[command(flatten)]
    arguments: train::Arguments,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Go on with a run, as the recipe stored in its folder says
    Resume(train::ResumeArguments),
    /// Start a new run from a checkpoint of another, with changed keys
    Fork(fork::Arguments),
    /// Look after the checkpoints of runs
    #[command(subcommand)]
    Ckpt(ckpt::Command),
    /// Report every problem of a recipe at once, without loading a model
    Check(check::Arguments),
    /// Say how much memory a recipe takes, and whether this machine has it, without loading the weights
    Plan(plan::Arguments),
    /// Show what the model is given, one answer, what came of it and what it earns, before any training
    Preview(preview::Arguments),
    /// Turn a GGUF file into a Hugging Face folder
    Import(import::Arguments),
    /// Fold a low-rank adapter into the model that it was trained on
    Merge(merge::Arguments),
    /// Measure a model on a file of tasks, or compare two measurements
    Eval(Box<eval::Arguments>),
    /// Complete a prompt with a model folder or a checkpoint
    Sample(sample::Arguments),
    /// Serve a model over HTTP, to trainers as SGLang's and vLLM's servers do, and to any client of OpenAI's API
    Serve(serve::Arguments),
    /// Run a program against tests in the sandbox, and print the verdict
    Exec(exec::Arguments),
    /// Run programs for trainers on other machines, until SIGTERM
    Executor(executor::Arguments),
    /// Say whether this host is fit for a run, what is missing, and what to do about it
    Doctor(doctor::Arguments),
    /// Compute the gradient of a recipe's first batch in several ways, and compare
    Selfcheck(selfcheck::Arguments),
    /// Train a verifier from the attempts that a run has logged, and say how good it is
    Critic(critic::Arguments),
    /// Write a reward, or look at what the rewards of a recipe say
    #[command(subcommand)]
    Reward(reward::Command),
    /// Run cheating programs and mutants of the references through rewards, and report what is accepted
    AuditReward(audit::Arguments),
    /// Score the logged attempts of a run again, with other rewards
    Rescore(rescore::Arguments),
    /// Do the update of a recorded step again, with other settings if wanted
    Replay(replay::ReplayArguments),
    /// Name the first step, sample and tensor in which two runs differ
    Diff(replay::DiffArguments),
    /// Write a run as one HTML file: curves, pass rates, every program
    Report(report::Arguments),
    /// Fetch a published task set, and write it as a task file
    Fetch(fetch::Arguments),
    /// Look after task files
    #[command(subcommand)]
    Tasks(tasks::Command),
    /// Print the JSON schema of recipes
    Schema,
    /// Print what completes commands in a shell
    Completions(completions::Arguments),
    /// Serve sandbox jobs on standard input (started by rltrain itself)
    #[command(hide = true)]
    ExecWorker,
}

/// Runs the command line and returns the exit code of the process.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are not failures; clap knows which stream and which code each needs.
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            // A closed pipe is no reason to fail: nobody is left to tell.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let done = match (cli.command, cli.recipe) {
        (Some(Command::ExecWorker), _) => return rltrain_executor::worker_main(),
        (Some(Command::Resume(arguments)), _) => {
            startup::settle();
            train::resume(arguments)
        }
        (Some(Command::Fork(arguments)), _) => fork::run(&arguments),
        (Some(Command::Ckpt(command)), _) => ckpt::run(&command),
        (Some(Command::Check(arguments)), _) => check::run(&arguments),
        (Some(Command::Plan(arguments)), _) => plan::run(&arguments),
        (Some(Command::Import(arguments)), _) => import::run(&arguments),
        (Some(Command::Merge(arguments)), _) => merge::run(&arguments),
        (Some(Command::Eval(arguments)), _) => {
            startup::settle();
            eval::run(&arguments)
        }
        (Some(Command::Preview(arguments)), _) => {
            startup::settle();
            preview::run(&arguments)
        }
        (Some(Command::Replay(arguments)), _) => {
            startup::settle();
            replay::run(&arguments)
        }
        (Some(Command::Diff(arguments)), _) => replay::diff(&arguments),
        (Some(Command::Completions(arguments)), _) => completions::run(&arguments),
        (Some(Command::Sample(arguments)), _) => {
            startup::settle();
            sample::run(&arguments)
        }
        (Some(Command::Serve(arguments)), _) => {
            startup::settle();
            serve::run(&arguments)
        }
        (Some(Command::Exec(arguments)), _) => exec::run(&arguments),
        (Some(Command::Executor(arguments)), _) => executor::run(arguments),
        (Some(Command::Doctor(arguments)), _) => doctor::run(&arguments),
        (Some(Command::Selfcheck(arguments)), _) => {
            startup::settle();
            selfcheck::run(&arguments)
        }
        (Some(Command::Critic(arguments)), _) => {
            startup::settle();
            critic::run(&arguments)
        }
        (Some(Command::Reward(command)), _) => reward::run(&command),
        (Some(Command::AuditReward(arguments)), _) => audit::run(&arguments),
        (Some(Command::Rescore(arguments)), _) => rescore::run(&arguments),
        (Some(Command::Report(arguments)), _) => report::run(&arguments),
        (Some(Command::Fetch(arguments)), _) => fetch::run(&arguments),
        (Some(Command::Tasks(command)), _) => tasks::run(&command),
        (Some(Command::Schema), _) => schema::run(),
        (None, Some(recipe)) => {
            startup::settle();
            train::run(&recipe, cli.arguments)
        }
        (None, None) => unreachable!("clap demands a recipe where there is no subcommand"),
    };
    done.map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}

/// Whether `arguments`, with the program's name in front, are a command line of this program; nothing is run.
///
/// # Errors
///
/// What clap has to say where they are not.
pub fn understands(arguments: impl IntoIterator<Item = OsString>) -> Result<(), clap::Error> {
    match Cli::try_parse_from(arguments) {
        // Help and version are asked for, not misunderstood.
        Err(error) if error.exit_code() != 0 => Err(error),
        _ => Ok(()),
    }
}

/// Writes one line to standard output; a closed pipe ends the output, not the program.
fn print_line(text: impl std::fmt::Display) {
    use std::io::Write;
    // Nobody is left to read it, and nobody to tell.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Writes one line to standard error.
fn tell(text: &str) {
    use std::io::Write;
    // As for `print_line`.
    let _ = writeln!(std::io::stderr(), "{text}");
}
