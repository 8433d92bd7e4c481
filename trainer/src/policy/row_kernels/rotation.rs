//! Rotary positions.

use tch::Tensor;

use super::element::{Element, with_element};
use super::rows::{NewRows, Rows};
use super::vectors::vectorised;

/// Turns pairs `(i, i + width / 2)` of the first `width` dimensions of every head of `x_bh1d` by the row's angle, whose cosine and
/// sine, `[B, 1, 1, width]`, are in the same dtype. Returns `[B, H, 1, D]`.
pub(in crate::policy) fn rotate(x_bh1d: &Tensor, cos_b11w: &Tensor, sin_b11w: &Tensor) -> Tensor {
    let shape = x_bh1d.size();
    let head_dim = shape[3] as usize;
    with_element!(x_bh1d.kind(), E => {
        let x = Rows::<E>::of(x_bh1d);
        let (cos, sin) = (Rows::<E>::of(cos_b11w), Rows::<E>::of(sin_b11w));
        NewRows::<E>::new(&shape).write(x_bh1d.numel(), |row, out| {
            turn_row(x.row(row), cos.row(row), sin.row(row), head_dim, out);
        })
    })
}

vectorised! {
    fn turn_row<E>(x: &[E], cos: &[E], sin: &[E], head_dim: usize, out: &mut [E]) {
        for (out, x) in out.chunks_exact_mut(head_dim).zip(x.chunks_exact(head_dim)) {
            turn(x, cos, sin, out);
        }
    }
}

#[inline(always)]
fn turn<E: Element>(x: &[E], cos: &[E], sin: &[E], out: &mut [E]) {
    let (turning, rest) = x.split_at(cos.len());
    let (turned, kept) = out.split_at_mut(cos.len());
    kept.copy_from_slice(rest);
    let half = cos.len() / 2;
    let ((low, high), (cos_low, cos_high)) = (turning.split_at(half), cos.split_at(half));
    let ((out_low, out_high), (sin_low, sin_high)) = (turned.split_at_mut(half), sin.split_at(half));
    for i in 0..half {
        let (a, b) = (low[i].to_f32(), high[i].to_f32());
        out_low[i] = E::from_f32(a * cos_low[i].to_f32() - b * sin_low[i].to_f32());
        out_high[i] = E::from_f32(b * cos_high[i].to_f32() + a * sin_high[i].to_f32());
    }
}
