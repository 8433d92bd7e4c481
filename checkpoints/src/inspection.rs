//! Looking at checkpoints without taking one up.

use std::path::Path;

use crate::disk::Disk;
use crate::error::ReadError;
use crate::manifest::{Checkpoint, MANIFEST, Manifest, verify};

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
        Manifest::read(&Disk::default(), &folder.join(MANIFEST))
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
    faults_on(&Disk::default(), folder)
}

/// [`faults`] on `disk`.
pub(crate) fn faults_on(disk: &Disk, folder: &Path) -> Vec<ReadError> {
    let manifest = match Manifest::read(disk, &folder.join(MANIFEST)) {
        Ok(manifest) => manifest,
        Err(error) => return vec![error],
    };
    let files = manifest.files.iter();
    files.filter_map(|(name, wanted)| verify(disk, &folder.join(name), wanted).err()).collect()
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
