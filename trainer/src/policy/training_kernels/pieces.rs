//! Rows, a few at a time.

use std::ops::Range;
use std::panic::resume_unwind;

use tch::{Kind, Tensor};

use super::super::row_kernels::element::{Element, with_element};
use super::super::row_kernels::rows::{MOST_ALONE, flat};
use super::super::row_kernels::threads;
use super::super::row_kernels::vectors::vectorised;
use super::shared::Shared;

/// Numbers of a piece, about: they stay in the fastest cache, and a piece takes longer than fetching the next one.
const PIECE: usize = 1 << 13;

/// Rows of a piece.
pub(super) fn rows_of_piece(width: usize) -> usize {
    (PIECE / width.max(1)).max(1)
}

/// Calls `work` with each piece of `rows` rows of `width` numbers, and its number.
pub(super) fn for_pieces(rows: usize, width: usize, work: impl Fn(usize, Range<usize>) + Sync) {
    let height = rows_of_piece(width);
    let one = |piece: usize| work(piece, piece * height..rows.min((piece + 1) * height));
    let pieces = rows.div_ceil(height);
    if rows * width > MOST_ALONE {
        threads::for_each(pieces, &one);
    } else {
        (0..pieces).for_each(one);
    }
}

/// So many zeros, for a kernel to work in.
///
/// # Panics
///
/// If there is no memory for them, in the words by which [`crate::memory::or_exhausted`] knows it: a smaller pack may do.
pub(super) fn zeros(count: usize) -> Vec<f32> {
    let mut numbers = Vec::new();
    if numbers.try_reserve_exact(count).is_err() {
        let bytes = count.saturating_mul(size_of::<f32>());
        // Whoever catches it decides whether it is to be told of: this thread's hook cannot know.
        resume_unwind(Box::new(format!("not enough memory: a kernel needs {bytes} bytes to work in")));
    }
    numbers.resize(count, 0.0);
    numbers
}

/// Rows and columns of a matrix.
pub(super) fn size(x_te: &Tensor) -> (usize, usize) {
    let (rows, columns) = x_te.size2().expect("rows of hidden states by contract");
    (rows as usize, columns as usize)
}

/// `x + y`, in place of `y`.
pub(in crate::policy) fn add(x_te: &Tensor, mut y_te: Tensor) -> Tensor {
    let (rows, width) = size(x_te);
    assert_eq!(y_te.size(), x_te.size());
    with_element!(x_te.kind(), E => {
        let (x, sums) = (flat::<E>(x_te), Shared::<E>::of(&mut y_te));
        for_pieces(rows, width, |_, piece| {
            let piece = piece.start * width..piece.end * width;
            add_numbers(&x[piece.clone()], sums.piece(piece.start, piece.len()));
        });
    });
    y_te
}

vectorised! {
    fn add_numbers<E>(x: &[E], sums: &mut [E]) {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum = E::from_f32(x.to_f32() + sum.to_f32());
        }
    }
}

/// Adds row `i` of `x` `[N, E]` to row `index[i]` of `to` `[.., E]`, one after the other; `to` is f32 or has the dtype of `x`.
pub(in crate::policy) fn add_rows(to: &mut Tensor, index: &[i64], x_ne: &Tensor) {
    let (rows, width) = size(x_ne);
    assert_eq!((index.len(), size(to).1), (rows, width));
    with_element!(x_ne.kind(), E => {
        let x = flat::<E>(x_ne);
        let each = index.iter().map(|row| *row as usize * width).zip(x.chunks_exact(width));
        if to.kind() == Kind::Float {
            let to = Shared::<f32>::of(to);
            each.for_each(|(start, x)| add_to_f32(x, to.piece(start, width)));
        } else {
            let to = Shared::<E>::of(to);
            each.for_each(|(start, x)| add_numbers(x, to.piece(start, width)));
        }
    });
}

vectorised! {
    fn add_to_f32<E>(x: &[E], sums: &mut [f32]) {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum += x.to_f32();
        }
    }
}
