//! `rltrain tasks generate`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{print_json, write};
use crate::cli::failure::Failure;
use crate::cli::tell;
use crate::counted::counted;
use crate::tasks::{GenerateOptions, GeneratedKind, generate};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// What kind of tasks
    #[arg(value_name = "KIND", value_enum)]
    kind: GeneratedKind,
    /// File for the tasks to train on
    #[arg(value_name = "TRAIN")]
    train: PathBuf,
    /// File for the tasks to evaluate on, whose programs do something else than those of TRAIN
    #[arg(value_name = "HELDOUT")]
    heldout: PathBuf,
    /// Tasks to train on
    #[arg(long, value_name = "N", default_value_t = 1000)]
    count: usize,
    /// Tasks to evaluate on
    #[arg(long, value_name = "N", default_value_t = 100)]
    heldout_count: usize,
    /// Most pieces of a program of texts, or statements of a function
    #[arg(long, value_name = "N", default_value_t = 3)]
    size: usize,
    /// Examples that a prompt shows, which are its public tests
    #[arg(long, value_name = "N", default_value_t = 4)]
    shown: usize,
    /// Hidden tests
    #[arg(long, value_name = "N", default_value_t = 6)]
    hidden: usize,
    /// Most functions that the tasks of TRAIN are of. Default: as many as are drawn
    #[arg(long, value_name = "N")]
    distinct: Option<usize>,
    /// Another seed is other tasks
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Print what was done as one JSON object
    #[arg(long)]
    json: bool,
}

/// What was asked for cannot be.
#[derive(Debug, thiserror::Error)]
#[error("--{0} is 0, wanted at least 1")]
struct NeedsOne(&'static str);

/// Generates two task files.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { kind, train, heldout, size, shown, hidden, distinct, seed, .. } = arguments;
    let (count, heldout_count) = (arguments.count, arguments.heldout_count);
    let numbers = [
        ("count", count),
        ("heldout-count", heldout_count),
        ("size", *size),
        ("shown", *shown),
        ("hidden", *hidden),
    ];
    if let Some((name, _)) = numbers.iter().find(|(_, number)| *number == 0) {
        return Err(Failure::plain_input(NeedsOne(name)));
    }
    let made = generate(&GenerateOptions {
        kind: *kind,
        train: count,
        heldout: heldout_count,
        size: *size,
        shown: *shown,
        hidden: *hidden,
        distinct: *distinct,
        seed: *seed,
    })
    .map_err(Failure::plain_input)?;
    write(train, &made.train)?;
    write(heldout, &made.heldout)?;
    tell(&format!(
        "{}: {} of {}; {}: {} of others",
        train.display(),
        counted(made.train.len(), "task"),
        counted(made.functions, "function"),
        heldout.display(),
        counted(made.heldout.len(), "task")
    ));
    if arguments.json {
        print_json(
            &json!({ "train": made.train.len(), "functions": made.functions, "heldout": made.heldout.len() }),
        );
    }
    Ok(())
}
