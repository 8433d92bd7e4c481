//! What a run wants of the machine that it is started on, looked at one by one, each with a remedy where it falls short.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rltrain_executor::{ExecutorConfig, Job, Limits, Test};
use serde::Serialize;
use tch::Device;

use crate::execution::start_executor;
use crate::memory::DeviceMemory;
use crate::session::libtorch_version;

/// The version that the bindings are made for.
const LIBTORCH: &str = "2.13.0";
/// Free memory below which hardly any model is trained.
const LITTLE_MEMORY: u64 = 4 << 30;
/// Free disk below which two checkpoints of a small model have no room.
const LITTLE_DISK: u64 = 5 << 30;
/// When this program was not yet written: a clock that says so is wrong.
const BEFORE: Duration = Duration::from_secs(1_767_225_600);
/// A program in a sandbox that is ready takes a few milliseconds.
const SLOW_SANDBOX: Duration = Duration::from_secs(2);

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    /// What it is.
    pub(super) name: &'static str,
    /// What was found.
    pub(super) found: String,
    /// What to do; none where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

impl Finding {
    fn new(name: &'static str, found: String, remedy: Option<String>) -> Finding {
        Finding { name, found, remedy }
    }
}

/// Looks at everything; runs a program in the sandbox, and leaves nothing behind.
pub(super) fn findings() -> Vec<Finding> {
    vec![libtorch(), device(), processor(), threads(), memory(), disk(Path::new(".")), clock(), sandbox()]
}

fn libtorch() -> Finding {
    let version = libtorch_version();
    let remedy = match &version {
        Some(version) if version.starts_with(LIBTORCH) => None,
        _ => Some(format!(
            "wanted {LIBTORCH}: `make fetch` brings it, or set LIBTORCH to a folder of it and build again"
        )),
    };
    Finding::new(
        "libtorch",
        version.unwrap_or_else(|| "of a version that its folder does not tell".to_owned()),
        remedy,
    )
}

fn device() -> Finding {
    let count = tch::Cuda::device_count();
    if count > 0 {
        return Finding::new("device", format!("{count} CUDA devices"), None);
    }
    let has_gpu = Path::new("/proc/driver/nvidia/version").exists();
    let remedy = has_gpu.then(|| {
        "the driver of a GPU is loaded, but this libtorch has no CUDA: build with LIBTORCH_USE_PYTORCH=1 and a CUDA build of PyTorch".to_owned()
    });
    Finding::new("device", "the processor; no CUDA device".to_owned(), remedy)
}

fn processor() -> Finding {
    let model = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let (vectors, remedy) = vectors();
    Finding::new("processor", format!("{}, {vectors}", model.as_deref().unwrap_or("unknown")), remedy)
}

/// The widest vectors, and whether bf16 is multiplied by instructions of its own.
fn vectors() -> (String, Option<String>) {
    #[cfg(target_arch = "x86_64")]
    {
        let bf16 = is_x86_feature_detected!("avx512bf16") || has_amx_bf16();
        let of_bf16 = if bf16 { "bf16 products" } else { "no bf16 products: `compute = \"f32\"` is faster" };
        if is_x86_feature_detected!("avx512f") {
            (format!("AVX-512, {of_bf16}"), None)
        } else if is_x86_feature_detected!("avx2") {
            (format!("AVX2, {of_bf16}"), None)
        } else {
            let remedy =
                "a processor without AVX2 takes several times as long; choose a newer one".to_owned();
            ("no AVX2".to_owned(), Some(remedy))
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    ("vectors of another architecture than x86-64".to_owned(), None)
}

/// Whether the kernel lists matrix tiles of bf16.
#[cfg(target_arch = "x86_64")]
fn has_amx_bf16() -> bool {
    std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("amx_bf16"))
}

fn threads() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1);
    let remedy = (threads != cores).then(|| {
        format!("libtorch computes with {threads} threads on {cores} cores: unset OMP_NUM_THREADS, or set it to {cores}, unless that is meant")
    });
    Finding::new("threads", format!("{threads} of libtorch, {cores} cores"), remedy)
}

fn memory() -> Finding {
    let memory = DeviceMemory::of(Device::Cpu);
    let gibibytes = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    let (Some(limit), Some(free)) = (memory.limit, memory.free) else {
        return Finding::new("memory", "the system does not tell".to_owned(), None);
    };
    let remedy = (free < LITTLE_MEMORY).then(|| {
        "end other programs, or raise the limit; `rltrain plan RECIPE` says how much a run takes".to_owned()
    });
    let found = format!("{} free of {} ({})", gibibytes(free), gibibytes(limit), memory.source);
    Finding::new("memory", found, remedy)
}

fn disk(folder: &Path) -> Finding {
    let free = match nix::sys::statvfs::statvfs(folder) {
        Ok(found) if found.blocks() > 0 => found.blocks_available() * found.fragment_size(),
        _ => return Finding::new("disk", "this file system does not tell what is free".to_owned(), None),
    };
    let remedy = (free < LITTLE_DISK).then(|| {
        "a checkpoint takes three times the f32 weights, and two are kept: free some space, or prune checkpoints with `rltrain ckpt prune RUN`".to_owned()
    });
    Finding::new("disk", format!("{:.1} GiB free in this folder", free as f64 / f64::from(1 << 30)), remedy)
}

fn clock() -> Finding {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let remedy = (since < BEFORE).then(|| {
        "the clock is years behind: set it (`timedatectl set-ntp true`), or TensorBoard and retention by age will be wrong".to_owned()
    });
    let found = if remedy.is_some() { "wrong" } else { "plausible" };
    Finding::new("clock", format!("{found}, {} s since 1970", since.as_secs()), remedy)
}

/// Starts a worker and has it judge a program.
fn sandbox() -> Finding {
    let config = ExecutorConfig { workers: Some(std::num::NonZeroUsize::MIN), ..ExecutorConfig::default() };
    let judged = start_executor(&config).and_then(|executor| {
        // Two programs, for a verdict that is known is not computed again; the first one finds everything cold.
        let judge = |name: &str| {
            let program = format!("def {name}(n):\n    return 2 * n\n");
            let test = Test::from(format!("assert {name}(3) == 6"));
            executor.submit(Job::new(program, [test], Limits::default())).wait()
        };
        judge("double")?;
        let start = Instant::now();
        Ok((judge("twice")?, start.elapsed()))
    });
    match judged {
        Ok((verdict, took)) if verdict.all_passed() => {
            let remedy = (took > SLOW_SANDBOX).then(|| {
                "a program took seconds: is the machine overloaded? `make bench-executor` measures".to_owned()
            });
            Finding::new("sandbox", format!("judges a program in {:.1} ms", took.as_secs_f64() * 1e3), remedy)
        }
        Ok(_) => {
            let remedy =
                "a right program was judged wrong: fetch the runtime again (`make fetch`), and report this"
                    .to_owned();
            Finding::new("sandbox", "does not pass a right program".to_owned(), Some(remedy))
        }
        Err(error) => {
            let remedy = "`make fetch` brings the runtime's files; docs/sandbox.md says what workers need of the kernel".to_owned();
            Finding::new("sandbox", format!("does not start: {error}"), Some(remedy))
        }
    }
}
