//! Keys and values of new tokens.

use tch::Tensor;

use super::element::{Element, with_element};
use super::rows::Rows;

/// Writes each row's keys or values `[B, K, 1, D]` into the first rows of a cache `[rows, columns, K, D]`, each at its position.
///
/// # Panics
///
/// If the cache has fewer rows, or not so many columns.
pub(in crate::policy) fn store(cache: &mut Tensor, positions: &[i64], new_bk1d: &Tensor) {
    let (rows, columns, k, d) = cache.size4().expect("a cache has four dimensions by contract");
    assert!(cache.is_contiguous() && positions.len() as i64 <= rows);
    with_element!(cache.kind(), E => {
        let new = Rows::<E>::of(new_bk1d);
        for (row, position) in positions.iter().enumerate() {
            assert!((0..columns).contains(position), "position {position} of {columns}");
            let token = row as i64 * columns + position;
            write_token::<E>(cache, (token * k * d) as usize, new.row(row));
        }
    });
}

#[expect(unsafe_code, reason = "libtorch hands memory out by address")]
fn write_token<E: Element>(cache: &mut Tensor, at: usize, token: &[E]) {
    assert!(cache.kind() == E::KIND && at + token.len() <= cache.numel());
    // SAFETY: the stretch lies within the contiguous cache, which is borrowed for writing and shares no memory with new tensors.
    unsafe {
        let start = cache.data_ptr().cast::<E>().add(at);
        std::ptr::copy_nonoverlapping(token.as_ptr(), start, token.len());
    }
}
