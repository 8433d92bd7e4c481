//! The files of a checkpoint before they are written: small ones as bytes, tensors as the run holds them.

use std::collections::BTreeMap;
use std::sync::Arc;

use rltrain_checkpoints::{Draft, WriteError, to_json};
use serde::Serialize;

use crate::policy::{Held, HostView, OnTheirWay, Place};

/// What the parts of a run put their files into: a checkpoint that is being written, or a [`Snapshot`] that will be.
pub trait Files {
    /// Adds a file with this content.
    ///
    /// # Errors
    ///
    /// If the name cannot be one, or the disk refuses.
    fn bytes(&mut self, name: &str, content: Vec<u8>) -> Result<(), WriteError>;

    /// Adds a safetensors file.
    ///
    /// # Errors
    ///
    /// If the name cannot be one, two tensors share a name, or the disk refuses.
    fn tensors(
        &mut self,
        name: &str,
        tensors: impl IntoIterator<Item = (String, HostView)>,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), WriteError>;

    /// Adds a file of JSON.
    ///
    /// # Errors
    ///
    /// As [`Files::bytes`], or if the value has no JSON form.
    fn json(&mut self, name: &str, value: &impl Serialize) -> Result<(), WriteError> {
        self.bytes(name, to_json(name, value)?)
    }
}

impl Files for Draft {
    fn bytes(&mut self, name: &str, content: Vec<u8>) -> Result<(), WriteError> {
        Draft::bytes(self, name, &content)
    }

    fn tensors(
        &mut self,
        name: &str,
        tensors: impl IntoIterator<Item = (String, HostView)>,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), WriteError> {
        Draft::tensors(self, name, tensors, metadata)
    }
}

/// One file.
enum Content {
    Bytes(Vec<u8>),
    Tensors(Vec<(String, HostView)>, BTreeMap<String, String>),
}

/// The files of a checkpoint, to be written later or elsewhere.
///
/// Making one copies no tensor. The run may not change any of them before it has called `OnTheirWay::part`.
#[derive(Default)]
pub struct Snapshot {
    files: Vec<(String, Content)>,
    /// By where they are, so that a tensor that two files are made of is copied once.
    held: BTreeMap<Place, Arc<Held>>,
}

impl Snapshot {
    /// The tensors that [`Snapshot::write`] has yet to write, for the run to see to while another thread writes.
    pub(crate) fn on_their_way(&self) -> OnTheirWay {
        let mut all = OnTheirWay::default();
        self.held.values().for_each(|held| all.push(held));
        all
    }

    /// Writes everything, and lets go of each tensor when it is written.
    ///
    /// # Errors
    ///
    /// If a name is taken or leads outside, or the disk refuses.
    pub fn write(self, draft: &mut Draft) -> Result<(), WriteError> {
        drop(self.held);
        for (name, content) in self.files {
            match content {
                Content::Bytes(content) => draft.bytes(&name, &content)?,
                Content::Tensors(tensors, metadata) => draft.tensors(&name, tensors, &metadata)?,
            }
        }
        Ok(())
    }
}

impl Files for Snapshot {
    fn bytes(&mut self, name: &str, content: Vec<u8>) -> Result<(), WriteError> {
        self.files.push((name.to_owned(), Content::Bytes(content)));
        Ok(())
    }

    fn tensors(
        &mut self,
        name: &str,
        tensors: impl IntoIterator<Item = (String, HostView)>,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), WriteError> {
        let held = &mut self.held;
        let shared = tensors.into_iter().map(|(name, view)| {
            let held = held.entry(view.held().place()).or_insert_with(|| Arc::clone(view.held()));
            let held = Arc::clone(held);
            (name, view.sharing(held))
        });
        let shared = shared.collect();
        self.files.push((name.to_owned(), Content::Tensors(shared, metadata.clone())));
        Ok(())
    }
}
