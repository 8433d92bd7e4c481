//! One command in the jail, and what came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is to be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Absolute path of the executable, and its arguments.
    pub arguments: Vec<String>,
    /// Variables beside `PATH`, `HOME` and `LANG`.
    pub environment: Vec<(String, String)>,
    /// What it reads from stdin.
    pub stdin: Vec<u8>,
    /// Files that it finds in its working folder: paths relative to that, and contents.
    pub files: Vec<(String, String)>,
    /// Whether it is given a further stream, for an answer that is not mixed up with what it prints. The number of its
    /// descriptor is in the variable `ANSWER`.
    pub answers: bool,
    /// What it may use up.
    pub bounds: Bounds,
}

/// What one command may use up, with all processes that it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// Processor time of all processes together.
    pub cpu: Duration,
    /// Time in which none of them wants a processor: sleep, and waiting for each other.
    pub asleep: Duration,
    /// Time by the clock on the wall, for programs that neither work nor sleep by the two measures above.
    pub wall: Duration,
    /// Memory of all processes together, in bytes, files in the scratch folder included.
    pub memory_bytes: u64,
    /// Writable private memory that one process may ask for, in bytes, whether it uses it or not.
    pub data_bytes: u64,
    /// Address space of one process, in bytes; `None` for runtimes that reserve a lot and use little.
    pub address_bytes: Option<u64>,
    /// Bytes of stdout, stderr and the answer together.
    pub output_bytes: u64,
    /// Processes and threads at once.
    pub processes: u64,
    /// Size of one file, in bytes.
    pub file_bytes: u64,
    /// Size of all files in the scratch folder, in bytes.
    pub scratch_bytes: u64,
    /// Whether it may write into the folder of the program: a compiler may.
    pub writes_program: bool,
}

impl Bounds {
    /// Bounds for a program that may use `cpu` and `memory_bytes`, and write `output_bytes`.
    pub fn new(cpu: Duration, memory_bytes: u64, output_bytes: u64) -> Self {
        Self {
            cpu,
            asleep: cpu,
            // A program that waits for its turn on a crowded machine has done nothing wrong.
            wall: 20 * cpu + Duration::from_secs(10),
            memory_bytes,
            // The supervisor stops what uses too much. This stops what it would be too late for.
            data_bytes: 2 * memory_bytes,
            address_bytes: Some(2 * memory_bytes + (1 << 30)),
            output_bytes,
            processes: 64,
            file_bytes: 64 << 20,
            scratch_bytes: (memory_bytes / 2).min(64 << 20),
            writes_program: false,
        }
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// By itself, with this exit status.
    Exited(i32),
    /// By this signal, which the supervisor did not send.
    Signalled(i32),
    /// Stopped: processor time, time asleep or wall time.
    OutOfTime,
    /// Stopped: memory.
    OutOfMemory,
    /// Stopped: stdout and stderr.
    OutputLimit,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// How.
    pub how: How,
    /// What it wrote to stdout, within the bound.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr, within the bound.
    pub stderr: Vec<u8>,
    /// What it wrote to the stream for its answer, within the bound.
    pub answer: Vec<u8>,
    /// Processor time of all its processes.
    pub cpu: Duration,
    /// Time in which none of them wanted a processor.
    pub asleep: Duration,
    /// Time by the clock on the wall, its start and end in the jail included.
    pub wall: Duration,
    /// Most memory that was seen to be held at once, in bytes.
    pub peak_memory_bytes: u64,
    /// System calls that were refused, by name.
    pub denied: BTreeMap<String, u32>,
}
