//! Bytes on disk: checkpoints that are whole or absent.
//!
//! A [`Store`] is a folder of checkpoints. Each is written aside, read back and compared with what was meant to be written, synced,
//! and only then renamed into place, so that a process killed at any moment leaves every older checkpoint
//! usable:
//!
//! ```text
//! checkpoints/
//!   latest                     one line: the name of the newest checkpoint
//!   step-00000008/
//!     manifest.json            format version, step, size and BLAKE3 hash of every other file
//!     model/model.safetensors  whatever the caller put there
//!   step-00000012.partial/     being written; removed by the next `Store::open`
//! ```
//!
//! This crate knows files, not models: tensors come in through [`View`] and go out as bytes with a dtype and a shape.
//!
//! # Format versions
//!
//! The manifest carries [`FORMAT`]. A build reads its own format and refuses a newer one by name. The manifest admits no
//! unknown key, so adding one is a new format.

mod disk;
mod draft;
mod durable;
mod error;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod faults;
mod inspection;
mod lock;
mod manifest;
mod pruning;
mod remote;
mod retention;
mod store;
mod tensors;

pub use draft::{Draft, to_json};
pub use durable::replace_file;
pub use error::{ReadError, Rejected, WriteError};
pub use inspection::faults;
pub use lock::{LockError, Owner, RunLock};
pub use manifest::{Checkpoint, FORMAT, FileRecord, Manifest};
pub use remote::{Remote, RemoteError};
pub use retention::{Action, Retention, plan};
pub use safetensors::{Dtype, View, tensor::TensorInfo};
pub use store::Store;
pub use tensors::{OwnedTensor, TensorFile, TensorSource, read_safetensors, write_safetensors};
