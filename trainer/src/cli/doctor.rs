//! `rltrain doctor`: whether this host is fit for a run, what it offers for running programs, and what of it is ready.

use clap::Args;
use rltrain_executor::process::{Isolation, Toolchain};
use rltrain_executor::{Runtime, RuntimeFiles};
use serde::Serialize;

use super::checkup::{Finding, findings};
use super::failure::Failure;
use super::print_line;
use crate::execution::dependencies_folder;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// All that is found out.
#[derive(Serialize)]
struct Report {
    version: &'static str,
    findings: Vec<Finding>,
    runtimes: Vec<RuntimeReport>,
    isolation: Isolation,
}

/// One runtime, and whether its files or its toolchain are there.
#[derive(Serialize)]
struct RuntimeReport {
    name: &'static str,
    is_ready: bool,
    /// What is missing, and what provides it.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
}

/// Looks, prints, and leaves nothing behind. What falls short is no failure: a host need not offer everything.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        findings: findings(),
        runtimes: Runtime::ALL.into_iter().map(look).collect(),
        isolation: Isolation::probe(),
    };
    if arguments.json {
        print_line(serde_json::to_string(&report).map_err(Failure::world)?);
        return Ok(());
    }
    let Report { version, findings, runtimes, isolation } = report;
    print_line(format_args!("rltrain {version}\n"));
    for Finding { name, found, remedy } in findings {
        print_line(format_args!("  {name:<10} {found}"));
        if let Some(remedy) = remedy {
            print_line(format_args!("  {:<10} → {remedy}", ""));
        }
    }
    print_line("\nruntimes");
    for RuntimeReport { name, is_ready, missing } in runtimes {
        let ready = if is_ready { "ready" } else { "absent" };
        let line = format!("  {name:<20} {ready:<7} {}", missing.unwrap_or_default());
        print_line(line.trim_end());
    }
    print_line("\nisolation of native programs (docs/process-backend.md)");
    for line in isolation.to_string().lines() {
        print_line(format_args!("  {line}"));
    }
    Ok(())
}

fn look(runtime: Runtime) -> RuntimeReport {
    let missing = match runtime {
        Runtime::Native(language) => Toolchain::find(language).err().map(|error| error.to_string()),
        _ => RuntimeFiles::in_folder(&dependencies_folder())
            .missing(runtime)
            .map(|path| format!("no {}; `{}` provides it", path.display(), runtime.provider())),
    };
    RuntimeReport { name: runtime.name(), is_ready: missing.is_none(), missing }
}
