//! Writing files that survive a crash: hash while writing, sync, rename, sync the folder.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::manifest::FileRecord;

/// Suffix of everything that is not finished.
pub(crate) const PARTIAL: &str = ".partial";

/// Large enough that a tensor of some megabytes costs few system calls.
const BUFFER_BYTES: usize = 1 << 20;

/// A file that knows the size and hash of what was meant to be in it.
pub(crate) struct HashingWriter {
    file: BufWriter<fs::File>,
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
    path: &Path,
    fill: impl FnOnce(&mut HashingWriter) -> Result<(), E>,
) -> Result<FileRecord, E> {
    let file = BufWriter::with_capacity(BUFFER_BYTES, fs::File::create(path)?);
    let mut writer = HashingWriter { file, hasher: blake3::Hasher::new(), bytes: 0 };
    fill(&mut writer)?;
    writer.flush()?;
    writer.file.get_ref().sync_all()?;
    Ok(FileRecord { bytes: writer.bytes, blake3: writer.hasher.finalize().to_hex().to_string() })
}

/// Replaces `path` so that a reader, or the next process after a crash, sees the old content or the new, never a mixture.
pub(crate) fn replace<E: From<io::Error>>(
    path: &Path,
    fill: impl FnOnce(&mut HashingWriter) -> Result<(), E>,
) -> Result<(), E> {
    let aside = with_suffix(path, PARTIAL);
    create(&aside, fill)?;
    fs::rename(&aside, path)?;
    Ok(sync_parent(path)?)
}

/// Writes `content` to `path`, atomically and durably.
///
/// # Errors
///
/// If the disk refuses; the error names the file, and `path` keeps its old content.
pub fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    replace(path, |writer| writer.write_all(content))
}

/// Size and hash of a file as the disk has it.
pub(crate) fn measure(path: &Path) -> io::Result<FileRecord> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(path)?)?;
    Ok(FileRecord { bytes: hasher.count(), blake3: hasher.finalize().to_hex().to_string() })
}

/// Makes renames and new names in a folder durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// Makes the name of `path` durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// `path` with `suffix` appended to its last component.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
