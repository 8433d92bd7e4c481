//! The folder through which weights get to the servers.

use std::io;
use std::path::{Path, PathBuf};

use tch::Kind;

use super::error::FleetError;
use crate::policy::{MAX_SHARD_BYTES, Policy};

/// Weights that servers can load.
pub(super) struct Published {
    /// The number of rollouts that they have learnt from.
    pub(super) version: u64,
    /// What servers are to call them.
    pub(super) label: String,
    /// Their folder, absolute.
    pub(super) folder: PathBuf,
}

impl Published {
    /// Writes the weights into `folder`/VERSION, adapters merged, and removes the versions before. What has that name is whole. Where the
    /// policy computes in f32 they are as they are trained, and not rounded to the dtype that they came in.
    pub(super) fn write(
        folder: &Path,
        nonce: u64,
        policy: &Policy,
        version: u64,
    ) -> Result<Published, FleetError> {
        let failed = |source: io::Error| FleetError::Folder { path: folder.to_owned(), source };
        fs_err::create_dir_all(folder).map_err(failed)?;
        let folder = &fs_err::canonicalize(folder).map_err(failed)?;
        let (making, place) = (folder.join("making"), folder.join(version.to_string()));
        remove(&making).map_err(failed)?;
        let kind = (policy.compute == Kind::Float).then_some(Kind::Float);
        let written = policy.export_as(&making, MAX_SHARD_BYTES, kind);
        written.map_err(|source| FleetError::Write { path: folder.clone(), source })?;
        // Of a run that ended here: the same version, or another run's.
        remove(&place).map_err(failed)?;
        fs_err::rename(&making, &place).map_err(failed)?;
        for entry in fs_err::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let is_version = path.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok()).is_some();
            if is_version && path != place {
                remove(&path).map_err(failed)?;
            }
        }
        Ok(Published { version, label: format!("{nonce:016x}-{version}"), folder: place })
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs_err::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
