//! Files on their way into a store and out of it: in parts, several at a time, and hashed.

use std::io::{self, Read, Write};
use std::path::Path;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use memmap2::Mmap;
use object_store::{ObjectStoreExt, WriteMultipart};

use super::{Remote, RemoteError, compare};
use crate::manifest::FileRecord;

/// Bytes that are sent or fetched at a time: larger files go in parts of this size, which all stores take. At most 10,000 parts make
/// a file of S3, so that one of 160 GB is the largest; shards are smaller by far. Small in this crate's tests, so that a file takes
/// several.
pub(super) const PART: u64 = if cfg!(test) { 1 << 10 } else { 16 << 20 };

/// Parts that are on their way at a time, each of which is in memory: one connection alone is slower than most networks.
const PARTS_AT_ONCE: usize = 4;

impl Remote {
    /// Sends the file `from`, which has to be what `record` says.
    pub(super) fn send(&self, from: &Path, name: &str, record: &FileRecord) -> Result<(), RemoteError> {
        if record.bytes <= PART {
            let content = self.content(from)?.ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, format!("`{}` is missing", from.display()))
            })?;
            compare_with(from, &blake3::hash(&content), content.len() as u64, record)?;
            return self.put(name, content);
        }
        if self.address.takes_parts() {
            self.runtime.block_on(self.send_in_parts(from, name, record))
        } else {
            self.send_whole(from, name, record)
        }
    }

    async fn send_in_parts(&self, from: &Path, name: &str, record: &FileRecord) -> Result<(), RemoteError> {
        let failed = |source| self.failed(name, source);
        let mut file = self.disk.open(from)?;
        let upload = self.store.put_multipart(&self.key(name)).await.map_err(failed)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART as usize);
        let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
        let sent = loop {
            let mut part = Vec::new();
            match Read::by_ref(&mut file).take(PART).read_to_end(&mut part) {
                Ok(0) => break compare_with(from, &hasher.finalize(), bytes, record),
                Ok(count) => bytes += count as u64,
                Err(error) => break Err(error.into()),
            }
            hasher.update(&part);
            if let Err(source) = upload.wait_for_capacity(PARTS_AT_ONCE).await {
                break Err(failed(source));
            }
            upload.put(part.into());
        };
        if let Err(error) = sent {
            // The first error is the one to report; stores also clear away what was never completed.
            let _ = upload.abort().await;
            return Err(error);
        }
        upload.finish().await.map(drop).map_err(failed)
    }

    /// As one object: WebDAV has no parts.
    fn send_whole(&self, from: &Path, name: &str, record: &FileRecord) -> Result<(), RemoteError> {
        let file = fs_err::File::open(from)?;
        #[expect(unsafe_code, reason = "the file need not fit into memory")]
        // SAFETY: a file of a checkpoint is never written again; deleting it leaves the mapping as it is.
        let content = unsafe { Mmap::map(file.file()) }?;
        compare_with(from, &blake3::hash(&content), content.len() as u64, record)?;
        let key = self.key(name);
        let put = self.store.put(&key, Bytes::from_owner(content).into());
        self.runtime.block_on(put).map(drop).map_err(|source| self.failed(name, source))
    }

    /// Fetches an object of `size` bytes into `writer`.
    pub(super) fn fetch(&self, name: &str, size: u64, writer: &mut dyn Write) -> Result<(), RemoteError> {
        let key = self.key(name);
        let parts = (0..size.div_ceil(PART)).map(|part| part * PART..size.min((part + 1) * PART));
        let fetched = parts.map(|range| self.store.get_range(&key, range));
        self.runtime.block_on(async {
            let mut fetched = stream::iter(fetched).buffered(PARTS_AT_ONCE);
            while let Some(part) = fetched.next().await {
                writer.write_all(&part.map_err(|source| self.failed(name, source))?)?;
            }
            Ok(())
        })
    }

    /// What is in the file `path`; none if there is no such file.
    pub(super) fn content(&self, path: &Path) -> Result<Option<Vec<u8>>, RemoteError> {
        let mut content = Vec::new();
        match self.disk.open(path) {
            Ok(mut file) => file.read_to_end(&mut content)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(content))
    }
}

/// Compares a file with its record.
fn compare_with(
    path: &Path,
    hash: &blake3::Hash,
    bytes: u64,
    wanted: &FileRecord,
) -> Result<(), RemoteError> {
    let found = FileRecord { bytes, blake3: hash.to_hex().to_string() };
    compare(&path.display().to_string(), &found, wanted)
}
