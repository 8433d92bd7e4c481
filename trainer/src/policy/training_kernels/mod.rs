//! What lies between the products of a layer when it is trained, forward and backward, on the processor.
//!
//! In libtorch every norm, gate, rotation and sum is an operation or several, each of which reads and writes tensors of megabytes, and a
//! gradient graph keeps most of them. Here each is one loop over rows that stay in the cache, written over what is no longer
//! needed; what the backward pass can compute again from less is not kept. Products stay libtorch's, but for attention's
//! ([`product`]).
//!
//! As in [`super::row_kernels`], sums are f32 and what is stored is rounded once. Rows are cut into pieces that depend on their
//! number alone, and sums over rows add up the pieces in order: results do not depend on the number of threads.

mod attention;
mod attention_item;
mod gate;
mod norm;
mod pieces;
mod product;
mod rotation;
mod shared;
mod softmax;

pub(super) use attention::{Attended, attend, attend_backward};
pub(super) use attention_item::{Heads, Stretch};
pub(super) use gate::{gate, gate_backward};
pub(super) use norm::{Normed, add_and_normalise, normalise, normalise_again, normalise_backward};
pub(super) use pieces::{add, add_rows};
pub(super) use rotation::{Direction, rotate};
pub(super) use softmax::{ByTarget, OfTarget, differentiate, log_probabilities};

use super::row_kernels::vectors::LANES;

/// Whether there are kernels for heads and rows of this width.
pub(super) fn take_width(width: i64) -> bool {
    (width as usize).is_multiple_of(LANES)
}

#[cfg(test)]
mod tests;
