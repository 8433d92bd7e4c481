//! Memory and descriptors of processes, from `/proc`.

use std::fs;

use super::{Failure, family};

/// What a process holds at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    /// Memory that is in use, what it shares with others included, in KiB.
    pub(crate) resident_kib: u64,
    /// Memory that no other process can share, in KiB.
    pub(crate) anonymous_kib: u64,
    /// Open descriptors.
    pub(crate) descriptors: u64,
}

impl Resources {
    /// Those of a running process.
    pub(crate) fn of(id: u32) -> Result<Resources, Failure> {
        let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
        let field = |name: &str| -> Result<u64, Failure> {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
            Ok(kib.ok_or_else(|| format!("smaps_rollup of {id} has no `{name}`"))?.trim().parse()?)
        };
        Ok(Resources {
            resident_kib: field("Rss")?,
            anonymous_kib: field("Anonymous")?,
            descriptors: fs::read_dir(format!("/proc/{id}/fd"))?.count() as u64,
        })
    }
}

/// Ids of this process's workers, in order.
pub(crate) fn workers() -> Result<Vec<u32>, Failure> {
    let is_worker = |name: &str| name.starts_with("rltrain-exec");
    let mut ids: Vec<_> =
        family()?.into_iter().filter(|process| is_worker(&process.name)).map(|process| process.id).collect();
    ids.sort_unstable();
    Ok(ids)
}
