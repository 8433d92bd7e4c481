//! Why a checkpoint could not be written or read.

use std::io;
use std::path::PathBuf;

use safetensors::SafeTensorError;
use thiserror::Error;

/// Why a checkpoint could not be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The disk refused; the message names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A file does not fit on its file system.
    #[error(
        "`{}` and what a run writes beside it need {needed} bytes, and {free} are free; make room, or have fewer checkpoints \
         kept: `checkpoint.keep_last`, `checkpoint.keep_every`",
        path.display()
    )]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// Bytes that have to be free, a reserve for everything else included.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The checkpoint is whole, durable and in place; what comes after that failed.
    #[error(
        "the checkpoint of step {step} is whole, but `latest` or older checkpoints could not be brought up to date"
    )]
    Tidy {
        /// The step that was written.
        step: u64,
        /// What the disk said.
        source: io::Error,
    },
    /// A value has no JSON form.
    #[error("cannot express `{name}` as JSON")]
    Json {
        /// The file inside the checkpoint.
        name: String,
        /// What serde_json said.
        source: serde_json::Error,
    },
    /// A file name is absolute, climbs out of the checkpoint, is reserved, or was already written.
    #[error("`{name}` cannot name a file of a checkpoint: {reason}")]
    Name {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A tensor's bytes do not fill its shape.
    #[error("tensor `{tensor}` has {found} bytes, its shape and dtype need {wanted}")]
    TensorSize {
        /// The tensor.
        tensor: String,
        /// Bytes it has.
        found: usize,
        /// Bytes its header entry promises.
        wanted: usize,
    },
    /// Two tensors of one file share a name.
    #[error("tensor `{tensor}` is given twice")]
    TensorTwice {
        /// The tensor.
        tensor: String,
    },
    /// The caller's closure gave up; nothing was kept.
    #[error("cannot fill the checkpoint of step {step}")]
    Fill {
        /// The step that was being written.
        step: u64,
        /// What the closure returned.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What the disk holds is not what was written to it.
    #[error("the checkpoint of step {step} did not read back as written")]
    Unverified {
        /// The step that was being written.
        step: u64,
        /// The first difference.
        source: ReadError,
    },
}

/// Why a checkpoint, or a file of one, could not be read: the list of lies a file can tell.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The disk refused; the message names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A file that the manifest lists is not there.
    #[error("`{}` is missing", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A file is shorter or longer than promised.
    #[error("`{}` has {found} bytes, wanted {wanted}", path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// Bytes on disk.
        found: u64,
        /// Bytes promised by the manifest or the header.
        wanted: u64,
    },
    /// A file's content changed.
    #[error("`{}` has BLAKE3 hash {found}, wanted {wanted}", path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// Hash of what is on disk, in hexadecimal.
        found: String,
        /// Hash in the manifest.
        wanted: String,
    },
    /// A file is not the JSON it should be.
    #[error("`{}` is not the expected JSON", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, column and cause.
        source: serde_json::Error,
    },
    /// The manifest was written by a build this one does not understand.
    #[error("`{}` has format {found}, this build reads format {wanted}", path.display())]
    Format {
        /// The manifest.
        path: PathBuf,
        /// Its format version.
        found: u64,
        /// The version this build reads.
        wanted: u64,
    },
    /// The manifest is not byte for byte what its content would be written as.
    #[error("`{}` was changed after it was written", path.display())]
    ManifestChanged {
        /// The manifest.
        path: PathBuf,
    },
    /// The manifest belongs to another step than its folder.
    #[error("`{}` is of step {found}, wanted step {wanted}", path.display())]
    Step {
        /// The manifest.
        path: PathBuf,
        /// Step in the manifest.
        found: u64,
        /// Step in the folder's name.
        wanted: u64,
    },
    /// The manifest lists a file outside its folder.
    #[error("`{}` lists `{name}`, which is not a file of the checkpoint", path.display())]
    Name {
        /// The manifest.
        path: PathBuf,
        /// The name it lists.
        name: String,
    },
    /// A safetensors header does not describe valid tensors.
    #[error("`{}` has an invalid safetensors header", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What safetensors said.
        source: SafeTensorError,
    },
    /// A safetensors header claims an absurd length, which would have to be held in memory.
    #[error("`{}` claims a header of {found} bytes, at most {wanted} are read", path.display())]
    HeaderTooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes claimed.
        found: u64,
        /// Most bytes accepted.
        wanted: u64,
    },
    /// What should be a file is a folder, a device or a pipe.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// What it is.
        path: PathBuf,
    },
    /// A manifest is too large to be one; it would have to be held in memory.
    #[error("`{}` has {found} bytes, at most {wanted} are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes on disk.
        found: u64,
        /// Most bytes accepted.
        wanted: u64,
    },
    /// A tensor is not in the file.
    #[error("`{}` has no tensor `{name}`", path.display())]
    NoTensor {
        /// The file.
        path: PathBuf,
        /// The tensor asked for.
        name: String,
    },
    /// There are checkpoints, and every one of them is damaged.
    #[error("none of the {} checkpoints in `{}` is whole{}", rejected.len(), dir.display(), list(rejected))]
    NoneWhole {
        /// The folder of checkpoints.
        dir: PathBuf,
        /// Why each was refused, newest first.
        rejected: Vec<Rejected>,
    },
}

/// A checkpoint that was passed over, and why.
#[derive(Debug)]
pub struct Rejected {
    /// Its step.
    pub step: u64,
    /// Its folder.
    pub path: PathBuf,
    /// The first thing found wrong.
    pub reason: ReadError,
}

/// The reasons, one per line.
fn list(rejected: &[Rejected]) -> String {
    rejected.iter().map(|r| format!("\n  step {}: {}", r.step, r.reason)).collect()
}
