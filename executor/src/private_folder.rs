//! A folder that belongs to the user alone: what lies in it is trusted.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use fs_err as fs;

use crate::InfraError;

/// Makes a folder that only this user may enter, unless it is there.
///
/// # Errors
///
/// If it cannot be made, belongs to somebody else, or is open to others.
pub(crate) fn make(folder: &Path) -> Result<(), InfraError> {
    let failed = |source| InfraError::Cache { path: folder.to_path_buf(), source: Arc::new(source) };
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    let metadata = fs::symlink_metadata(folder).map_err(failed)?;
    let wanted_owner = effective_user();
    let mode = metadata.permissions().mode() & 0o7777;
    if !metadata.is_dir() || metadata.uid() != wanted_owner || mode & 0o077 != 0 {
        return Err(InfraError::UnsafeCache {
            path: folder.to_path_buf(),
            owner: metadata.uid(),
            wanted_owner,
            mode,
        });
    }
    Ok(())
}

#[expect(unsafe_code, reason = "the standard library does not tell who the process runs as")]
fn effective_user() -> u32 {
    // SAFETY: `geteuid` has no preconditions and cannot fail.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_others_can_enter_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
        let message = make(&open).unwrap_err().to_string();
        assert!(message.contains("mode 755, wanted owner") && message.ends_with("mode 700"), "{message}");
        let own = folder.path().join("parent/own");
        make(&own).unwrap();
        assert_eq!(std::fs::metadata(&own).unwrap().permissions().mode() & 0o777, 0o700);
        make(&own).unwrap();
    }
}
