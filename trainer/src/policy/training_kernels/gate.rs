//! Gates of feed-forward parts.

use tch::Tensor;

use super::super::row_kernels::element::{Element, with_element};
use super::super::row_kernels::exponential::exp;
use super::super::row_kernels::rows::flat;
use super::super::row_kernels::vectors::vectorised;
use super::pieces::{for_pieces, size};
use super::shared::Shared;

/// `silu(x) y` for rows that hold `x` in their first half and `y` in their second: `[T, 2 F]` to `[T, F]`.
pub(in crate::policy) fn gate(both_tf: &Tensor) -> Tensor {
    let (rows, width) = size(both_tf);
    let half = width / 2;
    let mut inner_tf = Tensor::empty([rows as i64, half as i64], (both_tf.kind(), both_tf.device()));
    with_element!(both_tf.kind(), E => {
        let (both, inner) = (flat::<E>(both_tf), Shared::<E>::of(&mut inner_tf));
        for_pieces(rows, width, |_, piece| {
            for row in piece {
                gate_row(&both[row * width..][..width], inner.piece(row * half, half));
            }
        });
    });
    inner_tf
}

/// Puts the gradient by `x` and `y` in place of what [`gate`] read, and what [`gate`] gave in place of its gradient.
///
/// ```text
/// dL/dx = g y s (1 + x (1 - s))       dL/dy = g x s       s = sigmoid(x)
/// ```
pub(in crate::policy) fn gate_backward(both_tf: &mut Tensor, gradient_tf: &mut Tensor) {
    let (rows, width) = size(both_tf);
    let half = width / 2;
    assert_eq!(size(gradient_tf), (rows, half));
    with_element!(both_tf.kind(), E => {
        let (both, gradient) = (Shared::<E>::of(both_tf), Shared::<E>::of(gradient_tf));
        for_pieces(rows, width, |_, piece| {
            for row in piece {
                gate_row_backward(both.piece(row * width, width), gradient.piece(row * half, half));
            }
        });
    });
}

vectorised! {
    fn gate_row<E>(both: &[E], inner: &mut [E]) {
        let (gate, up) = both.split_at(inner.len());
        for ((inner, x), y) in inner.iter_mut().zip(gate).zip(up) {
            let x = x.to_f32();
            let sigmoid = 1.0 / (1.0 + exp(-x));
            *inner = E::from_f32(x * sigmoid * y.to_f32());
        }
    }
}

vectorised! {
    fn gate_row_backward<E>(both: &mut [E], gradient: &mut [E]) {
        let (gate, up) = both.split_at_mut(gradient.len());
        for ((gradient, gate), up) in gradient.iter_mut().zip(gate).zip(up) {
            let (g, x, y) = (gradient.to_f32(), gate.to_f32(), up.to_f32());
            let sigmoid = 1.0 / (1.0 + exp(-x));
            let silu = x * sigmoid;
            *gradient = E::from_f32(silu * y);
            *gate = E::from_f32(g * y * (sigmoid + silu * (1.0 - sigmoid)));
            *up = E::from_f32(g * silu);
        }
    }
}
