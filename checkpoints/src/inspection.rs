//! Looking at checkpoints without taking one up.

use std::path::Path;

use fs_err as fs;

use crate::error::ReadError;
use crate::manifest::{Checkpoint, FORMAT, FileRecord, MANIFEST, Manifest, is_inside, missing_or_io};

impl Checkpoint {
    /// Names the checkpoint, every byte of it: the BLAKE3 hash, in hexadecimal, of its manifest, which has the hash of every
    /// other file.
    pub fn blake3(&self) -> String {
        self.manifest().blake3()
    }
}

impl Manifest {
    /// Reads the manifest of the checkpoint in `folder`, and looks at no other file: cheap, and no promise that they are whole.
    ///
    /// # Errors
    ///
    /// If it is missing, not a manifest, of another format version, or lists files that are not inside the folder.
    pub fn of(folder: &Path) -> Result<Manifest, ReadError> {
        let path = folder.join(MANIFEST);
        let bytes = fs::read(&path).map_err(|error| missing_or_io(&path, error))?;
        Manifest::parse(&path, &bytes)
    }

    /// The manifest in `bytes`, which came from `path`.
    ///
    /// # Errors
    ///
    /// As [`Manifest::of`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Manifest, ReadError> {
        let json = |source| ReadError::Json { path: path.to_owned(), source };
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(json)?;
        if let Some(found) = value.get("format").and_then(serde_json::Value::as_u64)
            && found != FORMAT
        {
            return Err(ReadError::Format { path: path.to_owned(), found, wanted: FORMAT });
        }
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(json)?;
        if manifest.to_bytes() != bytes {
            return Err(ReadError::ManifestChanged { path: path.to_owned() });
        }
        match manifest.files.keys().find(|name| !is_inside(name)) {
            Some(name) => Err(ReadError::Name { path: path.to_owned(), name: name.clone() }),
            None => Ok(manifest),
        }
    }

    /// As [`Checkpoint::blake3`].
    pub fn blake3(&self) -> String {
        blake3::hash(&self.to_bytes()).to_hex().to_string()
    }

    /// Size of all files together, the manifest left out.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }
}

/// Everything that is wrong with the checkpoint in `folder`: every file is hashed, also those after the first fault. Nothing if
/// it is whole.
pub fn faults(folder: &Path) -> Vec<ReadError> {
    let manifest = match Manifest::of(folder) {
        Ok(manifest) => manifest,
        Err(error) => return vec![error],
    };
    manifest.files.iter().filter_map(|(name, wanted)| compare(&folder.join(name), wanted).err()).collect()
}

/// Compares one file with its record; the size first, because that is cheap.
fn compare(path: &Path, wanted: &FileRecord) -> Result<(), ReadError> {
    let mut file = fs::File::open(path).map_err(|error| missing_or_io(path, error))?;
    let found = file.metadata()?.len();
    if found != wanted.bytes {
        return Err(ReadError::Size { path: path.to_owned(), found, wanted: wanted.bytes });
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&mut file)?;
    let found = hasher.finalize().to_hex().to_string();
    if found != wanted.blake3 {
        return Err(ReadError::Hash { path: path.to_owned(), found, wanted: wanted.blake3.clone() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Store, WriteError};

    #[test]
    fn every_broken_file_is_named_and_the_hash_covers_every_byte() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let write = |content: &'static [u8]| {
            store
                .write(3, |draft| {
                    draft.bytes("a/one", content)?;
                    draft.bytes("two", b"2")?;
                    draft.bytes("three", b"3")?;
                    Ok::<_, WriteError>(())
                })
                .unwrap()
        };
        let first = write(b"1");
        assert_eq!(faults(first.path()).len(), 0);
        let manifest = Manifest::of(first.path()).unwrap();
        assert_eq!((manifest.blake3(), manifest.bytes()), (first.blake3(), 3));
        assert_ne!(write(b"0").blake3(), first.blake3());

        std::fs::write(first.path().join("a/one"), b"x").unwrap();
        std::fs::write(first.path().join("two"), b"22").unwrap();
        std::fs::remove_file(first.path().join("three")).unwrap();
        let found: Vec<String> = faults(first.path()).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        for (text, what) in
            [(&found[0], "has BLAKE3 hash"), (&found[1], "is missing"), (&found[2], "has 2 bytes")]
        {
            assert!(text.contains(what), "{text}");
        }
    }
}
