//! Who follows the backward passes of an update.

use std::sync::Arc;

use crate::policy::LayerSource;

/// Hears of every pack whose gradient is computed, and of its layers as they are done.
pub(super) trait Follower {
    /// A pack is about to be computed. Whether to go on: where not, what was computed so far is of no use.
    fn begin(&mut self) -> bool;

    /// The own weights of this layer have got all that they get from this pack. Not every network says so.
    fn layer_done(&mut self, layer: usize);

    /// The pack's gradient has been added.
    fn end(&mut self);

    /// Who has the weights of the layers, if they are not in memory.
    fn layers(&self) -> Option<Arc<dyn LayerSource>> {
        None
    }
}

/// Somebody who wants to know of whole packs alone.
pub(super) struct AfterPack<'a>(pub(super) &'a mut dyn FnMut());

impl Follower for AfterPack<'_> {
    fn begin(&mut self) -> bool {
        true
    }

    fn layer_done(&mut self, _layer: usize) {}

    fn end(&mut self) {
        (self.0)();
    }
}
