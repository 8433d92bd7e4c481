//! What the benchmarks need: a real executor, and a look at its processes.
#![allow(dead_code, reason = "each benchmark is a crate of its own and uses its part")]
#![allow(clippy::print_stdout, reason = "a benchmark prints")]

pub(crate) mod peers;
pub(crate) mod resources;
pub(crate) mod service;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use rltrain_executor::{
    Executor, ExecutorConfig, ModuleCache, Runtime, RuntimeFiles, StartOptions, WorkerCommand,
};

/// Why a benchmark stops.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Processor cores that there are to use.
pub(crate) fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// An executor with the runtime of `.deps` and the user's cache of compiled modules.
pub(crate) fn start(workers: NonZeroUsize) -> Result<Executor, Failure> {
    let runtime = match std::env::var("RLTRAIN_RUNTIME") {
        Ok(name) => Runtime::named(&name).ok_or_else(|| format!("RLTRAIN_RUNTIME: there is no `{name}`"))?,
        Err(_) => Runtime::default(),
    };
    let config = ExecutorConfig { runtime, workers: Some(workers), ..ExecutorConfig::default() };
    let worker =
        WorkerCommand { program: env!("CARGO_BIN_EXE_rltrain-exec-worker").into(), arguments: Vec::new() };
    let options = StartOptions { cache: ModuleCache::of_user()?, worker };
    let files = RuntimeFiles::in_folder(&root().join(".deps"));
    Ok(Executor::start_with(&config, &files, &options, &mut |message| println!("{message}"))?)
}

/// A running process, from `/proc`.
pub(crate) struct Process {
    pub(crate) id: u32,
    pub(crate) name: String,
    /// Processor time used so far, in the hundredths of a second that Linux counts in.
    pub(crate) ticks: u64,
}

/// This process and its children that have not ended.
pub(crate) fn family() -> Result<Vec<Process>, Failure> {
    let own = std::process::id();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        // A process that ended meanwhile has no file any more.
        let Ok(stat) = std::fs::read_to_string(entry?.path().join("stat")) else { continue };
        // The name is in parentheses and may hold anything; after it come state, parent, and at 11 and 12 the times.
        let Some(((id, name), rest)) =
            stat.rsplit_once(')').and_then(|(before, after)| Some((before.split_once(" (")?, after)))
        else {
            continue;
        };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        let Ok(id) = id.parse::<u32>() else { continue };
        if id == own || number(1) == u64::from(own) {
            found.push(Process { id, name: name.to_owned(), ticks: number(11) + number(12) });
        }
    }
    Ok(found)
}
