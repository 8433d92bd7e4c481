//! Settings that libraries read before `main`: the allocator keeps the memory it has got, threads that wait for each other sleep,
//! and libtorch leaves it to us to say what went wrong.
//!
//! Tensors of many megabytes come and go with every operation. glibc maps each anew and gives it back, so that every one
//! is paid for again in page faults: 330,000 of them for one short rollout of SmolLM2-135M, 4,000 with these settings.
//!
//! libtorch's threads (OpenMP's, in GNU's implementation) wait for their next piece of work by spinning, for milliseconds.
//! While the sandbox or another program has a core of its own work, the thread that would bring the work does not run, and
//! decoding, which consists of thousands of small pieces a second, takes ten times as long. A few hundred microseconds are
//! enough for the pause between two operations.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::policy::permit_rounded_operands;

/// Variables and what is right for us. One that the user has set is left alone.
const SETTINGS: [(&str, &str); 3] = [
    // Large pages, no mapping per allocation, nothing given back, grown by 256 MiB at a time.
    (
        "GLIBC_TUNABLES",
        "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:\
         glibc.malloc.trim_threshold=34359738368:glibc.malloc.top_pad=268435456",
    ),
    // Rounds of the waiting loop before a thread sleeps.
    ("GOMP_SPINCOUNT", "20000"),
    // libtorch's collectives write a trace of C++ calls for every process that leaves; what they fail with is reported by us.
    ("TORCH_CPP_LOG_LEVEL", "FATAL"),
];

/// Starts the program again with the settings, in place of this process. Returns if they are all there already, or if that
/// is impossible, which costs speed and nothing else.
pub fn settle() {
    // The program computes on one thread at a time.
    permit_rounded_operands();
    let missing: Vec<_> = SETTINGS.into_iter().filter(|(name, _)| std::env::var_os(name).is_none()).collect();
    if missing.is_empty() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // `exec` returns only if it failed.
    let _ = command.args(arguments).envs(missing).exec();
}
