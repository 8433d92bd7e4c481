//! Verdicts on the disk, for the runs to come.
//!
//! A file for each, by the key of its job, written aside and renamed, so that any number of processes can use one folder without
//! waiting for each other. A file holds a hash of its key and its content: one that is damaged, cut short or misnamed counts
//! as absent, and is written again. Nothing is synced: what a power cut takes was only a cache.
//!
//! Format: the folder `v1`, in it 256 folders by the first byte of the key, in those files by the key in hexadecimal: 32 bytes of
//! BLAKE3 and a [`Verdict`] as JSON. Another version of the format is another folder, so that neither reads the other's; a verdict
//! whose JSON this version does not know counts as absent.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::SystemTime;
use std::{fs, io};

use crate::verdict_cache::Key;
use crate::{InfraError, Verdict, private_folder};

/// Bytes on the disk, in whole blocks. The oldest files go first, down to nine tenths.
const MOST_BYTES: u64 = 1 << 30;

/// What the smallest file takes on the disk.
const BLOCK_BYTES: u64 = 4096;

/// Verdicts that may wait to be written. More than that are not kept: a slow disk must not hold up a run.
const MOST_UNWRITTEN: usize = 4096;

/// The name of the format.
const VERSION: &str = "v1";

/// Verdicts in a folder. Written by a thread of its own, which ends when this is dropped and all is written.
pub(crate) struct VerdictStore {
    folder: PathBuf,
    unwritten: Option<SyncSender<(Key, Verdict)>>,
    writer: Option<JoinHandle<()>>,
}

impl VerdictStore {
    /// Verdicts in `folder`, which is made if it is absent.
    ///
    /// # Errors
    ///
    /// If the folder cannot be made, or is not this user's alone.
    pub(crate) fn open(folder: &Path) -> Result<Self, InfraError> {
        Self::bounded(folder, MOST_BYTES)
    }

    fn bounded(folder: &Path, most_bytes: u64) -> Result<Self, InfraError> {
        private_folder::make(folder)?;
        let folder = folder.join(VERSION);
        private_folder::make(&folder)?;
        let (unwritten, verdicts) = sync_channel(MOST_UNWRITTEN);
        let files = Files { folder: folder.clone(), most_bytes };
        let writer = std::thread::Builder::new()
            .name("verdict store".to_owned())
            .spawn(move || files.write_all(&verdicts))
            .map_err(|source| InfraError::Cache { path: folder.clone(), source: source.into() })?;
        Ok(Self { folder, unwritten: Some(unwritten), writer: Some(writer) })
    }

    /// The verdict of a job, if it is there and whole.
    pub(crate) fn read(&self, key: &Key) -> Option<Verdict> {
        let bytes = fs::read(path(&self.folder, key)).ok()?;
        let (found, content) = bytes.split_first_chunk::<32>()?;
        if checksum(key, content) != *found {
            return None;
        }
        serde_json::from_slice(content).ok()
    }

    /// Has a verdict written; it is there soon, unless the disk cannot keep up.
    pub(crate) fn write(&self, key: Key, verdict: &Verdict) {
        if let Some(unwritten) = &self.unwritten {
            // Full or gone: then this one is not kept, and is found out again.
            let _ = unwritten.try_send((key, verdict.clone()));
        }
    }
}

impl Drop for VerdictStore {
    fn drop(&mut self) {
        self.unwritten = None;
        if let Some(writer) = self.writer.take() {
            // A panic of the thread has been reported by itself.
            let _ = writer.join();
        }
    }
}

/// The writer's view of the folder.
struct Files {
    folder: PathBuf,
    most_bytes: u64,
}

impl Files {
    fn write_all(&self, verdicts: &Receiver<(Key, Verdict)>) {
        // Other processes write too, so that the folder is measured again each time a sixteenth of its bound was written.
        let stride = self.most_bytes / 16;
        let mut unmeasured = stride;
        for (key, verdict) in verdicts {
            // A disk that is full or gone costs hits, not the run.
            let Ok(written) = self.write(&key, &verdict) else { continue };
            unmeasured += written;
            if unmeasured >= stride {
                unmeasured = 0;
                self.evict();
            }
        }
    }

    /// Writes one verdict and returns what it takes on the disk.
    fn write(&self, key: &Key, verdict: &Verdict) -> io::Result<u64> {
        let content = serde_json::to_vec(verdict)?;
        let path = path(&self.folder, key);
        let folder = path.parent().unwrap_or(&self.folder);
        if !folder.is_dir() {
            fs::create_dir_all(folder)?;
        }
        let mut aside = tempfile::NamedTempFile::new_in(folder)?;
        io::Write::write_all(&mut aside, &checksum(key, &content))?;
        io::Write::write_all(&mut aside, &content)?;
        aside.persist(&path).map_err(|error| error.error)?;
        Ok(on_disk(32 + content.len() as u64))
    }

