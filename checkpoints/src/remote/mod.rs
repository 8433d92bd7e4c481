//! Checkpoints in object stores: S3, Google Cloud Storage, Azure, WebDAV, and folders of this machine.
//!
//! Objects are called as files are: `PREFIX/checkpoints/step-N/NAME`. A store has no folders and renames nothing, so that a manifest
//! is what makes a checkpoint: it is written last and deleted first, and a step without one is not there. Every file is hashed on its
//! way, in both directions.

mod address;
mod connector;
mod error;
mod transfer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures_util::TryStreamExt;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::{Builder, Runtime};

use address::Address;
pub use error::RemoteError;

use crate::disk::Disk;
use crate::error::WriteError;
use crate::manifest::{Checkpoint, FileRecord, MANIFEST, Manifest};
use crate::retention::{Action, Retention, plan};
use crate::store::{Store, parse_step};

/// Folder of the checkpoints below the prefix: that of a run folder.
const CHECKPOINTS: &str = "checkpoints";

/// A folder in an object store. Calls wait until they are done; each request is tried up to ten times more where that could help, for
/// three minutes at most.
pub struct Remote {
    runtime: Runtime,
    store: Arc<dyn ObjectStore>,
    address: Address,
    url: String,
    disk: Disk,
}

impl Remote {
    /// Whether `url` is the address of a store. Nothing is sent.
    ///
    /// # Errors
    ///
    /// [`RemoteError::Address`], with what is wrong.
    pub fn check(url: &str) -> Result<(), RemoteError> {
        Address::parse(url).map(drop)
    }

    /// The folder at `url`; credentials and endpoints come from the environment, by the names that the stores' own tools know
    /// (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_NAME`, …). Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// If the address is none, or something is missing in the environment.
    pub fn open(url: &str) -> Result<Remote, RemoteError> {
        let address = Address::parse(url)?;
        let (url, variables) = (url.trim_end_matches('/').to_owned(), address.credentials());
        let store = address.open();
        let store = store.map_err(|source| RemoteError::Store { url: url.clone(), variables, source })?;
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(8).build()?;
        Ok(Remote { runtime, store, address, url, disk: Disk::default() })
    }

    /// Steps of all checkpoints that are there, in ascending order.
    ///
    /// # Errors
    ///
    /// If the store refuses.
    pub fn steps(&self) -> Result<Vec<u64>, RemoteError> {
        let objects = self.objects()?;
        Ok(objects
            .into_iter()
            .filter(|(_, objects)| objects.manifest.is_some())
            .map(|(step, _)| step)
            .collect())
    }

    /// Every object below the folder of a step, by step.
    fn objects(&self) -> Result<BTreeMap<u64, Objects>, RemoteError> {
        let folder = self.key(CHECKPOINTS);
        let listed = self.runtime.block_on(self.store.list(Some(&folder)).try_collect::<Vec<_>>());
        let listed = match listed {
            // A folder that nobody has made has nothing in it.
            Err(object_store::Error::NotFound { .. }) if self.address.has_folders() => Vec::new(),
            listed => listed.map_err(|source| self.failed(CHECKPOINTS, source))?,
        };
        let mut steps: BTreeMap<u64, Objects> = BTreeMap::new();
        for object in listed {
            let Some((step, is_manifest)) = place(&folder, &object.location) else { continue };
            let objects = steps.entry(step).or_default();
            if is_manifest {
                objects.manifest = Some(object.location);
            } else {
                objects.others.push(object.location);
            }
        }
        Ok(steps)
    }

    /// The manifest of the checkpoint of `step`; none if that is not there.
    ///
    /// # Errors
    ///
    /// If the store refuses, or what it has is no manifest.
    pub fn manifest(&self, step: u64) -> Result<Option<Manifest>, RemoteError> {
        let name = object(step, MANIFEST);
        match self.get(&name)? {
            Some(bytes) => Ok(Some(Manifest::parse(Path::new(&self.at(&name)), &bytes)?)),
            None => Ok(None),
        }
    }

    /// Copies the checkpoint in `folder`, whose manifest is `manifest`, into the store, unless it is there already; says whether it was
    /// copied. Another checkpoint of the same step is replaced. `beside` are files by what they are called below the prefix: they go
    /// before the manifest, and those that do not exist are left out.
    ///
    /// # Errors
    ///
    /// If the store or the disk refuses, or a file is no longer what the manifest says. The checkpoint is then not there.
    pub fn push(
        &self,
        folder: &Path,
        manifest: &Manifest,
        beside: &[(&Path, &str)],
    ) -> Result<bool, RemoteError> {
        let step = manifest.step;
        let there = match self.manifest(step) {
            // One that cannot be read is replaced like any other.
            Err(RemoteError::Manifest(_)) => true,
            Ok(Some(there)) if there == *manifest => return Ok(false),
            Ok(there) => there.is_some(),
            Err(error) => return Err(error),
        };
        if there {
            // What is overwritten piece by piece must not look whole meanwhile.
            self.delete(&self.key(&object(step, MANIFEST)))?;
        }
        for (name, record) in &manifest.files {
            self.send(&folder.join(name), &object(step, name), record)?;
        }
        for (path, name) in beside {
            if let Some(content) = self.content(path)? {
                self.put(name, content)?;
            }
        }
        self.put(&object(step, MANIFEST), manifest.to_bytes())?;
        Ok(true)
    }

    /// The manifest of the checkpoint of `step`, or of the newest one if none is said.
    ///
    /// # Errors
    ///
    /// If the store refuses, or it is not there.
    pub fn find(&self, step: Option<u64>) -> Result<Manifest, RemoteError> {
        let steps = self.steps()?;
        let Some(newest) = steps.last() else { return Err(RemoteError::Empty { url: self.url.clone() }) };
        let step = step.unwrap_or(*newest);
        self.manifest(step)?.ok_or_else(|| {
            let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
            RemoteError::NoStep { url: self.url.clone(), step, steps: steps.join(", ") }
        })
    }

