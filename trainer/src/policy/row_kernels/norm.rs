//! Norms and residual sums.

use tch::Tensor;

use super::element::{Element, with_element};
use super::rows::{NewRows, Rows, flat};
use super::vectors::{LANES, sum, vectorised};

/// `w x / sqrt(mean(x^2) + epsilon)` over the last dimension of `x`, whose first counts rows. The dtype is that of `weight_e` too.
pub(in crate::policy) fn root_mean_square_norm(x: &Tensor, weight_e: &Tensor, epsilon: f64) -> Tensor {
    with_element!(x.kind(), E => {
        let (rows, weight) = (Rows::<E>::of(x), flat::<E>(weight_e));
        NewRows::<E>::new(&x.size()).write(x.numel(), |row, out| {
            let pieces = out.chunks_exact_mut(weight.len()).zip(rows.row(row).chunks_exact(weight.len()));
            for (out, x) in pieces {
                normalise(x, weight, epsilon as f32, out);
            }
        })
    })
}

/// `x + y`, of one shape and dtype.
pub(in crate::policy) fn add(x_be: &Tensor, y_be: &Tensor) -> Tensor {
    with_element!(x_be.kind(), E => {
        let (x, y) = (Rows::<E>::of(x_be), Rows::<E>::of(y_be));
        NewRows::<E>::new(&x_be.size()).write(x_be.numel(), |row, out| add_row(x.row(row), y.row(row), out))
    })
}

vectorised! {
    fn add_row<E>(x: &[E], y: &[E], out: &mut [E]) {
        for ((out, x), y) in out.iter_mut().zip(x).zip(y) {
            *out = E::from_f32(x.to_f32() + y.to_f32());
        }
    }
}

vectorised! {
fn normalise<E>(x: &[E], weight: &[E], epsilon: f32, out: &mut [E]) {
    let mut squares = [0f32; LANES];
    let pieces = x.chunks_exact(LANES);
    for (lane, x) in pieces.remainder().iter().enumerate() {
        squares[lane] = x.to_f32() * x.to_f32();
    }
    for piece in pieces {
        for lane in 0..LANES {
            let x = piece[lane].to_f32();
            squares[lane] = x.mul_add(x, squares[lane]);
        }
    }
    let scale = 1.0 / (sum(squares) / x.len() as f32 + epsilon).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = E::from_f32(x.to_f32() * scale * weight.to_f32());
    }
}
}
