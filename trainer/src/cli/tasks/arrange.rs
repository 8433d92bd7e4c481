//! `rltrain tasks split`, `dedupe`, `overlap` and `multiply`: task files out of task files.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::verify::{of_set, overlap_report};
use super::{load, print_json, write};
use crate::cli::failure::Failure;
use crate::cli::{print_line, tell};
use crate::counted::counted;
use crate::tasks::{self, Fault, MultiplyOptions, Task, disjoint, duplicates};

#[derive(Debug, Args)]
pub(in crate::cli) struct SplitArguments {
    /// The task file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// File for the tasks to train on
    #[arg(value_name = "TRAIN")]
    train: PathBuf,
    /// File for the tasks to evaluate on
    #[arg(value_name = "HELDOUT")]
    heldout: PathBuf,
    /// Share of the tasks to train on, about: above 0, below 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.9)]
    ratio: f64,
    /// Another seed is another division
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Print what was done as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DedupeArguments {
    /// The task file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// File for the tasks that are left
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// From which likeness of two prompts the later task goes: a Jaccard index over word 3-grams, 0.5 to 1
    #[arg(long, value_name = "LIKENESS", default_value_t = 0.8)]
    threshold: f64,
    /// Take out only tasks whose words and tests are those of an earlier one
    #[arg(long, conflicts_with = "threshold")]
    exact: bool,
    /// Print what was done as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct OverlapArguments {
    /// The tasks to train on
    #[arg(value_name = "TRAIN")]
    train: PathBuf,
    /// The tasks to evaluate on
    #[arg(value_name = "HELDOUT")]
    heldout: PathBuf,
    /// Write the tasks of TRAIN that are not in HELDOUT to this file
    #[arg(long, value_name = "OUT")]
    clean: Option<PathBuf>,
    /// Print what was found as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MultiplyArguments {
    /// The task file, whose tasks are verified
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// File for the variants
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Variants of each task with a changed result
    #[arg(long, value_name = "N", default_value_t = 1)]
    transforms: usize,
    /// Changes of a variant, one after the other
    #[arg(long, value_name = "N", default_value_t = 1)]
    depth: usize,
    /// Make a variant without words, too: the function is to be found out from what it returns
    #[arg(long)]
    induction: bool,
    /// Make a variant that is written in insertions, too, each of which leaves a program without errors
    #[arg(long)]
    insertions: bool,
    /// Examples that a variant without words shows, at least 2
    #[arg(long, value_name = "N", default_value_t = 4)]
    shown: usize,
    /// Another seed is other changes
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Print what was done as one JSON object
    #[arg(long)]
    json: bool,
}

/// What was asked for cannot be.
#[derive(Debug, thiserror::Error)]
enum InputError {
    #[error("--ratio is {0}, wanted a number above 0, below 1")]
    Ratio(f64),
    #[error("--threshold is {0}, wanted a number from 0.5 to 1: pairs less alike are not found reliably")]
    Threshold(f64),
    #[error("--depth is 0, wanted at least 1")]
    Depth,
    #[error("all {0} tasks are on one side; take a ratio nearer to the middle, another seed, or more tasks")]
    OneSide(usize),
    #[error("{} of TRAIN also in HELDOUT; `--clean OUT` writes the others", counted(*.0, "task"))]
    Overlap(usize),
    #[error("every task of `{0}` is in the other file; nothing was written")]
    NothingLeft(String),
    #[error("no task of `{file}` has a variant{why}")]
    NoVariant { file: String, why: String },
}

pub(super) fn split(arguments: &SplitArguments) -> Result<(), Failure> {
    let SplitArguments { file, train, heldout, ratio, seed, json } = arguments;
    if !(*ratio > 0.0 && *ratio < 1.0) {
        return Err(Failure::plain_input(InputError::Ratio(*ratio)));
    }
    let set = load(file)?;
    let all: Vec<&Task> = set.iter().collect();
    let is_first = tasks::split(&all, *ratio, *seed);
    let side = |first: bool| -> Vec<&Task> {
        let chosen = all.iter().zip(&is_first).filter(|(_, of)| **of == first);
        chosen.map(|(task, _)| *task).collect()
    };
    let (first, second) = (side(true), side(false));
    if first.is_empty() || second.is_empty() {
        return Err(Failure::plain_input(InputError::OneSide(all.len())));
    }
    write(train, first.iter().copied())?;
    write(heldout, second.iter().copied())?;
    let overlaps = disjoint(&load(train)?, &load(heldout)?);
    tell(&format!(
        "{}: {}; {}: {}",
        train.display(),
        counted(first.len(), "task"),
        heldout.display(),
        counted(second.len(), "task")
    ));
    if !overlaps.is_empty() {
        tell(&format!(
            "warning: {} across the two alike; `rltrain tasks dedupe` before splitting takes them out",
            counted(overlaps.len(), "pair")
        ));
    }
    if *json {
        print_json(&json!({ "train": first.len(), "heldout": second.len(), "alike": overlaps.len() }));
    }
    Ok(())
}

pub(super) fn dedupe(arguments: &DedupeArguments) -> Result<(), Failure> {
    let DedupeArguments { file, out, threshold, exact, json } = arguments;
    if !(0.5..=1.0).contains(threshold) {
        return Err(Failure::plain_input(InputError::Threshold(*threshold)));
    }
    let set = load(file)?;
    let all: Vec<&Task> = set.iter().collect();
    let found = duplicates(&all, (!exact).then_some(*threshold));
    let places: BTreeSet<usize> = found.iter().map(|one| one.place).collect();
    let left = all.iter().enumerate().filter(|(place, _)| !places.contains(place));
    let left: Vec<&Task> = left.map(|(_, task)| *task).collect();
    write(out, left.iter().copied())?;
    let id = |place: usize| all[place].id.as_str();
    let (tasks, taken_out) = (counted(left.len(), "task"), counted(found.len(), "duplicate"));
    tell(&format!("{}: {tasks} written, {taken_out} taken out", out.display()));
    if *json {
        #[derive(Serialize)]
        struct One<'a> {
            task: &'a str,
            of: &'a str,
            likeness: f64,
        }
        let list =
            found.iter().map(|one| One { task: id(one.place), of: id(one.of), likeness: one.likeness });
        print_json(&json!({ "tasks": left.len(), "duplicates": list.collect::<Vec<_>>() }));
    } else {
        for one in &found {
            print_line(format_args!("`{}` is like `{}`: {:.2}", id(one.place), id(one.of), one.likeness));
        }
    }
    Ok(())
}