    /// Copies the checkpoint with `manifest` from the store into `store`, where it is whole or absent.
    ///
    /// # Errors
    ///
    /// If the store or the disk refuses, or a file is not what the manifest says.
    pub fn pull(&self, manifest: &Manifest, store: &Store) -> Result<Checkpoint, RemoteError> {
        let step = manifest.step;
        if let Ok(there) = store.checkpoint(step)
            && there.manifest() == manifest
        {
            return Ok(there);
        }
        let fetched = store.write(step, |draft| {
            draft.needs_room("", manifest.bytes())?;
            manifest.files.iter().try_for_each(|(name, record)| {
                let object = object(step, name);
                let found = draft.file(name, |writer| self.fetch(&object, record.bytes, writer))?;
                compare(&self.at(&object), found, record)
            })
        });
        fetched.map_err(|error| match error {
            // What the store or the network did is not the disk's fault.
            WriteError::Fill { source, step } => match source.downcast::<RemoteError>() {
                Ok(cause) => *cause,
                Err(source) => WriteError::Fill { source, step }.into(),
            },
            error => error.into(),
        })
    }

    /// Deletes the checkpoints that `retention` does not keep, now that the one of step `written` is there, and what was left of those
    /// that were never finished. Returns their steps. Nobody else may be writing there.
    ///
    /// # Errors
    ///
    /// If the store refuses.
    pub fn retain(&self, written: u64, retention: &Retention) -> Result<Vec<u64>, RemoteError> {
        let objects = self.objects()?;
        let is_whole = |step: &u64| objects.get(step).is_some_and(|objects| objects.manifest.is_some());
        let whole: Vec<u64> = objects.keys().copied().filter(is_whole).collect();
        let unwanted = plan(&whole, written, retention).into_iter().filter_map(|action| match action {
            Action::Delete(step) => Some(step),
            Action::Keep(_) => None,
        });
        let unfinished = objects.keys().copied().filter(|step| !is_whole(step));
        let doomed: Vec<u64> = unwanted.chain(unfinished).collect();
        for step in &doomed {
            let Some(Objects { manifest, others }) = objects.get(step) else { continue };
            // From the moment that its manifest is gone, it is no checkpoint any more.
            manifest.iter().chain(others).try_for_each(|key| self.delete(key))?;
        }
        Ok(doomed)
    }

    /// The object `name` below the prefix, which has to be small; none if it is not there.
    ///
    /// # Errors
    ///
    /// If the store refuses.
    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>, RemoteError> {
        let key = self.key(name);
        let got = self.runtime.block_on(async { self.store.get(&key).await?.bytes().await });
        match got {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.failed(name, source)),
        }
    }

    /// Writes `content` to the object `name` below the prefix.
    fn put(&self, name: &str, content: Vec<u8>) -> Result<(), RemoteError> {
        let put = self.runtime.block_on(self.store.put(&self.key(name), content.into()));
        put.map(drop).map_err(|source| self.failed(name, source))
    }

    fn delete(&self, key: &Key) -> Result<(), RemoteError> {
        match self.runtime.block_on(self.store.delete(key)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(self.failed(key.as_ref(), source)),
        }
    }

    /// The key of `name`, which is as seen from the prefix.
    fn key(&self, name: &str) -> Key {
        let names = name.split('/').filter(|part| !part.is_empty());
        names.fold(self.address.prefix.clone(), |key, part| key.join(part))
    }

    /// `name` as a user knows it.
    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.url)
    }

    fn failed(&self, name: &str, source: object_store::Error) -> RemoteError {
        let (url, variables) = (self.at(name), self.address.credentials());
        if is_refused(&source) {
            RemoteError::Credentials { url, variables, source }
        } else {
            RemoteError::Store { url, variables, source }
        }
    }
}

/// Whether a store does not know, or does not trust, whoever asked. Where a listing is refused, only the text says so.
fn is_refused(error: &object_store::Error) -> bool {
    use object_store::Error::{PermissionDenied, Unauthenticated};
    let mut causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let says = |text: String| text.contains("403 Forbidden") || text.contains("401 Unauthorized");
    matches!(error, PermissionDenied { .. } | Unauthenticated { .. })
        || causes.any(|cause| says(cause.to_string()))
}

/// What a store has below the folder of a step.
#[derive(Debug, Default)]
struct Objects {
    manifest: Option<Key>,
    others: Vec<Key>,
}

/// What the file `name` of the checkpoint of `step` is called.
fn object(step: u64, name: &str) -> String {
    format!("{CHECKPOINTS}/step-{step:08}/{name}")
}

/// The step that `location`, in `folder`, belongs to, and whether it is the manifest.
fn place(folder: &Key, location: &Key) -> Option<(u64, bool)> {
    let mut parts = location.prefix_match(folder)?;
    let step = parse_step(parts.next()?.as_ref())?;
    let name = parts.next()?;
    Some((step, name.as_ref() == MANIFEST && parts.next().is_none()))
}

/// Compares what was hashed with its record.
fn compare(name: &str, found: &FileRecord, wanted: &FileRecord) -> Result<(), RemoteError> {
    if found == wanted {
        return Ok(());
    }
    let (blake3, bytes) = (found.blake3.clone(), found.bytes);
    Err(RemoteError::Changed { name: name.to_owned(), found: blake3, bytes, wanted: wanted.clone() })
}

#[cfg(test)]
mod tests;
