//! How much memory there is.

use std::path::{Path, PathBuf};
use std::process::Command;

use tch::Device;

/// Memory of the device that a run computes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Most bytes that this process and its children can have, if that is known.
    pub limit: Option<u64>,
    /// What sets that limit.
    pub source: String,
    /// Bytes that are free now, if that is known.
    pub free: Option<u64>,
}

impl DeviceMemory {
    /// Of `device`: the machine's memory or a smaller limit of a control group; on a GPU what its driver says.
    pub fn of(device: Device) -> DeviceMemory {
        match device {
            Device::Cuda(index) => gpu(index),
            _ => host(Path::new("/")),
        }
    }
}

/// Bytes of this process in memory now, if the system tells.
pub fn resident_bytes() -> Option<u64> {
    of_status("VmRSS:")
}

/// Starts the count of [`resident_peak_bytes`] anew, from what is resident now. Where the system does not let us, the peak stays that
/// of the whole process.
pub fn forget_resident_peak() {
    // What proc(5) calls resetting the peak; nothing but a figure is lost without it.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most bytes that this process had in memory since it started or [`forget_resident_peak`], if the system tells.
pub fn resident_peak_bytes() -> Option<u64> {
    of_status("VmHWM:")
}

fn of_status(key: &str) -> Option<u64> {
    kibibytes(&std::fs::read_to_string("/proc/self/status").ok()?, key)
}

/// The number behind `key`, which is in KiB, as bytes.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(rest.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// Of the machine whose file system begins at `root`.
fn host(root: &Path) -> DeviceMemory {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let machine = read("proc/meminfo").unwrap_or_default();
    let free = kibibytes(&machine, "MemAvailable:");
    let of_machine = kibibytes(&machine, "MemTotal:").map(|bytes| (bytes, "the machine's memory".to_owned()));
    let groups = read("proc/self/cgroup").map_or_else(Vec::new, |text| limit_files(&text));
    let of_groups = groups.into_iter().filter_map(|file| {
        let limit = read(file.to_str()?)?.trim().parse::<u64>().ok()?;
        Some((limit, format!("the control group's limit, /{}", file.display())))
    });
    let least = of_machine.into_iter().chain(of_groups).min_by_key(|(limit, _)| *limit);
    let (limit, source) = least.map_or((None, String::new()), |(limit, source)| (Some(limit), source));
    DeviceMemory { limit, source, free }
}

/// The files that may limit the memory of a process whose `/proc/self/cgroup` is `text`: of its group, and of every group
/// that it is in, of both versions of control groups.
fn limit_files(text: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = Path::new(path.trim_start_matches('/'));
        files.extend(group.ancestors().map(|group| Path::new(mount).join(group).join(file)));
    }
    files
}

/// What `nvidia-smi` says of the GPU that libtorch calls `index`. libtorch's own report is not within reach of `tch`.
fn gpu(index: usize) -> DeviceMemory {
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default();
    let name = match visible.split(',').map(str::trim).nth(index) {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => index.to_string(),
    };
    let asked = Command::new("nvidia-smi")
        .args(["--query-gpu=memory.total,memory.free", "--format=csv,noheader,nounits", "-i", &name])
        .output();
    let text = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mebibytes: Vec<u64> = text.split([',', '\n']).filter_map(|part| part.trim().parse().ok()).collect();
    let bytes = |place: usize| mebibytes.get(place).map(|mebibytes| mebibytes << 20);
    DeviceMemory { limit: bytes(0), source: format!("the memory of GPU {name}"), free: bytes(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    const MEMORY: (&str, &str) =
        ("proc/meminfo", "MemTotal:       24000 kB\nMemFree: 1 kB\nMemAvailable:    6000 kB\n");

    #[test]
    fn the_smallest_limit_counts_and_one_of_an_outer_group_too() {
        let root = machine(&[
            MEMORY,
            ("proc/self/cgroup", "0::/outer/inner\n"),
            ("sys/fs/cgroup/outer/memory.max", "1048576\n"),
            ("sys/fs/cgroup/outer/inner/memory.max", "max\n"),
        ]);
        let found = host(root.path());
        assert_eq!((found.limit, found.free), (Some(1 << 20), Some(6000 << 10)));
        assert!(found.source.contains("outer/memory.max"), "{}", found.source);
    }

    #[test]
    fn control_groups_of_the_first_version_say_no_limit_as_a_huge_one() {
        let root = machine(&[
            MEMORY,
            ("proc/self/cgroup", "3:cpu:/a\n2:memory:/a\n"),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        let found = host(root.path());
        assert_eq!((found.limit, found.source.as_str()), (Some(24000 << 10), "the machine's memory"));
    }

    #[test]
    fn what_the_system_does_not_tell_is_unknown() {
        let root = machine(&[]);
        assert_eq!(host(root.path()), DeviceMemory::default());
    }
}
