//! Deleting and setting aside checkpoints on request.

use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use fs_err as fs;

use crate::durable::{self, PARTIAL, with_suffix};
use crate::store::Store;

/// Folder, beside the checkpoints, of those that a run went back behind.
const SET_ASIDE: &str = "set-aside";

/// The file that names the newest checkpoint.
const LATEST: &str = "latest";

/// Which of `steps` go when the newest `keep_last` are kept, in ascending order.
///
/// Counted is up to and including `whole`, the newest step whose checkpoint is known to be whole: later ones are damaged, and
/// counting them would delete the whole ones. They are neither counted nor deleted. Does no I/O.
pub fn surplus(steps: &[u64], whole: u64, keep_last: NonZeroUsize) -> Vec<u64> {
    let mut counted: Vec<u64> = steps.iter().copied().filter(|step| *step <= whole).collect();
    counted.sort_unstable();
    counted.dedup();
    counted.truncate(counted.len().saturating_sub(keep_last.get()));
    counted
}

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
        fs::rename(&path, &doomed)?;
        self.name_newest()?;
        fs::remove_dir_all(&doomed)
    }

    /// Moves the checkpoint of `step` into the folder `set-aside`, where no run looks for one, and returns its new place. Hold
    /// the run's lock.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn set_aside(&self, step: u64) -> io::Result<PathBuf> {
        let folder = self.dir().join(SET_ASIDE);
        fs::create_dir_all(&folder)?;
        let path = self.path_of(step);
        let name = path.file_name().expect("the folder of a step has a name").to_owned();
        let mut places = (1..).map(|number| {
            let mut name = name.clone();
            if number > 1 {
                name.push(format!("-{number}"));
            }
            folder.join(name)
        });
        let place = places.find(|place| !place.exists()).expect("there is always another number");
        fs::rename(&path, &place)?;
        self.name_newest()?;
        Ok(place)
    }

    /// Has `latest` name the newest checkpoint that is left, and makes renames in the folder durable.
    fn name_newest(&self) -> io::Result<()> {
        let latest = self.dir().join(LATEST);
        match self.steps()?.last() {
            Some(step) => durable::replace_file(&latest, format!("step-{step:08}\n").as_bytes()),
            None if latest.exists() => fs::remove_file(&latest),
            None => Ok(()),
        }?;
        fs::File::open(self.dir())?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_and_what_is_newer_than_the_last_whole_one_is_not_touched() {
        let keep = |count| NonZeroUsize::new(count).unwrap();
        assert_eq!(surplus(&[30, 10, 40, 20], 40, keep(2)), [10, 20]);
        assert_eq!(surplus(&[10, 20, 30], 20, keep(1)), [10]);
        assert_eq!(surplus(&[10, 20], 20, keep(5)), [0_u64; 0]);
    }

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
        assert_eq!(fs::read_to_string(dir.path().join("latest")).unwrap(), "step-00000002\n");
    }
}
