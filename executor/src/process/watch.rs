//! What a program and its processes use, as `/proc` tells.

use std::io;
use std::time::Duration;

use nix::sys::statfs::statfs;

use super::mounts::{PROGRAM, SCRATCH};

/// What all processes of a program hold and have used at one time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Processor time, that of processes which have ended included.
    pub(crate) cpu: Duration,
    /// Memory, in bytes.
    pub(crate) memory_bytes: u64,
    /// Whether one of them is running, about to run, or waiting for a disk.
    pub(crate) is_active: bool,
}

/// Looks at all processes but this one. To be called in the first process of a namespace that holds nothing but a program,
/// with the id of the process that looks after it, whose memory is not the program's.
///
/// `most_bytes` is the memory bound. Pages that processes share are counted for each of them first; only if that sum is
/// beyond the bound, they are counted properly, which takes longer.
pub(crate) fn sample(keeper: u32, most_bytes: u64) -> io::Result<Sample> {
    let own = std::process::id();
    let mut sample = Sample::default();
    let mut processes = Vec::new();
    for entry in fs_err::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if process != own {
            processes.push(process);
        }
    }
    for process in &processes {
        // One that is gone by now has been waited for, so that another one holds its time.
        let Some((cpu, state)) = activity(*process) else { continue };
        sample.cpu += cpu;
        sample.is_active |= matches!(state, 'R' | 'D');
    }
    processes.retain(|process| *process != keeper);
    sample.memory_bytes = processes.iter().filter_map(|process| memory(*process)).sum();
    let files = files_in(SCRATCH)? + files_in(PROGRAM)?;
    if sample.memory_bytes + files > most_bytes && processes.len() > 1 {
        let shares = processes.iter().map(|process| share(*process).or_else(|| memory(*process)));
        sample.memory_bytes = shares.map(Option::unwrap_or_default).sum();
    }
    sample.memory_bytes += files;
    Ok(sample)
}

/// Processor time of a process and of its children that have ended, and its state; `None` if it is gone.
fn activity(process: u32) -> Option<(Duration, char)> {
    /// `USER_HZ`, which is the same on every Linux.
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs_err::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: u32 = fields.split(' ').skip(11).take(4).filter_map(|field| field.parse::<u32>().ok()).sum();
    Some((TICK * ticks, fields.chars().next()?))
}

/// Memory of a process, what it shares with others included.
fn memory(process: u32) -> Option<u64> {
    let status = fs_err::read_to_string(format!("/proc/{process}/status")).ok()?;
    Some(sum_of(&status, &["RssAnon:", "RssShmem:", "VmPTE:", "VmSwap:"]))
}

/// Memory of a process, of what it shares with others its share.
fn share(process: u32) -> Option<u64> {
    let maps = fs_err::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    let status = fs_err::read_to_string(format!("/proc/{process}/status")).ok()?;
    Some(sum_of(&maps, &["Pss_Anon:", "Pss_Shmem:", "SwapPss:"]) + sum_of(&status, &["VmPTE:"]))
}

/// Sum of lines such as `VmPTE:  48 kB`, in bytes.
fn sum_of(text: &str, names: &[&str]) -> u64 {
    let values = text.lines().filter_map(|line| {
        let value = names.iter().find_map(|name| line.strip_prefix(name))?;
        value.trim().trim_end_matches(" kB").parse::<u64>().ok()
    });
    values.sum::<u64>() << 10
}

/// Bytes of the files in a file system in memory; 0 for one on disk.
fn files_in(path: &str) -> io::Result<u64> {
    let system = statfs(path)?;
    if system.filesystem_type() != nix::sys::statfs::TMPFS_MAGIC {
        return Ok(0);
    }
    let blocks = system.blocks().saturating_sub(system.blocks_free());
    Ok(blocks * u64::try_from(system.block_size()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_summed_in_bytes() {
        let text = "Name:\tx\nRssAnon:\t     100 kB\nRssFile:\t 7 kB\nVmPTE:\t 4 kB\n";
        assert_eq!(sum_of(text, &["RssAnon:", "VmPTE:"]), 104 << 10);
    }

    #[test]
    fn this_process_holds_memory_and_has_used_time() {
        let own = std::process::id();
        assert!(memory(own).unwrap() > 100_000);
        let cpu = || activity(own).unwrap().0;
        let start = cpu();
        let mut sum = 0_u64;
        while cpu() < start + Duration::from_millis(20) {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(share(own).unwrap() <= memory(own).unwrap());
    }
}