pub(super) fn overlap(arguments: &OverlapArguments) -> Result<(), Failure> {
    let (train, heldout) = (load(&arguments.train)?, load(&arguments.heldout)?);
    let overlaps = disjoint(&train, &heldout);
    let alike: BTreeSet<&str> = overlaps.iter().map(|overlap| overlap.train.as_str()).collect();
    if arguments.json {
        let pair = (&train, &heldout);
        let list: Vec<_> = overlaps.iter().map(|one| overlap_report(&pair, one)).collect();
        print_json(&json!({ "train_tasks_alike": alike.len(), "overlaps": list }));
    } else {
        overlaps.iter().for_each(print_line);
        print_line(format_args!("{} of {} training tasks are in the other file", alike.len(), train.len()));
    }
    let Some(out) = &arguments.clean else {
        return if alike.is_empty() {
            Ok(())
        } else {
            Err(Failure::plain_input(InputError::Overlap(alike.len())))
        };
    };
    let left: Vec<&Task> = train.iter().filter(|task| !alike.contains(task.id.as_str())).collect();
    if left.is_empty() {
        return Err(Failure::plain_input(InputError::NothingLeft(arguments.train.display().to_string())));
    }
    write(out, left.iter().copied())?;
    tell(&format!("{}: {} written", out.display(), counted(left.len(), "task")));
    Ok(())
}

pub(super) fn multiply(arguments: &MultiplyArguments) -> Result<(), Failure> {
    let MultiplyArguments { file, out, transforms, depth, induction, insertions, shown, seed, json } =
        arguments;
    if *depth == 0 {
        return Err(Failure::plain_input(InputError::Depth));
    }
    let (transforms, depth, shown, seed) = (*transforms, *depth, *shown, *seed);
    let (induction, insertions) = (*induction, *insertions);
    let set = load(file)?;
    let made =
        tasks::multiply(&set, MultiplyOptions { transforms, depth, induction, insertions, shown, seed });
    let report = of_set(&made.tasks, None)?;
    let faulty: HashMap<&str, &Fault> = report.faults.iter().map(|fault| (fault.task(), fault)).collect();
    let left: Vec<&Task> = made.tasks.iter().filter(|task| !faulty.contains_key(task.id.as_str())).collect();
    if left.is_empty() {
        let why = made.passed_over.first().map(|one| format!("; `{}`: {}", one.task, one.why));
        let (file, why) = (file.display().to_string(), why.unwrap_or_default());
        return Err(Failure::plain_input(InputError::NoVariant { file, why }));
    }
    write(out, left.iter().copied())?;
    let dropped: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    tell(&format!(
        "{}: {} written, {} dropped for a fault, {} passed over",
        out.display(),
        counted(left.len(), "variant"),
        faulty.len(),
        counted(made.passed_over.len(), "task")
    ));
    if *json {
        print_json(&json!({ "variants": left.len(), "dropped": dropped, "passed_over": made.passed_over }));
    } else {
        dropped.iter().for_each(print_line);
        for one in &made.passed_over {
            print_line(format_args!("`{}`: {}", one.task, one.why));
        }
    }
    Ok(())
}
