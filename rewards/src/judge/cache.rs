//! Replies on disk, one file each, named by what was asked.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::chat::Reply;
use crate::plugin::PlugInError;

/// Version of the files. One of another version is asked for anew and written over.
const VERSION: u64 = 1;

/// A folder that only its owner can read: there are tasks and programs in the replies. Made when the first reply is kept.
pub(super) struct Cache {
    /// Empty: nothing is kept.
    folder: PathBuf,
    written: AtomicU64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    version: u64,
    reply: Reply,
}

impl Cache {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), written: AtomicU64::new(0) }
    }

    /// The name of a question: the BLAKE3 hash of the request, in hexadecimal.
    pub(super) fn key(request: &str) -> String {
        blake3::hash(request.as_bytes()).to_hex().to_string()
    }

    fn place(&self, key: &str) -> PathBuf {
        self.folder.join("replies").join(&key[..2]).join(format!("{key}.json"))
    }

    /// The reply, if there is a whole one.
    pub(super) fn get(&self, key: &str) -> Option<Reply> {
        if self.folder.as_os_str().is_empty() {
            return None;
        }
        let text = fs::read_to_string(self.place(key)).ok()?;
        let entry: Entry = serde_json::from_str(&text).ok()?;
        (entry.version == VERSION).then_some(entry.reply)
    }

    /// Keeps a reply: written aside, then renamed, so that nobody reads half of one.
    pub(super) fn put(&self, key: &str, reply: &Reply) -> Result<(), PlugInError> {
        if self.folder.as_os_str().is_empty() {
            return Ok(());
        }
        let place = self.place(key);
        let entry = Entry { version: VERSION, reply: reply.clone() };
        let text = serde_json::to_string(&entry).expect("a reply is JSON by contract");
        self.write(&place, &text).map_err(|error| kept(&place, &error))
    }

    fn write(&self, place: &Path, text: &str) -> io::Result<()> {
        let folder = place.parent().expect("a reply has a folder by contract");
        private_folder(folder)?;
        // Several runs may share the folder.
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let aside = folder.join(format!(".{}-{number}.tmp", process::id()));
        private_file(&aside)?.write_all(text.as_bytes())?;
        fs::rename(&aside, place)
    }
}

/// Makes a folder, and those above it, that only its owner can enter.
pub(super) fn private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Opens a file that only its owner can read, and makes or empties it.
fn private_file(path: &Path) -> io::Result<fs::File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// The error of a folder that does not keep what it is given.
pub(super) fn kept(path: &Path, error: &io::Error) -> PlugInError {
    PlugInError::Folder { path: path.to_owned(), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn reply(text: &str) -> Reply {
        Reply { text: text.to_owned(), tokens: Some(1) }
    }

    #[test]
    fn a_reply_is_found_by_what_was_asked_and_only_by_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("judges/readable");
        let (cache, key) = (Cache::new(&folder), Cache::key("why?"));
        assert_eq!(cache.get(&key), None);
        assert!(!folder.exists());
        cache.put(&key, &reply("because")).unwrap();
        assert_eq!(Cache::new(&folder).get(&key), Some(reply("because")));
        assert_eq!(cache.get(&Cache::key("why not?")), None);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&cache.place(&key))), (0o700, 0o600));
    }

    #[test]
    fn a_torn_file_or_one_of_another_version_is_asked_for_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, key) = (Cache::new(folder.path()), Cache::key("why?"));
        cache.put(&key, &reply("because")).unwrap();
        let whole = fs::read_to_string(cache.place(&key)).unwrap();
        for damaged in [&whole[..whole.len() - 1], &whole.replace(":1,\"reply\"", ":2,\"reply\"")] {
            fs::write(cache.place(&key), damaged).unwrap();
            assert_eq!(cache.get(&key), None, "{damaged}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Cache::new(&file).put(&Cache::key("why?"), &reply("because")).unwrap_err();
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    }
}
