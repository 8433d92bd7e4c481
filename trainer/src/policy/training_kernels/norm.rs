//! Norms by the root of the mean square.

use tch::{Kind, Tensor};

use super::super::row_kernels::element::{Element, with_element};
use super::super::row_kernels::rows::flat;
use super::super::row_kernels::vectors::{LANES, sum, vectorised};
use super::pieces::{for_pieces, rows_of_piece, size};
use super::shared::Shared;

/// Rows after their norm.
pub(in crate::policy) struct Normed {
    /// `w x / sqrt(mean(x^2) + epsilon)`, `[T, E]`.
    pub(in crate::policy) out_te: Tensor,
    /// `1 / sqrt(mean(x^2) + epsilon)`, `[T]` f32.
    pub(in crate::policy) scale_t: Tensor,
}

impl Normed {
    fn like(x_te: &Tensor) -> Normed {
        let scale_t = Tensor::empty([x_te.size()[0]], (Kind::Float, x_te.device()));
        Normed { out_te: x_te.empty_like(), scale_t }
    }
}

/// The norm of each row of `x` `[T, E]`; `weight_e` has its dtype.
pub(in crate::policy) fn normalise(x_te: &Tensor, weight_e: &Tensor, epsilon: f64) -> Normed {
    let (rows, width) = size(x_te);
    let mut normed = Normed::like(x_te);
    with_element!(x_te.kind(), E => {
        let (x, weight) = (flat::<E>(x_te), flat::<E>(weight_e));
        let (out, scales) = (Shared::<E>::of(&mut normed.out_te), Shared::<f32>::of(&mut normed.scale_t));
        for_pieces(rows, width, |_, piece| {
            let numbers = piece.start * width..piece.end * width;
            let out = out.piece(numbers.start, numbers.len());
            normalise_rows(&x[numbers], weight, epsilon as f32, out, scales.piece(piece.start, piece.len()));
        });
    });
    normed
}

/// The sum of `x` and `y`, in place of `y`, and its norm.
pub(in crate::policy) fn add_and_normalise(
    x_te: &Tensor,
    mut y_te: Tensor,
    weight_e: &Tensor,
    epsilon: f64,
) -> (Tensor, Normed) {
    let (rows, width) = size(x_te);
    assert_eq!(y_te.size(), x_te.size());
    let mut normed = Normed::like(x_te);
    with_element!(x_te.kind(), E => {
        let (x, weight, sums) = (flat::<E>(x_te), flat::<E>(weight_e), Shared::<E>::of(&mut y_te));
        let (out, scales) = (Shared::<E>::of(&mut normed.out_te), Shared::<f32>::of(&mut normed.scale_t));
        for_pieces(rows, width, |_, piece| {
            let numbers = piece.start * width..piece.end * width;
            let sums = sums.piece(numbers.start, numbers.len());
            let out = out.piece(numbers.start, numbers.len());
            let scales = scales.piece(piece.start, piece.len());
            add_and_normalise_rows(&x[numbers], sums, weight, epsilon as f32, out, scales);
        });
    });
    (y_te, normed)
}

/// What [`normalise`] gave, from the scales that it gave.
pub(in crate::policy) fn normalise_again(x_te: &Tensor, weight_e: &Tensor, scale_t: &Tensor) -> Tensor {
    let (rows, width) = size(x_te);
    let mut out_te = x_te.empty_like();
    with_element!(x_te.kind(), E => {
        let (x, weight, scales) = (flat::<E>(x_te), flat::<E>(weight_e), flat::<f32>(scale_t));
        let out = Shared::<E>::of(&mut out_te);
        for_pieces(rows, width, |_, piece| {
            let numbers = piece.start * width..piece.end * width;
            let out = out.piece(numbers.start, numbers.len());
            scale_rows(&x[numbers], weight, &scales[piece], out);
        });
    });
    out_te
}