    /// Removes the oldest files if there are too many. Another process may be doing the same, so that files vanish meanwhile.
    fn evict(&self) {
        let mut found = self.list();
        let mut total: u64 = found.iter().map(|(_, bytes, _)| bytes).sum();
        if total <= self.most_bytes {
            return;
        }
        found.sort_unstable();
        for (_, bytes, path) in found {
            if total <= self.most_bytes / 10 * 9 {
                return;
            }
            if fs::remove_file(path).is_ok() {
                total -= bytes;
            }
        }
    }

    /// All files with their age and size, also those that a process left half written when it was killed.
    fn list(&self) -> Vec<(SystemTime, u64, PathBuf)> {
        let folders = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let files = folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten());
        let known = |file: fs::DirEntry| {
            let metadata = file.metadata().ok()?;
            Some((metadata.modified().ok()?, on_disk(metadata.len()), file.path()))
        };
        files.filter_map(known).collect()
    }
}

fn path(folder: &Path, key: &Key) -> PathBuf {
    let name = blake3::Hash::from_bytes(*key).to_hex();
    folder.join(&name[..2]).join(name.as_str())
}

fn checksum(key: &Key, content: &[u8]) -> [u8; 32] {
    *blake3::keyed_hash(key, content).as_bytes()
}

fn on_disk(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::verdict_cache::tests::verdict;

    fn key(number: usize) -> Key {
        *blake3::hash(&number.to_le_bytes()).as_bytes()
    }

    fn filled(folder: &Path, numbers: std::ops::Range<usize>) {
        let store = VerdictStore::open(folder).unwrap();
        for number in numbers {
            store.write(key(number), &verdict(&number.to_string(), Outcome::Passed));
        }
    }

    #[test]
    fn what_one_process_has_written_another_reads() {
        let parent = tempfile::tempdir().unwrap();
        let folder = &parent.path().join("verdicts");
        filled(folder, 0..100);
        let store = VerdictStore::open(folder).unwrap();
        for number in 0..100 {
            assert_eq!(store.read(&key(number)), Some(verdict(&number.to_string(), Outcome::Passed)));
        }
        assert_eq!(store.read(&key(100)), None);
    }

    #[test]
    fn an_entry_that_is_damaged_cut_short_or_misnamed_counts_as_absent_and_is_written_again() {
        let parent = tempfile::tempdir().unwrap();
        let folder = &parent.path().join("verdicts");
        filled(folder, 0..1);
        let store = VerdictStore::open(folder).unwrap();
        let entry = path(&store.folder, &key(0));
        let whole = fs::read(&entry).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&entry, damaged).unwrap();
            assert_eq!(store.read(&key(0)), None, "byte {at}");
            fs::write(&entry, &whole[..at]).unwrap();
            assert_eq!(store.read(&key(0)), None, "{at} bytes");
        }
        let misnamed = path(&store.folder, &key(1));
        fs::create_dir_all(misnamed.parent().unwrap()).unwrap();
        fs::write(&misnamed, &whole).unwrap();
        assert_eq!(store.read(&key(1)), None);
        filled(folder, 0..1);
        assert!(store.read(&key(0)).is_some());
    }

    #[test]
    fn many_processes_write_and_evict_at_once_and_the_folder_stays_bounded() {
        let parent = tempfile::tempdir().unwrap();
        let folder = &parent.path().join("verdicts");
        const MOST: u64 = 64 * BLOCK_BYTES;
        std::thread::scope(|scope| {
            for writer in 0..4 {
                scope.spawn(move || {
                    let store = VerdictStore::bounded(folder, MOST).unwrap();
                    for number in 0..200 {
                        let (number, text) = (number + 100 * writer, (number + 100 * writer).to_string());
                        store.write(key(number), &verdict(&text, Outcome::Passed));
                        let read = store.read(&key(number));
                        assert!(read.is_none_or(|read| read.stdout == text));
                    }
                });
            }
        });
        let files = Files { folder: folder.join(VERSION), most_bytes: MOST };
        let total: u64 = files.list().iter().map(|(_, bytes, _)| bytes).sum();
        // Each of the four may have written a sixteenth since it last measured.
        assert!(total <= MOST + 4 * MOST / 16, "{total}");
        assert!(total >= MOST / 2, "{total}");
    }

    #[test]
    fn the_oldest_go_first() {
        let parent = tempfile::tempdir().unwrap();
        let folder = &parent.path().join("verdicts");
        filled(folder, 0..20);
        let files = Files { folder: folder.join(VERSION), most_bytes: 10 * BLOCK_BYTES };
        let start = SystemTime::now();
        for number in 0..20 {
            let file = fs::File::options().write(true).open(path(&files.folder, &key(number))).unwrap();
            file.set_modified(start - std::time::Duration::from_secs(number as u64)).unwrap();
        }
        files.evict();
        let kept: Vec<_> = (0..20).filter(|number| path(&files.folder, &key(*number)).exists()).collect();
        assert_eq!(kept, (0..9).collect::<Vec<_>>());
    }

    #[test]
    fn a_folder_that_others_can_enter_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let folder = &parent.path().join("verdicts");
        fs::create_dir(folder).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(VerdictStore::open(folder), Err(InfraError::UnsafeCache { .. })));
    }
}
