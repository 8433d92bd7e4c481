//! What the benchmarks of the trainer share: peers in Python, processor time, medians.
#![allow(dead_code, reason = "each benchmark is a crate of its own and uses its part")]

pub(crate) mod limit;
pub(crate) mod models;
pub(crate) mod peer;

use std::path::{Path, PathBuf};
use std::time::Instant;

/// Why a benchmark stops.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// Threads of both sides.
pub(crate) const THREADS: i32 = 2;

/// What one side took for one round, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
}

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Times `work` in this process.
pub(crate) fn measure<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<(T, Cost), Failure> {
    let (begun, used) = (Instant::now(), cpu()?);
    let result = work()?;
    Ok((result, Cost { wall: begun.elapsed().as_secs_f64(), cpu: cpu()? - used }))
}

/// Processor time of this process so far, in the hundredths of a second that Linux counts in.
fn cpu() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name is in parentheses and may hold anything; after it come state, and at 11 and 12 the times.
    let (_, rest) = stat.rsplit_once(')').ok_or("/proc/self/stat has another form")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / 100.0)
}

/// The middle value; of an even number, the upper of the two in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Processor and load, for the head of a report.
pub(crate) fn machine() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    format!("{}, load {}", model.map_or("unknown processor", |(_, name)| name), load.join(" "))
}
