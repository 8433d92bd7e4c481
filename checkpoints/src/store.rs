//! A folder of checkpoints.

use std::error::Error;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::draft::Draft;
use crate::durable::{self, PARTIAL, with_suffix};
use crate::error::{ReadError, Rejected, WriteError};
use crate::manifest::Checkpoint;
use crate::retention::{self, Action};

/// Name of the file that names the newest checkpoint, for people and scripts.
const LATEST: &str = "latest";

/// Suffix of a damaged checkpoint for the moment between its replacement's arrival and its own deletion.
const REPLACED: &str = ".replaced";

/// A folder of checkpoints.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
    keep_last: Option<NonZeroUsize>,
}

impl Store {
    /// Opens `dir` for writing: creates it if need be and clears away what an interrupted writer left.
    ///
    /// Hold the run's [`crate::RunLock`] first, or another writer's unfinished checkpoint is taken for a leftover.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        for name in names(dir)? {
            let path = dir.join(&name);
            if name.ends_with(PARTIAL) {
                remove(&path)?;
            } else if let Some(original) = name.strip_suffix(REPLACED) {
                restore(&path, &dir.join(original))?;
            }
        }
        Ok(Self::open_read_only(dir))
    }

    /// Looks at `dir` and changes nothing, for readers beside a live writer.
    pub fn open_read_only(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), keep_last: None }
    }

    /// Deletes all but the newest `keep_last` checkpoints after each write. Without this, all are kept.
    #[must_use]
    pub fn keeping_last(self, keep_last: NonZeroUsize) -> Self {
        Self { keep_last: Some(keep_last), ..self }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Steps of all checkpoints, whole or damaged, in ascending order. A folder that does not exist has none.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn steps(&self) -> io::Result<Vec<u64>> {
        let mut steps: Vec<u64> = names(&self.dir)?.iter().filter_map(|name| parse_step(name)).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// The folder of the checkpoint of `step`, whether or not it exists.
    pub fn path_of(&self, step: u64) -> PathBuf {
        self.dir.join(format!("step-{step:08}"))
    }

    /// Writes the checkpoint of `step`: `fill` puts the files into the draft, and the rest happens here.
    ///
    /// In this order: files and manifest are written aside and synced, read back and compared, renamed into place, named
    /// in `latest`; only then are older ones deleted. If a checkpoint of this step exists, it is replaced.
    ///
    /// # Errors
    ///
    /// If `fill` fails, the disk refuses, or the files do not read back as written. Every older checkpoint is then as it
    /// was.
    pub fn write<E: Into<Box<dyn Error + Send + Sync>>>(
        &self,
        step: u64,
        fill: impl FnOnce(&mut Draft) -> Result<(), E>,
    ) -> Result<Checkpoint, WriteError> {
        let path = self.path_of(step);
        let aside = with_suffix(&path, PARTIAL);
        remove(&aside)?;
        let checkpoint = match fill_aside(&aside, step, fill) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                // The first error is the one to report; `open` clears what this leaves.
                let _ = remove(&aside);
                return Err(error);
            }
        };
        self.install(&aside, &path)?;
        durable::replace_file(&self.dir.join(LATEST), format!("step-{step:08}\n").as_bytes())?;
        self.retain(step)?;
        Ok(checkpoint.moved_to(path))
    }

    /// Renames a finished checkpoint into place.
    fn install(&self, aside: &Path, path: &Path) -> io::Result<()> {
        let replaced = with_suffix(path, REPLACED);
        if path.exists() {
            fs::rename(path, &replaced)?;
        }
        fs::rename(aside, path)?;
        durable::sync_dir(&self.dir)?;
        remove(&replaced)
    }

    /// Deletes what retention no longer wants.
    fn retain(&self, written: u64) -> io::Result<()> {
        let Some(keep_last) = self.keep_last else { return Ok(()) };
        for action in retention::plan(&self.steps()?, written, keep_last) {
            if let Action::Delete(step) = action {
                // Half a checkpoint must not look like one, should the process die while deleting.
                let doomed = with_suffix(&self.path_of(step), PARTIAL);
                fs::rename(self.path_of(step), &doomed)?;
                remove(&doomed)?;
            }
        }
        Ok(())
    }

    /// The newest checkpoint that is whole, and the newer ones that were passed over. `None` if there is none at all.
    ///
    /// # Errors
    ///
    /// If the folder cannot be listed, or there are checkpoints and none is whole: to start afresh would then lose a run
    /// without a word.
    pub fn newest_valid(&self) -> Result<Option<(Checkpoint, Vec<Rejected>)>, ReadError> {
        let mut rejected = Vec::new();
        for step in self.steps()?.into_iter().rev() {
            match self.checkpoint(step) {
                Ok(checkpoint) => return Ok(Some((checkpoint, rejected))),
                Err(reason) => rejected.push(Rejected { step, path: self.path_of(step), reason }),
            }
        }
        if rejected.is_empty() {
            Ok(None)
        } else {
            Err(ReadError::NoneWhole { dir: self.dir.clone(), rejected })
        }
    }

    /// Reads and verifies the checkpoint of `step`.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::open`], or if its manifest is of another step.
    pub fn checkpoint(&self, step: u64) -> Result<Checkpoint, ReadError> {
        let checkpoint = Checkpoint::open(&self.path_of(step))?;
        if checkpoint.step() == step {
            Ok(checkpoint)
        } else {
            Err(ReadError::Step { path: self.path_of(step), found: checkpoint.step(), wanted: step })
        }
    }
}

/// Writes, seals and reads back a checkpoint at `aside`.
fn fill_aside<E: Into<Box<dyn Error + Send + Sync>>>(
    aside: &Path,
    step: u64,
    fill: impl FnOnce(&mut Draft) -> Result<(), E>,
) -> Result<Checkpoint, WriteError> {
    let mut draft = Draft::create(aside.to_owned())?;
    fill(&mut draft).map_err(|error| WriteError::Fill { step, source: error.into() })?;
    draft.seal(step)?;
    Checkpoint::open(aside).map_err(|source| WriteError::Unverified { step, source })
}

/// Names in `dir`, without those that are not UTF-8: none of ours.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

/// The step in a folder name such as `step-00000012`.
fn parse_step(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.parse().ok()?;
    (format!("step-{step:08}") == name).then_some(step)
}

/// Removes a file or folder; its absence is success.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Undoes or completes a replacement that was interrupted.
fn restore(replaced: &Path, original: &Path) -> io::Result<()> {
    if original.exists() { remove(replaced) } else { fs::rename(replaced, original) }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
