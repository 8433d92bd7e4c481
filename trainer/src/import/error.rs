//! Why a GGUF file could not be imported: the list of lies a file can tell.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a GGUF file could not be turned into a Hugging Face folder.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The GGUF file could not be opened or read.
    #[error("cannot read `{}`", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file does not begin with GGUF's four letters.
    #[error("`{}` is not a GGUF file: it begins with {found}, wanted `GGUF`", file.display())]
    NotGguf {
        /// The file.
        file: PathBuf,
        /// Its first bytes.
        found: String,
    },
    /// The header is cut short, contradicts itself, or holds something that the library does not know.
    #[error("the header of `{}` is damaged or of an unknown kind: {found}", file.display())]
    Header {
        /// The file.
        file: PathBuf,
        /// What the GGUF library says.
        found: String,
    },
    /// A metadata key that is needed is absent.
    #[error("`{}` has no metadata key `{key}`, wanted {wanted}", file.display())]
    MissingKey {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
        /// What it should hold.
        wanted: &'static str,
    },
    /// A metadata key holds something that cannot be.
    #[error("`{}`: metadata key `{key}` is {found}, wanted {wanted}", file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
        /// What it holds.
        found: String,
        /// What it should hold.
        wanted: String,
    },
    /// The file asks for something that is not implemented.
    #[error("`{}`: {key} `{found}` is not supported, wanted one of {wanted}", file.display())]
    Unsupported {
        /// The file.
        file: PathBuf,
        /// The metadata key, or what else asks for it.
        key: String,
        /// What is asked for.
        found: String,
        /// What is supported.
        wanted: String,
    },
    /// A tensor that the architecture needs is not in the file.
    #[error("`{}` has no tensor `{name}`", file.display())]
    MissingTensor {
        /// The file.
        file: PathBuf,
        /// The tensor, by its GGUF name.
        name: String,
    },
    /// A tensor has another shape than the metadata implies.
    #[error("`{}`: tensor `{name}` has shape {found:?}, its metadata need {wanted:?}", file.display())]
    Shape {
        /// The file.
        file: PathBuf,
        /// The tensor, by its GGUF name.
        name: String,
        /// Its shape, outermost dimension first.
        found: Vec<usize>,
        /// The shape that the metadata imply.
        wanted: Vec<usize>,
    },
    /// A tensor's bytes would lie beyond the end of the file.
    #[error("`{}` is cut short: it has {found} bytes, tensor `{name}` needs {wanted}", file.display())]
    Truncated {
        /// The file.
        file: PathBuf,
        /// The tensor, by its GGUF name.
        name: String,
        /// Bytes in the file.
        found: u64,
        /// Bytes that the tensor needs the file to have.
        wanted: u64,
    },
    /// The file has tensors that the architecture has no place for: dropping them would change the model.
    #[error(
        "`{}` has {count} tensors that a `{architecture}` model has no place for, such as `{name}`",
        file.display()
    )]
    UnknownTensors {
        /// The file.
        file: PathBuf,
        /// How many.
        count: usize,
        /// The first by name.
        name: String,
        /// What the file says it is.
        architecture: String,
    },
    /// The vocabulary or the merges do not make a tokenizer.
    #[error("`{}`: {what} is {found}, wanted {wanted}", file.display())]
    Vocabulary {
        /// The file.
        file: PathBuf,
        /// The entry, such as `tokenizer.ggml.merges[17]`.
        what: String,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// The tokenizer library refused what was built.
    #[error("the tokenizer of `{}` cannot be built: {message}", file.display())]
    Tokenizer {
        /// The GGUF file.
        file: PathBuf,
        /// What the library says.
        message: String,
    },
    /// The folder holds something that an import would not have put there.
    #[error(
        "`{}` holds `{found}`, wanted a new or empty folder, or one that was made by an import",
        folder.display()
    )]
    Occupied {
        /// The folder.
        folder: PathBuf,
        /// The first entry that is in the way.
        found: String,
    },
    /// A file of the folder could not be written.
    #[error("cannot write into `{}`", folder.display())]
    Write {
        /// The folder.
        folder: PathBuf,
        /// Why; the message names the file.
        source: rltrain_checkpoints::WriteError,
    },
}

impl ImportError {
    pub(super) fn read(file: &Path) -> impl FnOnce(io::Error) -> ImportError {
        move |source| ImportError::Read { file: file.to_owned(), source }
    }

    pub(super) fn write<E: Into<rltrain_checkpoints::WriteError>>(
        folder: &Path,
    ) -> impl FnOnce(E) -> ImportError {
        move |source| ImportError::Write { folder: folder.to_owned(), source: source.into() }
    }

    /// Whether the user can mend it by giving another file or folder (exit code 2) rather than by mending the
    /// disk (exit code 1).
    pub fn is_bad_input(&self) -> bool {
        match self {
            ImportError::Read { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory
            ),
            ImportError::Write { .. } => false,
            _ => true,
        }
    }

    /// What to do about it; never a repetition of the message.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            ImportError::Read { .. } => Some("give the path of a GGUF file that exists and can be read"),
            ImportError::NotGguf { .. } => {
                Some("a Hugging Face folder needs no import; anything else has to be converted to GGUF first")
            }
            ImportError::Header { .. } | ImportError::Truncated { .. } => {
                Some("fetch the file again and compare its sha256 with the publisher's")
            }
            ImportError::MissingKey { .. }
            | ImportError::Key { .. }
            | ImportError::MissingTensor { .. }
            | ImportError::Shape { .. }
            | ImportError::Vocabulary { .. }
            | ImportError::Tokenizer { .. } => {
                Some("convert the model to GGUF again with a current llama.cpp")
            }
            ImportError::Unsupported { .. } | ImportError::UnknownTensors { .. } => {
                Some("use the model's original Hugging Face folder instead of its GGUF file")
            }
            ImportError::Occupied { .. } => Some("name another folder, or empty this one"),
            ImportError::Write { .. } => None,
        }
    }
}
