//! One writer per run folder.

use std::fmt;
use std::fs::TryLockError;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Name of the lock inside a run folder.
const LOCK: &str = "run.lock";

/// Who holds, or held, a lock; shown as part of a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// Name of the machine.
    pub host: String,
    /// Process id on that machine.
    pub pid: u32,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on host `{}`", self.pid, self.host)
    }
}

/// Why a run folder could not be locked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LockError {
    /// The disk refused; the message names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Another process writes there.
    #[error("`{}` is in use by {}", dir.display(), describe(owner.as_ref()))]
    Held {
        /// The run folder.
        dir: PathBuf,
        /// Who holds it, if the lock file says.
        owner: Option<Owner>,
    },
}

/// The right to write to a run folder, until dropped.
///
/// The kernel holds the lock, not the file: when a process dies, however it dies, the lock is free. What is left in the
/// file only tells who that was.
#[derive(Debug)]
pub struct RunLock {
    file: fs::File,
    stale: Option<Owner>,
}

impl RunLock {
    /// Locks `dir`, which is created if need be.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`], with host and process id, if another process (or another lock of this one) has it.
    pub fn acquire(dir: &Path) -> Result<Self, LockError> {
        fs::create_dir_all(dir)?;
        let path = dir.join(LOCK);
        let mut file =
            fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        match file.file().try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { dir: dir.to_owned(), owner: read_owner(&mut file)? });
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let stale = read_owner(&mut file)?;
        write_owner(&mut file, Some(&this_process()))?;
        Ok(Self { file, stale })
    }

    /// This process, as the lock file names it.
    pub fn owner(&self) -> Owner {
        this_process()
    }

    /// The process that died while it held this lock, if one did.
    pub fn stale_owner(&self) -> Option<&Owner> {
        self.stale.as_ref()
    }
}

impl Drop for RunLock {
    /// Empties the file, which marks an orderly end; the kernel unlocks when the file closes.
    fn drop(&mut self) {
        // Nothing is lost if this fails: the next owner reports a stale lock that it took over.
        let _ = write_owner(&mut self.file, None);
    }
}

/// The owner named in the file; nobody if it is empty or unreadable.
fn read_owner(file: &mut fs::File) -> io::Result<Option<Owner>> {
    let mut text = Vec::new();
    file.rewind()?;
    file.take(4096).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text).ok())
}

/// Replaces the content of the file.
fn write_owner(file: &mut fs::File, owner: Option<&Owner>) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    if let Some(owner) = owner {
        file.write_all(&serde_json::to_vec(owner)?)?;
    }
    file.flush()
}

/// This machine and process.
fn this_process() -> Owner {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "unknown".to_owned());
    Owner { host: host.trim().to_owned(), pid: std::process::id() }
}

/// The owner as part of a sentence.
fn describe(owner: Option<&Owner>) -> String {
    match owner {
        Some(owner) => owner.to_string(),
        None => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_writer_is_refused_by_host_and_process_id() {
        let dir = tempfile::tempdir().unwrap();
        let first = RunLock::acquire(dir.path()).unwrap();
        let message = RunLock::acquire(dir.path()).unwrap_err().to_string();
        let us = this_process();
        assert!(
            message.ends_with(&format!("is in use by process {} on host `{}`", us.pid, us.host)),
            "{message}"
        );
        drop(first);
        assert_eq!(RunLock::acquire(dir.path()).unwrap().stale_owner(), None);
    }

    #[test]
    fn the_lock_of_a_dead_process_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let dead = Owner { host: "elsewhere".to_owned(), pid: 1 };
        fs::write(dir.path().join(LOCK), serde_json::to_vec(&dead).unwrap()).unwrap();
        let lock = RunLock::acquire(dir.path()).unwrap();
        assert_eq!(lock.stale_owner(), Some(&dead));
    }
}
