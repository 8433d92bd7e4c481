//! Deleting and setting aside checkpoints on request.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::durable::{self, PARTIAL, with_suffix};
use crate::store::{LATEST, Store};

/// Folder, beside the checkpoints, of those that a run went back behind.
const SET_ASIDE: &str = "set-aside";

impl Store {
    /// Deletes the checkpoint of `step`. Hold the run's lock.
    ///
    /// # Errors
    ///
    /// If the disk refuses. What is left is then no checkpoint any more, and cleared away by the next [`Store::open`].
    pub fn delete(&self, step: u64) -> io::Result<()> {
        let path = self.path_of(step);
        // Half a checkpoint must not look like one, should the process die while deleting.
        let doomed = with_suffix(&path, PARTIAL);
        self.disk.rename(&path, &doomed)?;
        self.name_newest()?;
        self.disk.remove(&doomed)
    }

    /// Moves the checkpoint of `step` into the folder `set-aside`, where no run looks for one, and returns its new place. Hold
    /// the run's lock.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn set_aside(&self, step: u64) -> io::Result<PathBuf> {
        let folder = self.dir().join(SET_ASIDE);
        self.disk.create_dir_all(&folder)?;
        let path = self.path_of(step);
        let name = path.file_name().expect("the folder of a step has a name").to_owned();
        let mut place = folder.join(&name);
        let mut number = 1;
        while self.disk.exists(&place)? {
            number += 1;
            place = with_suffix(&folder.join(&name), &format!("-{number}"));
        }
        self.disk.rename(&path, &place)?;
        self.disk.sync_dir(&folder)?;
        self.name_newest()?;
        Ok(place)
    }

    /// Has `latest` name the newest checkpoint that is left, and makes renames in the folder durable.
    fn name_newest(&self) -> io::Result<()> {
        let latest = self.dir().join(LATEST);
        match self.steps()?.last() {
            Some(step) => {
                let name = format!("step-{step:08}\n");
                durable::replace(&self.disk, &latest, |writer| writer.write_all(name.as_bytes()))
            }
            None => self.disk.remove(&latest),
        }?;
        self.disk.sync_dir(self.dir())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_aside_is_kept_but_is_no_checkpoint_of_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let write = |step| store.write(step, |draft| draft.bytes("file", b"1")).map(drop).unwrap();
        [1, 2, 3].into_iter().for_each(write);
        let first = store.set_aside(3).unwrap();
        write(3);
        let second = store.set_aside(3).unwrap();
        assert_ne!(first, second);
        assert!(first.join("manifest.json").is_file() && second.join("manifest.json").is_file());
        store.delete(1).unwrap();
        assert_eq!(store.steps().unwrap(), [2]);
        assert_eq!(std::fs::read_to_string(dir.path().join("latest")).unwrap(), "step-00000002\n");
    }
}
