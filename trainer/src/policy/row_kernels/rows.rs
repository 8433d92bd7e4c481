//! Tensors as rows in memory.

use std::marker::PhantomData;

use tch::Tensor;

use super::element::Element;
use super::threads;

/// Numbers beyond which more than one thread writes them: waking another costs as much as a few ten thousand.
pub(in crate::policy) const MOST_ALONE: usize = 1 << 16;

/// Rows of a tensor that are each contiguous, at a fixed distance.
pub(in crate::policy) struct Rows<'a, E> {
    start: *const E,
    stride: usize,
    count: usize,
    width: usize,
    tensor: PhantomData<&'a Tensor>,
}

#[expect(unsafe_code, reason = "a pointer is neither `Send` nor `Sync` by itself")]
// SAFETY: the rows are only read, for as long as the tensor is borrowed.
unsafe impl<E: Element> Sync for Rows<'_, E> {}

impl<'a, E: Element> Rows<'a, E> {
    /// The first dimension of `x` counts rows; all others together are one row.
    ///
    /// # Panics
    ///
    /// If the dtype is another one or a row is not contiguous.
    pub(in crate::policy) fn of(x: &'a Tensor) -> Rows<'a, E> {
        assert_eq!(x.kind(), E::KIND);
        let (size, stride) = (x.size(), x.stride());
        let mut width = 1;
        for (size, stride) in size.iter().zip(&stride).skip(1).rev() {
            assert!(*size == 1 || *stride == width, "rows of {size} numbers at a distance of {stride}");
            width *= size;
        }
        Rows {
            start: x.data_ptr().cast_const().cast(),
            stride: stride[0] as usize,
            count: size[0] as usize,
            width: width as usize,
            tensor: PhantomData,
        }
    }

    /// A row.
    #[expect(unsafe_code, reason = "libtorch hands memory out by address")]
    #[inline(always)]
    pub(in crate::policy) fn row(&self, index: usize) -> &'a [E] {
        assert!(index < self.count, "row {index} of {}", self.count);
        // SAFETY: the row lies within the tensor, which stays borrowed.
        unsafe { std::slice::from_raw_parts(self.start.add(index * self.stride), self.width) }
    }
}

/// A contiguous tensor as one row.
pub(in crate::policy) fn flat<E: Element>(x: &Tensor) -> &[E] {
    assert!(x.is_contiguous());
    if x.numel() == 0 {
        // It may lie nowhere.
        return &[];
    }
    let whole = Rows::<E> { count: 1, width: x.numel(), ..Rows::of(x) };
    whole.row(0)
}

/// Rows of a tensor that is being made.
pub(in crate::policy) struct NewRows<E> {
    start: *mut E,
    count: usize,
    width: usize,
    tensor: Tensor,
}

#[expect(unsafe_code, reason = "a pointer is neither `Send` nor `Sync` by itself")]
// SAFETY: `write` hands each row to one thread.
unsafe impl<E: Element> Sync for NewRows<E> {}

impl<E: Element> NewRows<E> {
    /// Rows of a new contiguous tensor of this shape on the processor.
    pub(in crate::policy) fn new(shape: &[i64]) -> NewRows<E> {
        let tensor = Tensor::empty(shape, (E::KIND, tch::Device::Cpu));
        let count = shape[0] as usize;
        NewRows { start: tensor.data_ptr().cast(), count, width: tensor.numel() / count.max(1), tensor }
    }

    /// Has `write` write every row, on several threads if `work`, numbers to be looked at in all, is worth it.
    pub(in crate::policy) fn write(self, work: usize, write: impl Fn(usize, &mut [E]) + Sync) -> Tensor {
        let whole = &self;
        let one = |index: usize| {
            // SAFETY: the row lies within the tensor, and `for_each` and the loop have each index once.
            #[expect(unsafe_code, reason = "libtorch hands memory out by address")]
            let row =
                unsafe { std::slice::from_raw_parts_mut(whole.start.add(index * whole.width), whole.width) };
            write(index, row);
        };
        if work > MOST_ALONE {
            threads::for_each(self.count, &one);
        } else {
            (0..self.count).for_each(one);
        }
        self.tensor
    }
}