/// Adds the gradient by `x` to `gradient_te`, given that by the norm's output, `by_out_te`. Returns the gradient by the weight,
/// `[E]` f32.
///
/// ```text
/// dL/dx = s (w g - x s^2 mean(w g x))       dL/dw = sum over rows of g x s        s = 1 / sqrt(mean(x^2) + epsilon)
/// ```
pub(in crate::policy) fn normalise_backward(
    x_te: &Tensor,
    weight_e: &Tensor,
    scale_t: &Tensor,
    by_out_te: &Tensor,
    gradient_te: &mut Tensor,
) -> Tensor {
    let (rows, width) = size(x_te);
    assert!(by_out_te.size() == x_te.size() && gradient_te.size() == x_te.size());
    let pieces = rows.div_ceil(rows_of_piece(width));
    let mut by_weight = Tensor::zeros([pieces as i64, width as i64], (Kind::Float, x_te.device()));
    with_element!(x_te.kind(), E => {
        let (x, weight, scales) = (flat::<E>(x_te), flat::<E>(weight_e), flat::<f32>(scale_t));
        let by_out = flat::<E>(by_out_te);
        let (gradient, by_weight) = (Shared::<E>::of(gradient_te), Shared::<f32>::of(&mut by_weight));
        for_pieces(rows, width, |index, piece| {
            let numbers = piece.start * width..piece.end * width;
            let rows = Rows { x: &x[numbers.clone()], by_out: &by_out[numbers.clone()], scales: &scales[piece] };
            let gradient = gradient.piece(numbers.start, numbers.len());
            backward_rows(&rows, weight, gradient, by_weight.piece(index * width, width));
        });
    });
    by_weight.sum_dim_intlist(0, false, Kind::Float)
}

vectorised! {
    fn normalise_rows<E>(x: &[E], weight: &[E], epsilon: f32, out: &mut [E], scales: &mut [f32]) {
        let width = weight.len();
        let rows = x.chunks_exact(width).zip(out.chunks_exact_mut(width)).zip(scales);
        for ((x, out), scale) in rows {
            *scale = scale_of(x, epsilon);
            scaled(x, weight, *scale, out);
        }
    }
}

vectorised! {
    fn add_and_normalise_rows<E>(
        x: &[E],
        sums: &mut [E],
        weight: &[E],
        epsilon: f32,
        out: &mut [E],
        scales: &mut [f32],
    ) {
        let width = weight.len();
        let rows = x.chunks_exact(width).zip(sums.chunks_exact_mut(width)).zip(out.chunks_exact_mut(width)).zip(scales);
        for (((x, sums), out), scale) in rows {
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum = E::from_f32(x.to_f32() + sum.to_f32());
            }
            *scale = scale_of(sums, epsilon);
            scaled(sums, weight, *scale, out);
        }
    }
}

vectorised! {
    fn scale_rows<E>(x: &[E], weight: &[E], scales: &[f32], out: &mut [E]) {
        let width = weight.len();
        for ((x, out), scale) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)).zip(scales) {
            scaled(x, weight, *scale, out);
        }
    }
}

#[inline(always)]
fn scale_of<E: Element>(x: &[E], epsilon: f32) -> f32 {
    let mut squares = [0f32; LANES];
    for piece in x.chunks_exact(LANES) {
        for lane in 0..LANES {
            let x = piece[lane].to_f32();
            squares[lane] = x.mul_add(x, squares[lane]);
        }
    }
    1.0 / (sum(squares) / x.len() as f32 + epsilon).sqrt()
}

#[inline(always)]
fn scaled<E: Element>(x: &[E], weight: &[E], scale: f32, out: &mut [E]) {
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = E::from_f32(x.to_f32() * scale * weight.to_f32());
    }
}

/// Rows of a backward pass.
struct Rows<'a, E> {
    x: &'a [E],
    by_out: &'a [E],
    scales: &'a [f32],
}

vectorised! {
    fn backward_rows<E>(rows: &Rows<'_, E>, weight: &[E], gradient: &mut [E], by_weight: &mut [f32]) {
        let width = weight.len();
        let inputs = rows.x.chunks_exact(width).zip(rows.by_out.chunks_exact(width)).zip(rows.scales);
        for (((x, by_out), scale), gradient) in inputs.zip(gradient.chunks_exact_mut(width)) {
            let mut inner = [0f32; LANES];
            let numbers = x.chunks_exact(LANES).zip(by_out.chunks_exact(LANES)).zip(weight.chunks_exact(LANES));
            for ((x, by_out), weight) in numbers {
                for lane in 0..LANES {
                    inner[lane] = (weight[lane].to_f32() * by_out[lane].to_f32()).mul_add(x[lane].to_f32(), inner[lane]);
                }
            }
            let share = sum(inner) * scale * scale / width as f32;
            let numbers = x.iter().zip(by_out).zip(weight).zip(gradient.iter_mut()).zip(by_weight.iter_mut());
            for ((((x, by_out), weight), gradient), by_weight) in numbers {
                let (x, by_out) = (x.to_f32(), by_out.to_f32());
                let by_x = scale * (weight.to_f32() * by_out - x * share);
                *gradient = E::from_f32(gradient.to_f32() + by_x);
                *by_weight += by_out * x * scale;
            }
        }
    }
}
