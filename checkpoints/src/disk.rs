//! The one way to the file system: every operation by which a checkpoint is written, read back, replaced or deleted.
//!
//! The crate's own tests have any one of these operations fail (`faults.rs`). Anywhere else [`Disk`] is empty, and its methods
//! are the calls that they are named after.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
#[cfg(test)]
use std::sync::Arc;

use fs_err as fs;
use fs_err::os::unix::fs::FileExt;

#[cfg(test)]
use crate::faults::Faults;

/// What an operation does; the faults that a test can put in depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Asks about names: lists a folder, reads metadata, opens for reading, counts free bytes.
    Look,
    /// Reads content.
    #[cfg(test)]
    Read,
    /// Writes content.
    #[cfg(test)]
    Write,
    /// Waits until content or names are on the medium.
    Sync,
    /// Makes, renames or removes names.
    Name,
}

/// The file system.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    #[cfg(test)]
    faults: Option<Arc<Faults>>,
}

impl Disk {
    /// A file system in which `faults` happen.
    #[cfg(test)]
    pub(crate) fn with(faults: &Arc<Faults>) -> Self {
        Self { faults: Some(Arc::clone(faults)) }
    }

    /// Does one operation, unless a test wants it to fail.
    fn perform<T>(&self, operation: Operation, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        #[cfg(test)]
        if let Some(faults) = &self.faults {
            return faults.perform(operation, work);
        }
        let _ = operation;
        work()
    }

    /// Makes the folder `path`, which must not be there.
    pub(crate) fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.perform(Operation::Name, || fs::create_dir(path))
    }

    /// Makes the folder `path` and those that it is in, where they are missing.
    pub(crate) fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.perform(Operation::Name, || fs::create_dir_all(path))
    }

    /// What is in the folder `path`, in the order of names.
    pub(crate) fn entries(&self, path: &Path) -> io::Result<Vec<fs::DirEntry>> {
        self.perform(Operation::Look, || {
            let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
            entries.sort_by_key(fs::DirEntry::file_name);
            Ok(entries)
        })
    }

    /// What `path` is; a link is what it points to.
    pub(crate) fn metadata(&self, path: &Path) -> io::Result<std::fs::Metadata> {
        self.perform(Operation::Look, || fs::metadata(path))
    }

    /// What `path` is; a link is a link.
    pub(crate) fn symlink_metadata(&self, path: &Path) -> io::Result<std::fs::Metadata> {
        self.perform(Operation::Look, || fs::symlink_metadata(path))
    }

    /// Bytes that can still be written to the file system of `path`; `None` if it does not know.
    pub(crate) fn free_bytes(&self, path: &Path) -> io::Result<Option<u64>> {
        self.perform(Operation::Look, || {
            match nix::sys::statvfs::statvfs(path) {
                // Some network file systems have no size at all.
                Ok(found) => {
                    Ok((found.blocks() > 0).then(|| found.blocks_available() * found.fragment_size()))
                }
                Err(nix::Error::ENOSYS) => Ok(None),
                Err(error) => {
                    let place = path.display();
                    let message = format!("cannot find out what is free on the disk of `{place}`: {error}");
                    Err(io::Error::new(io::Error::from(error).kind(), message))
                }
            }
        })
    }

    /// Makes the file `path`, or empties it, for writing and for reading back.
    pub(crate) fn create(&self, path: &Path) -> io::Result<DiskFile> {
        let mut options = fs::OpenOptions::new();
        options.create(true).truncate(true).read(true).write(true);
        let file = self.perform(Operation::Name, || options.open(path))?;
        Ok(DiskFile { disk: self.clone(), file })
    }

    /// Opens the file `path` for reading.
    pub(crate) fn open(&self, path: &Path) -> io::Result<DiskFile> {
        let file = self.perform(Operation::Look, || fs::File::open(path))?;
        Ok(DiskFile { disk: self.clone(), file })
    }

    /// Gives `from` the name `to`.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.perform(Operation::Name, || fs::rename(from, to))
    }

    /// Makes new, changed and removed names in the folder `path` durable.
    pub(crate) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.open(path)?.sync()
    }

    /// Makes the name of `path` durable.
    pub(crate) fn sync_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => self.sync_dir(parent),
            _ => self.sync_dir(Path::new(".")),
        }
    }

    /// Removes a file or folder with all that is in it; its absence is success.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = match self.symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.remove_dir(path),
            Ok(_) => self.perform(Operation::Name, || fs::remove_file(path)),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        for entry in self.entries(path)? {
            self.remove(&entry.path())?;
        }
        self.perform(Operation::Name, || fs::remove_dir(path))
    }

    /// Whether there is anything at `path`.
    pub(crate) fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.symlink_metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// An open file.
#[derive(Debug)]
pub(crate) struct DiskFile {
    disk: Disk,
    file: fs::File,
}

impl DiskFile {
    /// Waits until the content is on the medium.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.disk.perform(Operation::Sync, || self.file.sync_all())
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Has the kernel begin to bring `count` bytes from `start` on to the medium, and does not wait for it: [`DiskFile::sync`]
    /// does, and is what reports that it failed. File systems that cannot begin early are left alone.
    pub(crate) fn begin_sync(&self, start: u64, count: u64) -> io::Result<()> {
        self.disk.perform(Operation::Sync, || {
            let (start, count) = (start as libc::off64_t, count as libc::off64_t);
            #[expect(unsafe_code, reason = "there is no safe call for it")]
            // SAFETY: the descriptor is open, and no memory is passed.
            let result = unsafe {
                libc::sync_file_range(self.file.as_raw_fd(), start, count, libc::SYNC_FILE_RANGE_WRITE)
            };
            let error = io::Error::last_os_error();
            if result == 0 || matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL | libc::ESPIPE))
            {
                return Ok(());
            }
            let message = format!("cannot begin to sync `{}`: {error}", self.path().display());
            Err(io::Error::new(error.kind(), message))
        })
    }

    /// Reads bytes from `start` on; how many, which is fewer than asked for where the file ends.
    pub(crate) fn read_at(&self, buffer: &mut [u8], start: u64) -> io::Result<usize> {
        let file = &self.file;
        let mut found = 0;
        while found < buffer.len() {
            let rest = &mut buffer[found..];
            #[cfg(test)]
            let count = match &self.disk.faults {
                Some(faults) => faults.read(rest, |rest| file.read_at(rest, start + found as u64)),
                None => file.read_at(rest, start + found as u64),
            };
            #[cfg(not(test))]
            let count = file.read_at(rest, start + found as u64);
            match count {
                Ok(0) => break,
                Ok(count) => found += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

impl Write for DiskFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        #[cfg(test)]
        if let Some(faults) = &self.disk.faults {
            return faults.write(buffer, |buffer| self.file.write(buffer));
        }
        self.file.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Read for DiskFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(test)]
        if let Some(faults) = &self.disk.faults {
            return faults.read(buffer, |buffer| self.file.read(buffer));
        }
        self.file.read(buffer)
    }
}
