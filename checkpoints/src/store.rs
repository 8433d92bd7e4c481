//! A folder of checkpoints.

use std::error::Error;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::draft::Draft;
use crate::durable::{self, PARTIAL, with_suffix};
use crate::error::{ReadError, Rejected, WriteError};
use crate::manifest::Checkpoint;
use crate::retention::{Action, Retention, plan};

/// Name of the file that names the newest checkpoint, for people and scripts.
pub(crate) const LATEST: &str = "latest";

/// Suffix of a damaged checkpoint for the moment between its replacement's arrival and its own deletion.
const REPLACED: &str = ".replaced";

/// A folder of checkpoints.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) disk: Disk,
    dir: PathBuf,
    retention: Option<Retention>,
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
        Self::open_on(Disk::default(), dir)
    }

    /// [`Store::open`] on `disk`.
    pub(crate) fn open_on(disk: Disk, dir: &Path) -> io::Result<Self> {
        if !disk.exists(dir)? {
            disk.create_dir_all(dir)?;
            disk.sync_parent(dir)?;
        }
        let store = Self::on(disk, dir);
        store.clear()?;
        Ok(store)
    }

    /// Clears away what a writer left that was interrupted or refused.
    fn clear(&self) -> io::Result<()> {
        for name in self.names()? {
            let path = self.dir.join(&name);
            if name.ends_with(PARTIAL) {
                self.disk.remove(&path)?;
            } else if let Some(original) = name.strip_suffix(REPLACED) {
                self.restore(&path, &self.dir.join(original))?;
            }
        }
        Ok(())
    }

    /// Looks at `dir` and changes nothing, for readers beside a live writer.
    pub fn open_read_only(dir: &Path) -> Self {
        Self::on(Disk::default(), dir)
    }

    /// [`Store::open_read_only`] on `disk`.
    pub(crate) fn on(disk: Disk, dir: &Path) -> Self {
        Self { disk, dir: dir.to_owned(), retention: None }
    }

    /// Deletes all but the newest `keep_last` checkpoints after each write. Without a word about it, all are kept.
    #[must_use]
    pub fn keeping_last(self, keep_last: NonZeroUsize) -> Self {
        self.keeping(Retention::last(keep_last))
    }

    /// Deletes what `retention` does not keep after each write. Without a word about it, all are kept.
    #[must_use]
    pub fn keeping(self, retention: Retention) -> Self {
        Self { retention: Some(retention), ..self }
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
        let mut steps: Vec<u64> = self.names()?.iter().filter_map(|name| parse_step(name)).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// The folder of the checkpoint of `step`, whether or not it exists.
    pub fn path_of(&self, step: u64) -> PathBuf {
        self.dir.join(format!("step-{step:08}"))
    }

    /// Writes the checkpoint of `step`: `fill` puts the files into the draft, and the rest happens here.
    ///
    /// In this order: files and manifest are written aside, read back and compared piece by piece, synced, renamed into place, named
    /// in `latest`; only then are older ones deleted. If a checkpoint of this step exists, it is replaced.
    ///
    /// # Errors
    ///
    /// If `fill` fails, the disk refuses, or the files do not read back as written. Every older checkpoint is then as it
    /// was. [`WriteError::Tidy`] if only what comes after the new checkpoint is in place was refused.
    pub fn write<E: Into<Box<dyn Error + Send + Sync>>>(
        &self,
        step: u64,
        fill: impl FnOnce(&mut Draft) -> Result<(), E>,
    ) -> Result<Checkpoint, WriteError> {
        let path = self.path_of(step);
        let aside = with_suffix(&path, PARTIAL);
        self.clear()?;
        let written = self.fill_aside(&aside, step, fill).and_then(|checkpoint| {
            self.install(&aside, &path)?;
            Ok(checkpoint.moved_to(path.clone()))
        });
        if written.is_err() {
            // The first error is the one to report; the next write, or the next process, clears what this leaves.
            let _ = self.disk.remove(&aside);
        }
        let checkpoint = written?;
        self.tidy(step, &path).map_err(|source| WriteError::Tidy { step, source })?;
        Ok(checkpoint)
    }

    /// Writes and seals a checkpoint at `aside`, and looks whether it is there.
    fn fill_aside<E: Into<Box<dyn Error + Send + Sync>>>(
        &self,
        aside: &Path,
        step: u64,
        fill: impl FnOnce(&mut Draft) -> Result<(), E>,
    ) -> Result<Checkpoint, WriteError> {
        let mut draft = Draft::create(&self.disk, aside.to_owned())?;
        fill(&mut draft).map_err(|error| WriteError::Fill { step, source: error.into() })?;
        draft.seal(step)?;
        Checkpoint::just_written(&self.disk, aside).map_err(|source| WriteError::Unverified { step, source })
    }

    /// Renames a finished checkpoint into place. If that fails, what was there before is there again.
    fn install(&self, aside: &Path, path: &Path) -> io::Result<()> {
        let replaced = with_suffix(path, REPLACED);
        let replaces = self.disk.exists(path)?;
        if replaces {
            self.disk.remove(&replaced)?;
            self.disk.rename(path, &replaced)?;
        }
        if let Err(error) = self.disk.rename(aside, path) {
            if replaces {
                // If this fails as well, `open` puts it back.
                let _ = self.restore(&replaced, path);
            }
            return Err(error);
        }
        self.disk.sync_dir(&self.dir)
    }

    /// What comes after the checkpoint of `step` is in place, at `path`.
    fn tidy(&self, step: u64, path: &Path) -> io::Result<()> {
        self.disk.remove(&with_suffix(path, REPLACED))?;
        let latest = format!("step-{step:08}\n");
        durable::replace(&self.disk, &self.dir.join(LATEST), |writer| writer.write_all(latest.as_bytes()))?;
        self.retain(step)
    }

    /// Deletes what retention no longer wants.
    fn retain(&self, written: u64) -> io::Result<()> {
        let Some(retention) = &self.retention else { return Ok(()) };
        for action in plan(&self.steps()?, written, retention) {
            if let Action::Delete(step) = action {
                // Half a checkpoint must not look like one, should the process die while deleting.
                let doomed = with_suffix(&self.path_of(step), PARTIAL);
                self.disk.rename(&self.path_of(step), &doomed)?;
                self.disk.remove(&doomed)?;
            }
        }
        Ok(())
    }

    /// Undoes or completes a replacement that was interrupted.
    fn restore(&self, replaced: &Path, original: &Path) -> io::Result<()> {
        if self.disk.exists(original)? {
            self.disk.remove(replaced)
        } else {
            self.disk.rename(replaced, original)
        }
    }

    /// Names in the folder, without those that are not UTF-8: none of ours. A folder that does not exist has none.
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = match self.disk.entries(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        Ok(entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).collect())
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
        let checkpoint = Checkpoint::open_on(&self.disk, &self.path_of(step))?;
        if checkpoint.step() == step {
            Ok(checkpoint)
        } else {
            Err(ReadError::Step { path: self.path_of(step), found: checkpoint.step(), wanted: step })
        }
    }
}

/// The step in a folder name such as `step-00000012`.
pub(crate) fn parse_step(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.parse().ok()?;
    (format!("step-{step:08}") == name).then_some(step)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
