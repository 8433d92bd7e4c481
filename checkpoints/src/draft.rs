//! A checkpoint while it is being written.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use safetensors::View;
use serde::Serialize;

use crate::durable::{self, HashingWriter};
use crate::error::WriteError;
use crate::manifest::{FORMAT, FileRecord, MANIFEST, Manifest, is_inside};
use crate::tensors;

/// A checkpoint while it is being written: a `.partial` folder that the world does not see yet.
///
/// Names are paths inside the checkpoint; folders in them (`model/config.json`) are made as needed.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    written: BTreeMap<String, FileRecord>,
}

impl Draft {
    /// Starts with an empty folder at `path`.
    pub(crate) fn create(path: PathBuf) -> io::Result<Self> {
        fs::create_dir(&path)?;
        Ok(Self { path, written: BTreeMap::new() })
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
        let json = |source| WriteError::Json { name: name.to_owned(), source };
        let mut text = serde_json::to_vec_pretty(value).map_err(json)?;
        text.push(b'\n');
        self.bytes(name, &text)
    }

    /// Writes `content` as it is.
    ///
    /// # Errors
    ///
    /// If the name is taken or leads outside, or the disk refuses.
    pub fn bytes(&mut self, name: &str, content: &[u8]) -> Result<(), WriteError> {
        self.file(name, |writer| Ok(writer.write_all(content)?))
    }

    /// Streams a safetensors file, one tensor in memory at a time. Equal input gives equal bytes.
    ///
    /// # Errors
    ///
    /// As [`crate::write_safetensors`], or if the name is taken or leads outside.
    pub fn tensors<V: View>(
        &mut self,
        name: &str,
        tensors: impl IntoIterator<Item = (String, V)>,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), WriteError> {
        self.file(name, |writer| tensors::stream(writer, tensors, metadata))
    }

    /// Copies the file `from` to `name`.
    ///
    /// # Errors
    ///
    /// If the name is taken or leads outside, or the disk refuses.
    pub fn copy(&mut self, from: &Path, name: &str) -> Result<(), WriteError> {
        let mut source = fs::File::open(from)?;
        self.file(name, |writer| Ok(io::copy(&mut source, writer).map(drop)?))
    }

    /// Writes one file and remembers what it should contain.
    fn file(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut HashingWriter) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let refuse = |reason| Err(WriteError::Name { name: name.to_owned(), reason });
        if !is_inside(name) {
            return refuse("it leads outside");
        }
        if name == MANIFEST {
            return refuse("it is reserved");
        }
        if self.written.contains_key(name) {
            return refuse("it is taken");
        }
        let path = self.path.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let record = durable::create(&path, fill)?;
        self.written.insert(name.to_owned(), record);
        Ok(())
    }

    /// Lists everything in the manifest and makes it all durable.
    pub(crate) fn seal(mut self, step: u64) -> Result<(), WriteError> {
        self.adopt(&self.path.clone(), "")?;
        let manifest = Manifest { format: FORMAT, step, files: self.written };
        durable::create(&self.path.join(MANIFEST), |writer| writer.write_all(&manifest.to_bytes()))?;
        Ok(durable::sync_dir(&self.path)?)
    }

    /// Records files that the caller wrote by other means, and syncs subfolders.
    fn adopt(&mut self, dir: &Path, prefix: &str) -> Result<(), WriteError> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(leaf) = entry.file_name().into_string() else {
                let name = entry.path().display().to_string();
                return Err(WriteError::Name { name, reason: "it is not UTF-8" });
            };
            let name = format!("{prefix}{leaf}");
            if entry.file_type()?.is_dir() {
                self.adopt(&entry.path(), &format!("{name}/"))?;
                durable::sync_dir(&entry.path())?;
            } else if let Entry::Vacant(unlisted) = self.written.entry(name) {
                fs::File::open(entry.path())?.sync_all()?;
                unlisted.insert(durable::measure(&entry.path())?);
            }
        }
        Ok(())
    }
}
