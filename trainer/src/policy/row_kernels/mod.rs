//! The small operations of a decode step on the processor: norms, rotations, gates and attention of one new token per row.
//!
//! A decode step has a few dozen rows and hundreds of operations. In libtorch each takes 20 to 90 microseconds, most of which is
//! not arithmetic: code that is cold again after the product before it, tensors in between, a second thread that waits for
//! the first. Here what lies between two products is one loop over rows that are in the cache. Products stay libtorch's.
//!
//! All sums are f32, and what is stored is rounded once. A row's result depends on that row alone, bit for bit. There is no
//! gradient, and no other device: who wants either takes the libtorch operation, which computes the same up to rounding.

mod attention;
pub(super) mod element;
pub(super) mod exponential;
mod gate;
mod norm;
mod rotation;
pub(super) mod rows;
mod store;
pub(super) mod threads;
pub(super) mod vectors;

pub(super) use attention::{DecodeRows, attend, takes_width};
pub(super) use gate::silu_gate;
pub(super) use norm::{add, root_mean_square_norm};
pub(super) use rotation::rotate;
pub(super) use store::store;

use tch::{Device, Kind};

/// Whether there are kernels for this dtype on this device.
pub(super) fn exist_for(kind: Kind, device: Device) -> bool {
    device == Device::Cpu && matches!(kind, Kind::Float | Kind::BFloat16)
}

#[cfg(test)]
mod tests;
