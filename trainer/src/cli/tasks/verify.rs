//! `rltrain tasks verify`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use rltrain_executor::{ExecutorConfig, Runtime};
use rltrain_rewards::Language;
use serde::Serialize;

use super::{load, print_json, write};
use crate::cli::failure::Failure;
use crate::cli::{print_line, tell};
use crate::counted::counted;
use crate::execution::start_executor;
use crate::facts::language;
use crate::tasks::{
    Dropped, Fault, Overlap, Task, TaskSet, VerifyReport, disjoint, mend, runtime_for, verify,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Task files; no task of one may be in another
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Run programs with this runtime, instead of the usual one of each task's language
    #[arg(long, value_name = "NAME", value_parser = runtime)]
    runtime: Option<Runtime>,
    /// Write what is without fault to this file: tests that the reference does not pass are dropped, and tasks with another fault
    #[arg(long, value_name = "OUT")]
    drop_faulty: Option<PathBuf>,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

fn runtime(name: &str) -> Result<Runtime, String> {
    let names = || Runtime::ALL.map(Runtime::name).join(", ");
    Runtime::named(name).ok_or_else(|| format!("wanted one of {}", names()))
}

/// What was found, for scripts.
#[derive(Serialize)]
struct Report<'a> {
    files: Vec<FileReport<'a>>,
    overlaps: Vec<OverlapReport<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<&'a [Dropped]>,
}

#[derive(Serialize)]
struct FileReport<'a> {
    path: String,
    tasks: usize,
    unproven: usize,
    wrong_programs: usize,
    faults: Vec<FaultReport<'a>>,
}

#[derive(Serialize)]
struct FaultReport<'a> {
    task: &'a str,
    kind: &'static str,
    test: Option<&'a str>,
    text: String,
}

#[derive(Serialize)]
pub(super) struct OverlapReport<'a> {
    file: String,
    task: &'a str,
    other_file: String,
    other_task: &'a str,
    likeness: &'static str,
}

/// Task files that cannot be trained or evaluated on.
#[derive(Debug, thiserror::Error)]
#[error("{} found; mend or remove the tasks named above, or write the others with --drop-faulty", counted(*.0, "fault"))]
struct Faulty(usize);

#[derive(Debug, thiserror::Error)]
enum InputError {
    #[error("--drop-faulty writes one file, and {0} are verified; verify them one by one")]
    SeveralFiles(usize),
    #[error("no task of `{0}` is without fault; nothing was written")]
    NothingLeft(String),
}

/// Runs what there is to run, and says what came of it.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.drop_faulty.is_some() && arguments.files.len() > 1 {
        return Err(Failure::plain_input(InputError::SeveralFiles(arguments.files.len())));
    }
    let sets = arguments.files.iter().map(|file| load(file)).collect::<Result<Vec<_>, _>>()?;
    let reports =
        sets.iter().map(|set| of_set(set.iter(), arguments.runtime)).collect::<Result<Vec<_>, _>>()?;
    let overlaps = overlaps(&sets);
    let mended = match &arguments.drop_faulty {
        Some(out) => Some(drop_faulty(&sets[0], &reports[0], arguments.runtime, out)?),
        None => None,
    };
    if arguments.json {
        print_json(&Report {
            files: sets.iter().zip(&reports).map(|(set, report)| file_report(set, report)).collect(),
            overlaps: overlaps
                .iter()
                .flat_map(|(pair, all)| all.iter().map(|one| overlap_report(pair, one)))
                .collect(),
            dropped: mended.as_deref(),
        });
    } else {
        for (set, report) in sets.iter().zip(&reports) {
            print_line(format_args!("{}: {report}", set.path().display()));
        }
        for ((one, other), all) in &overlaps {
            let (one, other) = (one.path().display(), other.path().display());
            print_line(format_args!("{one} and {other}: {} in common", counted(all.len(), "task")));
            all.iter().for_each(|overlap| tell(&overlap.to_string()));
        }
    }
    let faults = reports.iter().map(|report| report.faults.len()).sum::<usize>()
        + overlaps.iter().map(|(_, all)| all.len()).sum::<usize>();
    if faults == 0 || mended.is_some() { Ok(()) } else { Err(Failure::plain_input(Faulty(faults))) }
}

