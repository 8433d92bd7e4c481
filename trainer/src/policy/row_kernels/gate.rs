//! Gates of feed-forward parts.

use tch::Tensor;

use super::element::{Element, with_element};
use super::exponential::exp;
use super::rows::{NewRows, Rows};
use super::vectors::vectorised;

/// `silu(x) y` for rows that hold `x` in their first half and `y` in their second, `[B, .., 2 F]` to `[B, .., F]`.
pub(in crate::policy) fn silu_gate(both: &Tensor) -> Tensor {
    let mut shape = both.size();
    if let Some(last) = shape.last_mut() {
        *last /= 2;
    }
    with_element!(both.kind(), E => {
        let rows = Rows::<E>::of(both);
        NewRows::<E>::new(&shape).write(both.numel(), |row, out| {
            gate_row(rows.row(row), out);
        })
    })
}

vectorised! {
    fn gate_row<E>(both: &[E], out: &mut [E]) {
        let (gate, up) = both.split_at(out.len());
        for ((out, x), y) in out.iter_mut().zip(gate).zip(up) {
            let x = x.to_f32();
            *out = E::from_f32(x / (1.0 + exp(-x)) * y.to_f32());
        }
    }
}
