//! Writing files that survive a crash: hash while writing, sync, rename, sync the folder.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile};
use crate::manifest::FileRecord;

/// Suffix of everything that is not finished.
pub(crate) const PARTIAL: &str = ".partial";

/// Large enough that small tensors cost few system calls; the pieces of large ones pass by it. Small in this crate's tests, so that
/// a file takes several writes, each of which can fail.
const BUFFER_BYTES: usize = if cfg!(test) { 1 << 10 } else { 1 << 20 };

/// A file that knows the size and hash of what was meant to be in it.
pub(crate) struct HashingWriter {
    file: BufWriter<DiskFile>,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for HashingWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Creates `path`, lets `fill` write it, and syncs it to the disk.
pub(crate) fn create<E: From<io::Error>>(
    disk: &Disk,
    path: &Path,
    fill: impl FnOnce(&mut HashingWriter) -> Result<(), E>,
) -> Result<FileRecord, E> {
    let file = BufWriter::with_capacity(BUFFER_BYTES, disk.create(path)?);
    let mut writer = HashingWriter { file, hasher: blake3::Hasher::new(), bytes: 0 };
    let filled = fill(&mut writer).and_then(|()| Ok(writer.flush()?));
    // What is in the buffer of a file that is given up is not to be written after all.
    let HashingWriter { file, hasher, bytes } = writer;
    let (file, _) = file.into_parts();
    filled?;
    file.sync()?;
    Ok(FileRecord { bytes, blake3: hasher.finalize().to_hex().to_string() })
}

/// Replaces `path` so that a reader, or the next process after a crash, sees the old content or the new, never a mixture.
pub(crate) fn replace<E: From<io::Error>>(
    disk: &Disk,
    path: &Path,
    fill: impl FnOnce(&mut HashingWriter) -> Result<(), E>,
) -> Result<(), E> {
    let aside = with_suffix(path, PARTIAL);
    let written = create(disk, &aside, fill).and_then(|_| Ok(disk.rename(&aside, path)?));
    if let Err(error) = written {
        // The first error is the one to report.
        let _ = disk.remove(&aside);
        return Err(error);
    }
    Ok(disk.sync_parent(path)?)
}

/// Writes `content` to `path`, atomically and durably.
///
/// # Errors
///
/// If the disk refuses; the error names the file, and `path` keeps its old content.
pub fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    replace(&Disk::default(), path, |writer| writer.write_all(content))
}

/// Size and hash of a file as the disk has it.
pub(crate) fn measure(disk: &Disk, path: &Path) -> io::Result<FileRecord> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(disk.open(path)?)?;
    Ok(FileRecord { bytes: hasher.count(), blake3: hasher.finalize().to_hex().to_string() })
}

/// `path` with `suffix` appended to its last component.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
