//! glibc's allocator, told to keep the memory it has got.
//!
//! Tensors of many megabytes come and go with every operation. glibc maps each anew and gives it back, so that every one
//! is paid for again in page faults: 330,000 of them for one short rollout of SmolLM2-135M, 4,000 with these settings.
//! glibc reads them before `main`, hence the program starts itself once more with them.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// The variable that glibc reads. One that the user has set is left alone.
const VARIABLE: &str = "GLIBC_TUNABLES";

/// Large pages, no mapping per allocation, nothing given back, grown by 256 MiB at a time.
const SETTINGS: &str = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:\
                        glibc.malloc.trim_threshold=34359738368:glibc.malloc.top_pad=268435456";

/// Starts the program again with the settings, in place of this process. Returns if they are set already, or if that
/// is impossible, which costs speed and nothing else.
pub fn keep_memory() {
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // `exec` returns only if it failed.
    let _ = command.args(arguments).env(VARIABLE, SETTINGS).exec();
}
