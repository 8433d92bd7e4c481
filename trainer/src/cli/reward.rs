//! `rltrain reward …`: writing a reward, and looking at what one says.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use rltrain_executor::{Job, Verdict};
use rltrain_rewards::{Attempt, Part, RewardSet, Skeleton};
use thiserror::Error;

use super::failure::Failure;
use super::{print_line, tell};
use crate::execution::start_executor;
use crate::facts::{Bench, Closer, Facts, Wanted, language};
use crate::recipe::Recipe;
use crate::tasks::{Task, TaskSet};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a new reward that works, with its test, into a folder of its name
    New {
        /// Name of the reward, which is a folder and a Python module: letters, digits and `_`
        #[arg(value_name = "NAME")]
        name: String,
        /// What it is
        #[arg(long, value_enum, default_value = "process")]
        kind: Kind,
    },
    /// Run one program against a task's tests, and print what each reward of a recipe says, and why
    Try {
        /// The recipe
        #[arg(value_name = "RECIPE")]
        recipe: PathBuf,
        /// Name of a task in one of the recipe's files
        #[arg(long, value_name = "ID")]
        task: String,
        /// The program: a whole one, the signature included
        #[arg(long, value_name = "FILE")]
        program: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Kind {
    /// A program that reads batches from standard input
    Process,
    /// A server that is sent batches over HTTP
    Http,
    /// A WebAssembly component that runs in rltrain itself, in a sandbox
    Wasm,
}

/// What the user gave us cannot be used.
#[derive(Debug, Error)]
enum InputError {
    #[error("`{0}` cannot name a reward, wanted letters, digits and `_`, such as `short_lines`")]
    Name(String),
    #[error("`{}` is there already; choose another name, or remove it", .0.display())]
    Exists(PathBuf),
    #[error("no task `{task}` in `{}` and `{}`", train.display(), heldout.display())]
    NoTask { task: String, train: PathBuf, heldout: PathBuf },
    #[error("cannot read the program `{}`", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
}

/// Runs one of the subcommands.
pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::New { name, kind } => new(name, *kind),
        Command::Try { recipe, task, program } => try_program(recipe, task, program),
    }
}

fn new(name: &str, kind: Kind) -> Result<(), Failure> {
    let skeleton = match kind {
        Kind::Process => Skeleton::process(name, name),
        Kind::Http => Skeleton::http(name),
        Kind::Wasm => Skeleton::wasm(name, name),
    };
    let skeleton = skeleton.ok_or_else(|| Failure::plain_input(InputError::Name(name.to_owned())))?;
    let folder = Path::new(name);
    fs_err::create_dir(folder).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::plain_input(InputError::Exists(folder.to_owned())),
        _ => Failure::world(error),
    })?;
    for (file, text) in &skeleton.files {
        fs_err::write(folder.join(file), text).map_err(Failure::world)?;
        print_line(format_args!("wrote {}", folder.join(file).display()));
    }
    print_line("");
    print_line(format_args!("In {name}/:"));
    for (command, why) in &skeleton.commands {
        print_line(format_args!("    {command:<28} {why}"));
    }
    print_line("");
    print_line("In a recipe beside that folder:");
    print_line("");
    print_line(skeleton.table.trim_end());
    Ok(())
}

fn try_program(recipe: &Path, id: &str, path: &Path) -> Result<(), Failure> {
    let recipe = Recipe::load(recipe).map_err(Failure::input)?;
    let task = find_task(&recipe, id)?;
    let program = fs_err::read_to_string(path)
        .map_err(|source| Failure::plain_input(InputError::Unreadable { path: path.to_owned(), source }))?;
    let rewards = RewardSet::build(&recipe.rewards).map_err(Failure::plain_input)?;
    let executor = start_executor(&recipe.executor).map_err(Failure::world)?;
    let bench = Bench { executor: &executor, limits: recipe.executor.limits };
    let wanted = Wanted::by(&rewards);
    let verdict = judge(bench, &task, &program)?;
    let closer = Closer::look(wanted, bench, &task, &program, &verdict).wait().map_err(Failure::world)?;
    let mut facts = Facts::default();
    let told = facts.learn(wanted, bench, [&task]).map_err(Failure::world)?;
    told.iter().for_each(|told| tell(&format!("warning: {told}")));
    let facts = facts.of(&task);
    let known = task.for_rewards(language(recipe.executor.runtime).unwrap_or_default(), facts);
    let completion = program.strip_prefix(&task.signature).unwrap_or(&program);
    let attempt = Attempt {
        before: facts.before.as_ref(),
        level_fuel: &closer.level_fuel,
        written_tests: closer.written_tests,
        ..Attempt::new(&known, completion, &program, &verdict)
    };
    let scored = rewards.score(&attempt).map_err(Failure::world)?;
    print_line(format_args!("{:<20}{:>9}{:>9}{:>10}  why", "reward", "raw", "shaped", "effective"));
    for (part, why) in scored.parts.iter().zip(rewards.explain(&attempt)) {
        print_line(row(part, &why));
    }
    print_line(format_args!("{:<20}{:>28.4}", "total", scored.total));
    Ok(())
}

fn row(part: &Part, why: &str) -> String {
    let number = |score: Option<f64>| score.map_or_else(|| "none".to_owned(), |score| format!("{score:.4}"));
    let (raw, shaped) = (number(part.raw), number(part.shaped));
    let row = format!("{:<20}{raw:>9}{shaped:>9}{:>10.4}  {why}", part.name, part.effective);
    row.trim_end().to_owned()
}

fn find_task(recipe: &Recipe, id: &str) -> Result<Task, Failure> {
    let (train, heldout) = (&recipe.tasks.train, &recipe.tasks.heldout);
    for file in [train, heldout] {
        let tasks = TaskSet::load(file).map_err(Failure::input)?;
        if let Some(task) = tasks.iter().find(|task| task.id == id) {
            return Ok(task.clone());
        }
    }
    let (task, train, heldout) = (id.to_owned(), train.clone(), heldout.clone());
    Err(Failure::plain_input(InputError::NoTask { task, train, heldout }))
}

/// Runs a program against the hidden tests, as training does.
fn judge(bench: Bench<'_>, task: &Task, program: &str) -> Result<Verdict, Failure> {
    let job = Job::new(program, task.hidden_tests.iter().cloned(), bench.limits);
    bench.executor.submit(job).wait().map_err(Failure::world)
}
