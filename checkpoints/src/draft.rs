//! A checkpoint while it is being written.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::disk::Disk;
use crate::durable::{self, HashingWriter};
use crate::error::WriteError;
use crate::manifest::{FORMAT, FileRecord, MANIFEST, Manifest, is_inside};
use crate::tensors::{self, TensorSource};

/// What a checkpoint leaves free on its file system: room for everything else that a run writes meanwhile.
const LEFT_FREE: u64 = 16 << 20;

/// A checkpoint while it is being written: a `.partial` folder that the world does not see yet.
///
/// Names are paths inside the checkpoint; folders in them (`model/config.json`) are made as needed.
#[derive(Debug)]
pub struct Draft {
    disk: Disk,
    path: PathBuf,
    written: BTreeMap<String, FileRecord>,
}

impl Draft {
    /// Starts with an empty folder at `path`.
    pub(crate) fn create(disk: &Disk, path: PathBuf) -> io::Result<Self> {
        disk.create_dir(&path)?;
        Ok(Self { disk: disk.clone(), path, written: BTreeMap::new() })
    }

    /// The folder. Files that the caller puts there by other means are hashed and listed as well.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `value` as indented JSON.
    ///
    /// # Errors
    ///
    /// If the name is taken or leads outside, the value has no JSON form, or the disk refuses.
    pub fn json(&mut self, name: &str, value: &impl Serialize) -> Result<(), WriteError> {
        self.bytes(name, &to_json(name, value)?)
    }

    /// Writes `content` as it is.
    ///
    /// # Errors
    ///
    /// If the name is taken or leads outside, or the disk refuses.
    pub fn bytes(&mut self, name: &str, content: &[u8]) -> Result<(), WriteError> {
        self.file(name, |writer| Ok::<_, WriteError>(writer.write_all(content)?)).map(drop)
    }

    /// Streams a safetensors file, piece by piece as its tensors hand them over. Equal input gives equal bytes.
    ///
    /// # Errors
    ///
    /// As [`crate::write_safetensors`], if the name is taken or leads outside, or if the file does not fit on the disk, which is
    /// found out before the first byte.
    pub fn tensors<T: TensorSource>(
        &mut self,
        name: &str,
        tensors: impl IntoIterator<Item = (String, T)>,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), WriteError> {
        let tensors: Vec<(String, T)> = tensors.into_iter().collect();
        self.needs_room(name, tensors.iter().map(|(_, tensor)| tensor.byte_len() as u64).sum())?;
        self.file(name, |writer| tensors::stream(writer, tensors, metadata)).map(drop)
    }

    /// Whether `bytes` more fit on the disk; `name` is what needs them.
    pub(crate) fn needs_room(&self, name: &str, bytes: u64) -> Result<(), WriteError> {
        let needed = bytes + LEFT_FREE;
        // A disk that is filled to its end fails everything that a run writes, and not only this.
        match self.disk.free_bytes(&self.path)?.filter(|free| *free < needed) {
            Some(free) => Err(WriteError::NoRoom { path: self.path.join(name), needed, free }),
            None => Ok(()),
        }
    }

    /// Copies the file `from` to `name`.
    ///
    /// # Errors
    ///
    /// If the name is taken or leads outside, or the disk refuses.
    pub fn copy(&mut self, from: &Path, name: &str) -> Result<(), WriteError> {
        let mut source = self.disk.open(from)?;
        self.file(name, |writer| Ok::<_, WriteError>(io::copy(&mut source, writer).map(drop)?)).map(drop)
    }

    /// Writes one file, and remembers and returns what it should contain.
    pub(crate) fn file<E: From<io::Error> + From<WriteError>>(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut HashingWriter) -> Result<(), E>,
    ) -> Result<&FileRecord, E> {
        let refuse = |reason| WriteError::Name { name: name.to_owned(), reason };
        if !is_inside(name) {
            return Err(refuse("it leads outside").into());
        }
        if name == MANIFEST {
            return Err(refuse("it is reserved").into());
        }
        if self.written.contains_key(name) {
            return Err(refuse("it is taken").into());
        }
        let path = self.path.join(name);
        if let Some(parent) = path.parent() {
            self.disk.create_dir_all(parent)?;
        }
        let record = durable::create(&self.disk, &path, fill)?;
        Ok(self.written.entry(name.to_owned()).or_insert(record))
    }

    /// Lists everything in the manifest and makes it all durable.
    pub(crate) fn seal(mut self, step: u64) -> Result<(), WriteError> {
        self.adopt(&self.path.clone(), "")?;
        let manifest = Manifest { format: FORMAT, step, files: self.written };
        let path = self.path.join(MANIFEST);
        durable::create(&self.disk, &path, |writer| writer.write_all(&manifest.to_bytes()))?;
        Ok(self.disk.sync_dir(&self.path)?)
    }

    /// Records files that the caller wrote by other means, and syncs subfolders.
    fn adopt(&mut self, dir: &Path, prefix: &str) -> Result<(), WriteError> {
        for entry in self.disk.entries(dir)? {
            let path = entry.path();
            let Ok(leaf) = entry.file_name().into_string() else {
                return Err(WriteError::Name { name: path.display().to_string(), reason: "it is not UTF-8" });
            };
            let name = format!("{prefix}{leaf}");
            if self.disk.symlink_metadata(&path)?.is_dir() {
                self.adopt(&path, &format!("{name}/"))?;
                self.disk.sync_dir(&path)?;
            } else if let Entry::Vacant(unlisted) = self.written.entry(name) {
                self.disk.open(&path)?.sync()?;
                unlisted.insert(durable::measure(&self.disk, &path)?);
            }
        }
        Ok(())
    }
}

/// `value` as the indented JSON that [`Draft::json`] writes; `name` is what errors call it.
///
/// # Errors
///
/// If it has no JSON form.
pub fn to_json(name: &str, value: &impl Serialize) -> Result<Vec<u8>, WriteError> {
    let json = |source| WriteError::Json { name: name.to_owned(), source };
    let mut text = serde_json::to_vec_pretty(value).map_err(json)?;
    text.push(b'\n');
    Ok(text)
}
