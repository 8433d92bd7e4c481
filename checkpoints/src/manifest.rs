//! What a checkpoint consists of, and whether it is all there.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use fs_err as fs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::durable;
use crate::error::ReadError;
use crate::tensors::{TensorFile, read_safetensors};

/// Version of the manifest and the folder layout that this build writes and reads.
pub const FORMAT: u64 = 1;

/// Room for a hundred thousand files. Nothing says how large a manifest should be, so that this is what bounds memory.
const MAX_MANIFEST_BYTES: u64 = 16 << 20;

/// Name of the manifest inside a checkpoint.
pub(crate) const MANIFEST: &str = "manifest.json";

/// Size and hash of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 hash, 64 lower-case hexadecimal digits.
    pub blake3: String,
}

/// The content of `manifest.json`: written last, read first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Format version, [`FORMAT`].
    pub format: u64,
    /// Number of optimizer steps behind this checkpoint.
    pub step: u64,
    /// Every file but the manifest, by its path inside the checkpoint (`/` between folders).
    pub files: BTreeMap<String, FileRecord>,
}

impl Manifest {
    /// The bytes of `manifest.json`.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes =
            serde_json::to_vec_pretty(self).expect("strings and integers always have a JSON form");
        bytes.push(b'\n');
        bytes
    }

    /// Reads and checks the manifest at `path`.
    pub(crate) fn read(disk: &Disk, path: &Path) -> Result<Self, ReadError> {
        let found = file_size(disk, path)?;
        if found > MAX_MANIFEST_BYTES {
            return Err(ReadError::TooLarge { path: path.to_owned(), found, wanted: MAX_MANIFEST_BYTES });
        }
        let mut bytes = Vec::new();
        disk.open(path)?.take(MAX_MANIFEST_BYTES).read_to_end(&mut bytes)?;
        Self::parse(path, &bytes)
    }

    /// The manifest in `bytes`, which came from `path`.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ReadError> {
        let json = |source| ReadError::Json { path: path.to_owned(), source };
        // The version comes first: a newer manifest may well have keys that this build would call unknown.
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(json)?;
        if let Some(found) = value.get("format").and_then(serde_json::Value::as_u64)
            && found != FORMAT
        {
            return Err(ReadError::Format { path: path.to_owned(), found, wanted: FORMAT });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(json)?;
        // A flipped bit can hide where JSON does not look, such as in white space or a repeated key.
        if manifest.to_bytes() != bytes {
            return Err(ReadError::ManifestChanged { path: path.to_owned() });
        }
        match manifest.files.keys().find(|name| !is_inside(name)) {
            Some(name) => Err(ReadError::Name { path: path.to_owned(), name: name.clone() }),
            None => Ok(manifest),
        }
    }
}

/// A checkpoint whose every file was found to be what the manifest says.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    path: PathBuf,
    manifest: Manifest,
}

impl Checkpoint {
    /// Reads the checkpoint in folder `path` and verifies the size and hash of every file.
    ///
    /// Files that the manifest does not list are ignored. Memory use is bounded by the manifest.
    ///
    /// # Errors
    ///
    /// If anything is missing, changed, truncated or of another format version.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        Self::open_on(&Disk::default(), path)
    }

    /// [`Checkpoint::open`] on `disk`.
    pub(crate) fn open_on(disk: &Disk, path: &Path) -> Result<Self, ReadError> {
        let manifest = Manifest::read(disk, &path.join(MANIFEST))?;
        for (name, wanted) in &manifest.files {
            verify(disk, &path.join(name), wanted)?;
        }
        Ok(Self { path: path.to_owned(), manifest })
    }

    /// The checkpoint that was just written to `path`, where every byte was compared on its way: its manifest is read, and its files
    /// are there with their sizes.
    pub(crate) fn just_written(disk: &Disk, path: &Path) -> Result<Self, ReadError> {
        let manifest = Manifest::read(disk, &path.join(MANIFEST))?;
        for (name, wanted) in &manifest.files {
            verify_size(disk, &path.join(name), wanted)?;
        }
        Ok(Self { path: path.to_owned(), manifest })
    }

    /// The same checkpoint after its folder was renamed.
    pub(crate) fn moved_to(self, path: PathBuf) -> Self {
        Self { path, ..self }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of optimizer steps behind it.
    pub fn step(&self) -> u64 {
        self.manifest.step
    }

    /// What it consists of.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Reads JSON file `name`.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is not a `T`.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, ReadError> {
        let path = self.path.join(name);
        let bytes = fs::read(&path).map_err(|error| missing_or_io(&path, error))?;
        serde_json::from_slice(&bytes).map_err(|source| ReadError::Json { path, source })
    }

    /// Opens safetensors file `name`.
    ///
    /// # Errors
    ///
    /// As [`read_safetensors`].
    pub fn read_tensors(&self, name: &str) -> Result<TensorFile, ReadError> {
        read_safetensors(&self.path.join(name))
    }
}

/// Compares one file with its record; the size first, because that is cheap.
pub(crate) fn verify(disk: &Disk, path: &Path, wanted: &FileRecord) -> Result<(), ReadError> {
    verify_size(disk, path, wanted)?;
    let found = durable::measure(disk, path)?.blake3;
    if found != wanted.blake3 {
        return Err(ReadError::Hash { path: path.to_owned(), found, wanted: wanted.blake3.clone() });
    }
    Ok(())
}

fn verify_size(disk: &Disk, path: &Path, wanted: &FileRecord) -> Result<(), ReadError> {
    let found = file_size(disk, path)?;
    if found == wanted.bytes {
        Ok(())
    } else {
        Err(ReadError::Size { path: path.to_owned(), found, wanted: wanted.bytes })
    }
}

/// Bytes of the file `path`. What has no end, such as a device, or waits for someone, such as a pipe, is not opened.
pub(crate) fn file_size(disk: &Disk, path: &Path) -> Result<u64, ReadError> {
    let found = disk.metadata(path).map_err(|error| missing_or_io(path, error))?;
    if found.is_file() { Ok(found.len()) } else { Err(ReadError::NotAFile { path: path.to_owned() }) }
}

/// Whether `name` stays inside the folder it is joined to.
pub(crate) fn is_inside(name: &str) -> bool {
    !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Absence is a finding of its own; everything else is the disk's fault.
pub(crate) fn missing_or_io(path: &Path, error: io::Error) -> ReadError {
    match error.kind() {
        io::ErrorKind::NotFound => ReadError::Missing { path: path.to_owned() },
        _ => ReadError::Io(error),
    }
}