/// Verifies tasks language by language, each in a sandbox of its own.
pub(super) fn of_set<'a>(
    tasks: impl IntoIterator<Item = &'a Task>,
    runtime: Option<Runtime>,
) -> Result<VerifyReport, Failure> {
    let mut by_language: BTreeMap<Language, Vec<&Task>> = BTreeMap::new();
    tasks.into_iter().for_each(|task| by_language.entry(task.language).or_default().push(task));
    let mut whole = VerifyReport::default();
    for (spoken, tasks) in by_language {
        let chosen = runtime
            .filter(|runtime| language(*runtime).is_none_or(|language| language == spoken))
            .or_else(|| runtime_for(spoken));
        let Some(chosen) = chosen else {
            unreachable!("a task file has no task in a language that nothing runs")
        };
        let config = ExecutorConfig { runtime: chosen, ..ExecutorConfig::default() };
        let executor = start_executor(&config).map_err(Failure::world)?;
        let report = verify(&executor, tasks, config.limits).map_err(Failure::world)?;
        whole.tasks += report.tasks;
        whole.unproven += report.unproven;
        whole.wrong_programs += report.wrong_programs;
        whole.faults.extend(report.faults);
    }
    Ok(whole)
}

type Pair<'a> = (&'a TaskSet, &'a TaskSet);

/// What each two of the files have in common.
fn overlaps(sets: &[TaskSet]) -> Vec<(Pair<'_>, Vec<Overlap>)> {
    let pairs = sets
        .iter()
        .enumerate()
        .flat_map(|(place, one)| sets[place + 1..].iter().map(move |other| (one, other)));
    pairs.map(|(one, other)| ((one, other), disjoint(one, other))).collect()
}

/// Writes what is left without faults. What lost a test is verified once more, since a wrong program may pass the rest.
fn drop_faulty(
    set: &TaskSet,
    report: &VerifyReport,
    runtime: Option<Runtime>,
    out: &std::path::Path,
) -> Result<Vec<Dropped>, Failure> {
    let mended = mend(set.iter(), &report.faults);
    let changed = mended.tasks.iter().filter(|task| mended.changed.contains(&task.id));
    let again = of_set(changed, runtime)?;
    let faulty: BTreeSet<&str> = again.faults.iter().map(Fault::task).collect();
    let mut dropped = mended.dropped;
    for id in &faulty {
        let why = again.faults.iter().find(|fault| fault.task() == *id).map(ToString::to_string);
        dropped.push(Dropped { task: (*id).to_owned(), test: None, why: why.unwrap_or_default() });
    }
    let left: Vec<&Task> = mended.tasks.iter().filter(|task| !faulty.contains(task.id.as_str())).collect();
    if left.is_empty() {
        return Err(Failure::plain_input(InputError::NothingLeft(set.path().display().to_string())));
    }
    write(out, left.iter().copied())?;
    let whole = dropped.iter().filter(|one| one.test.is_none()).count();
    let tests = dropped.len() - whole;
    tell(&format!(
        "{}: {} written; dropped {}, and {} of others",
        out.display(),
        counted(left.len(), "task"),
        counted(whole, "task"),
        counted(tests, "test")
    ));
    Ok(dropped)
}

fn file_report<'a>(set: &TaskSet, report: &'a VerifyReport) -> FileReport<'a> {
    let fault = |fault: &'a Fault| FaultReport {
        task: fault.task(),
        kind: fault.kind(),
        test: fault.test().map(|test| test.title.as_str()),
        text: fault.to_string(),
    };
    FileReport {
        path: set.path().display().to_string(),
        tasks: report.tasks,
        unproven: report.unproven,
        wrong_programs: report.wrong_programs,
        faults: report.faults.iter().map(fault).collect(),
    }
}

/// What two files have in common, for scripts.
pub(super) fn overlap_report<'a>((one, other): &Pair<'_>, overlap: &'a Overlap) -> OverlapReport<'a> {
    OverlapReport {
        file: one.path().display().to_string(),
        task: &overlap.train,
        other_file: other.path().display().to_string(),
        other_task: &overlap.heldout,
        likeness: overlap.likeness.name(),
    }
}
