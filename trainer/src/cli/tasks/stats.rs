//! `rltrain tasks stats`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::{load, print_json};
use crate::cli::failure::Failure;
use crate::cli::print_line;
use crate::tasks::statistics;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Task files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Print one JSON object, with the numbers of each file by its path
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut all = BTreeMap::new();
    for path in &arguments.files {
        let found = statistics(&load(path)?);
        if !arguments.json {
            print_line(format_args!("{}\n{found}", path.display()));
        }
        all.insert(path.display().to_string(), found);
    }
    if arguments.json {
        print_json(&all);
    }
    Ok(())
}
