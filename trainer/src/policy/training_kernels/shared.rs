//! Memory that several threads write, each its own pieces.

use std::marker::PhantomData;

use tch::Tensor;

use super::super::row_kernels::element::Element;

/// The numbers of a contiguous tensor on the processor, to be written piece by piece.
pub(super) struct Shared<'a, E> {
    start: *mut E,
    count: usize,
    numbers: PhantomData<&'a mut [E]>,
}

#[expect(unsafe_code, reason = "a pointer is neither `Send` nor `Sync` by itself")]
// SAFETY: see `Shared::piece`.
unsafe impl<E: Element> Sync for Shared<'_, E> {}

impl<'a, E: Element> Shared<'a, E> {
    /// # Panics
    ///
    /// If the dtype is another one or the tensor is not contiguous.
    pub(super) fn of(x: &'a mut Tensor) -> Shared<'a, E> {
        assert!(x.kind() == E::KIND && x.is_contiguous());
        Shared { start: x.data_ptr().cast(), count: x.numel(), numbers: PhantomData }
    }

    /// A piece. Who calls this twice for numbers in common lets the first go before: every kernel here hands a token's numbers, of
    /// one head or all, to the one call of its work that has the token's number.
    ///
    /// # Panics
    ///
    /// If it does not lie within.
    #[expect(unsafe_code, reason = "libtorch hands memory out by address")]
    #[inline(always)]
    pub(super) fn piece(&self, start: usize, count: usize) -> &'a mut [E] {
        assert!(
            start <= self.count && count <= self.count - start,
            "{count} numbers from {start} on of {}",
            self.count
        );
        // SAFETY: the piece lies within the tensor, which stays borrowed; no two threads have the same one (see above).
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), count) }
    }
}
