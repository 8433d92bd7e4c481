//! Products of matrices so small that they stay in the cache.

use super::super::row_kernels::vectors::LANES;

/// Rows of a tile whose right factor is read from memory once: with [`COLUMNS`], the sums fill the registers of AVX2.
pub(super) const ROWS: usize = 6;

/// Rows of a tile that is added to what is there.
pub(super) const ADDED_ROWS: usize = 4;

/// Columns of a tile, and of a panel of a right factor: `[inner, COLUMNS]`, contiguous.
pub(super) const COLUMNS: usize = LANES;

/// A left factor: number `(r, k)` lies at `r * row + k * step`.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    pub(super) numbers: &'a [f32],
    pub(super) row: usize,
    pub(super) step: usize,
}

/// The first `R` rows of the left factor times a panel of the right one, over `inner` numbers.
///
/// # Panics
///
/// If one of them has fewer numbers.
#[inline(always)]
pub(super) fn tile<const R: usize>(left: Left<'_>, inner: usize, panel: &[f32]) -> [[f32; COLUMNS]; R] {
    let mut sums = [[0f32; COLUMNS]; R];
    if inner == 0 {
        return sums;
    }
    let Left { numbers, row, step } = left;
    assert!(numbers.len() > (R - 1) * row + (inner - 1) * step);
    for (k, right) in panel[..inner * COLUMNS].chunks_exact(COLUMNS).enumerate() {
        let right: &[f32; COLUMNS] = right.try_into().expect("a chunk has this length");
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: `r` is at most `R - 1` and `k` at most `inner - 1`, and the assertion above is about both.
            #[expect(unsafe_code, reason = "a comparison for each number takes as long as its products")]
            let left = unsafe { *numbers.get_unchecked(r * row + k * step) };
            for lane in 0..COLUMNS {
                sums[lane] = left.mul_add(right[lane], sums[lane]);
            }
        }
    }
    sums
}

/// `n` rounded up to whole panels.
pub(super) fn whole_panels(n: usize) -> usize {
    n.next_multiple_of(COLUMNS)
}
