//! Writing files that survive a crash: hash and compare while writing, sync, rename, sync the folder.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::disk::{Disk, DiskFile};
use crate::manifest::FileRecord;

/// Suffix of everything that is not finished.
pub(crate) const PARTIAL: &str = ".partial";

/// Bytes that are collected before they are written, so that small tensors cost few system calls; larger pieces pass by. Small in this
/// crate's tests, so that a file takes several writes, each of which can fail.
const BUFFER_BYTES: usize = if cfg!(test) { 1 << 10 } else { 1 << 20 };

/// Most bytes that are written before they are read back and compared.
const MOST_AT_ONCE: usize = 4 * BUFFER_BYTES;

/// Bytes that are read back at a time: few enough to stay in the processor's nearest caches until they are compared.
const COMPARED_AT_ONCE: usize = BUFFER_BYTES / 8;

/// Bytes from which on another thread hashes while this one writes; for fewer, waking it takes longer.
const WORTH_A_THREAD: usize = 1 << 18;

/// Bytes after which the kernel is told to begin with them, so that little is left to wait for at the end.
const BEGIN_SYNC_BYTES: u64 = 8 * BUFFER_BYTES as u64;

/// A file that knows the size and hash of what was meant to be in it, and has compared what is in it with that.
pub(crate) struct HashingWriter {
    file: DiskFile,
    hasher: blake3::Hasher,
    /// What is not written yet.
    buffer: Vec<u8>,
    /// Bytes that are written.
    bytes: u64,
    /// Bytes that the kernel was told to bring to the medium.
    begun: u64,
    /// Hashes while this thread writes, and does half of the comparing. Its own, because what shares the processor's threads would wait
    /// for a disk.
    helper: Option<ThreadPool>,
}

impl HashingWriter {
    fn new(file: DiskFile) -> Self {
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        Self { file, hasher: blake3::Hasher::new(), buffer, bytes: 0, begun: 0, helper: None }
    }

    /// Writes the buffer.
    fn empty_buffer(&mut self) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let written = self.put(&buffer);
        buffer.clear();
        self.buffer = buffer;
        written
    }

    /// Hashes and writes `content`, and compares what is then in the file with it.
    fn put(&mut self, content: &[u8]) -> io::Result<()> {
        for piece in content.chunks(MOST_AT_ONCE) {
            if piece.len() >= WORTH_A_THREAD && self.helper.is_none() {
                // Without another thread it only takes longer.
                let helper = ThreadPoolBuilder::new().num_threads(1).thread_name(|_| "hash".to_owned());
                self.helper = helper.build().ok();
            }
            let Self { file, hasher, bytes, helper, .. } = self;
            match helper {
                Some(helper) if piece.len() >= WORTH_A_THREAD => {
                    helper.in_place_scope(|scope| {
                        scope.spawn(|_| _ = hasher.update(piece));
                        file.write_all(piece)
                    })?;
                    let (first, second) = piece.split_at(piece.len() / 2);
                    let (file, middle) = (&*file, *bytes + first.len() as u64);
                    let mut same = Ok(());
                    helper.in_place_scope(|scope| {
                        scope.spawn(|_| same = compare(file, middle, second));
                        compare(file, *bytes, first)
                    })?;
                    same?;
                }
                _ => {
                    hasher.update(piece);
                    file.write_all(piece)?;
                    compare(file, *bytes, piece)?;
                }
            }
            self.bytes += piece.len() as u64;
            if self.bytes - self.begun >= BEGIN_SYNC_BYTES {
                self.file.begin_sync(self.begun, self.bytes - self.begun)?;
                self.begun = self.bytes;
            }
        }
        Ok(())
    }
}

impl Write for HashingWriter {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + content.len() > BUFFER_BYTES {
            self.empty_buffer()?;
        }
        if content.len() >= BUFFER_BYTES {
            self.put(content)?;
        } else {
            self.buffer.extend_from_slice(content);
        }
        Ok(content.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.empty_buffer()
    }
}

/// Compares what is in `file` from `at` on with `wanted`, which was just written there. It is read from memory where the file system has a
/// page cache: this finds what the file system lost or mixed up, not what the medium will.
fn compare(file: &DiskFile, at: u64, wanted: &[u8]) -> io::Result<()> {
    let mut found = vec![0; COMPARED_AT_ONCE.min(wanted.len())];
    let mut at = at;
    for wanted in wanted.chunks(COMPARED_AT_ONCE) {
        let count = file.read_at(&mut found[..wanted.len()], at)?;
        if found[..count] != *wanted {
            let same =
                found[..count].iter().zip(wanted).take_while(|(found, wanted)| found == wanted).count();
            let (path, place) = (file.path().display(), at + same as u64);
            let message = format!(
                "`{path}` does not read back as it was written, from byte {place} on: the disk loses data"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        at += wanted.len() as u64;
    }
    Ok(())
}

/// Creates `path`, lets `fill` write it, and syncs it to the disk. Every byte has been read back and compared by then.
pub(crate) fn create<E: From<io::Error>>(
    disk: &Disk,
    path: &Path,
    fill: impl FnOnce(&mut HashingWriter) -> Result<(), E>,
) -> Result<FileRecord, E> {
    let mut writer = HashingWriter::new(disk.create(path)?);
    fill(&mut writer)?;
    writer.flush()?;
    let HashingWriter { file, hasher, bytes, .. } = writer;
    file.sync()?;
    let found = disk.metadata(path)?.len();
    if found != bytes {
        let path = path.display();
        let message =
            format!("`{path}` has {found} bytes after {bytes} were written: something else writes there");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message).into());
    }
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
