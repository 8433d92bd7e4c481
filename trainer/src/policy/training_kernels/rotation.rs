//! Rotary positions.

use tch::Tensor;

use super::super::row_kernels::element::{Element, with_element};
use super::super::row_kernels::rows::flat;
use super::super::row_kernels::vectors::vectorised;
use super::pieces::{for_pieces, size};
use super::shared::Shared;

/// Which way to turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Direction {
    /// By the angles.
    Forward,
    /// By their negatives: a gradient turns back.
    Back,
}

/// Turns pairs `(i, i + width / 2)` of the first `width` dimensions of the first `heads` heads of each row of `x` `[T, ..]` by the
/// row's angles, whose cosine and sine, `[T, width]`, are in the same dtype. In place.
pub(in crate::policy) fn rotate(
    x: &mut Tensor,
    (heads, head_dim): (usize, usize),
    (cos_tw, sin_tw): (&Tensor, &Tensor),
    direction: Direction,
) {
    let ((rows, row_width), turning) = (size(x), size(cos_tw).1);
    assert!(size(cos_tw).0 == rows && sin_tw.size() == cos_tw.size());
    assert!(heads * head_dim <= row_width && turning <= head_dim);
    let sign = if direction == Direction::Forward { 1.0 } else { -1.0 };
    with_element!(x.kind(), E => {
        let (cos, sin, x) = (flat::<E>(cos_tw), flat::<E>(sin_tw), Shared::<E>::of(x));
        for_pieces(rows, row_width, |_, piece| {
            for row in piece {
                let angles = row * turning..(row + 1) * turning;
                let x = x.piece(row * row_width, heads * head_dim);
                turn(x, head_dim, &cos[angles.clone()], &sin[angles], sign);
            }
        });
    });
}

vectorised! {
    fn turn<E>(x: &mut [E], head_dim: usize, cos: &[E], sin: &[E], sign: f32) {
        let half = cos.len() / 2;
        let ((cos_low, cos_high), (sin_low, sin_high)) = (cos.split_at(half), sin.split_at(half));
        for head in x.chunks_exact_mut(head_dim) {
            let (low, rest) = head.split_at_mut(half);
            let numbers = low.iter_mut().zip(&mut rest[..half]);
            let angles = cos_low.iter().zip(cos_high).zip(sin_low.iter().zip(sin_high));
            for ((low, high), ((cos_low, cos_high), (sin_low, sin_high))) in numbers.zip(angles) {
                let (a, b) = (low.to_f32(), high.to_f32());
                *low = E::from_f32(a * cos_low.to_f32() - b * (sign * sin_low.to_f32()));
                *high = E::from_f32(b * cos_high.to_f32() + a * (sign * sin_high.to_f32()));
            }
        }
    }
}
