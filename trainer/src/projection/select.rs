//! Which changes are the largest: pure functions on pairs of tensors.
//!
//! `delta = weight - base`, in f32 whatever the tensors are in; the `k` entries of largest `|delta|` keep their weight, exactly, and
//! all others get their base, exactly. Of equal ones the first counts, in the order of the pairs and of their entries. So a
//! projection is idempotent, and the same on every machine.
//!
//! The smallest `|delta|` that stays is found without sorting: the bits of a number that is not negative are in the order of the
//! numbers, so that counting their upper halves, and then the lower halves of those with the right upper half, tells it.

use tch::{Kind, Tensor};

/// Entries that are looked at together: 4 MB of f32, so that no tensor is in memory twice.
const TOGETHER: i64 = 1 << 20;

/// Values that half of the bits of a number can have. The sign is never set, so that the upper ones have half of them.
const HALVES: i64 = 1 << 16;

/// A weight, which may be changed in place, and what it is compared with: of one shape, on any devices.
pub struct Pair<'a> {
    /// The weight.
    pub weight: &'a Tensor,
    /// What it is compared with.
    pub base: &'a Tensor,
}

impl Pair<'_> {
    /// Entries.
    pub fn elements(&self) -> usize {
        self.weight.numel()
    }

    /// Flat pieces of both, on the device of the weight; that of the weight is a view.
    fn pieces(&self) -> impl Iterator<Item = (Tensor, Tensor)> {
        let (weight, base) = (self.weight.detach().view([-1]), self.base.detach().reshape([-1]));
        let elements = weight.numel() as i64;
        (0..elements).step_by(TOGETHER as usize).map(move |start| {
            let cut = |tensor: &Tensor| tensor.narrow(0, start, TOGETHER.min(elements - start));
            let weight = cut(&weight);
            let base = cut(&base).to_device(weight.device());
            (weight, base)
        })
    }
}

/// The bits of `|weight - base|`, f32, as i32: never negative, and in the order of the numbers.
fn magnitudes(weight: &Tensor, base: &Tensor) -> Tensor {
    (weight.to_kind(Kind::Float) - base.to_kind(Kind::Float)).abs().view_dtype(Kind::Int)
}

/// What stays: entries above `bits`, and the first `ties` of those that equal it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Threshold {
    bits: i64,
    ties: i64,
}

/// The threshold above which `keep` entries of all pairs are; `keep` is above 0 and at most the number of entries.
fn threshold(pairs: &[Pair<'_>], keep: i64) -> Threshold {
    let upper = counts(pairs, HALVES / 2, |bits| bits.bitwise_right_shift_tensor_scalar(16));
    let (high, above) = bin(&upper, keep);
    let lower = counts(pairs, HALVES, |bits| {
        let of_bin = bits.bitwise_right_shift_tensor_scalar(16).eq(high);
        bits.masked_select(&of_bin).bitwise_and(HALVES - 1)
    });
    let (low, above_in_bin) = bin(&lower, keep - above);
    Threshold { bits: high * HALVES + low, ties: keep - above - above_in_bin }
}

/// How often each number from 0 to below `most` is what `of` makes of the entries.
fn counts(pairs: &[Pair<'_>], most: i64, of: impl Fn(&Tensor) -> Tensor) -> Vec<i64> {
    let mut all = vec![0; most as usize];
    for (weight, base) in pairs.iter().flat_map(Pair::pieces) {
        let counted = of(&magnitudes(&weight, &base)).bincount(None::<&Tensor>, most);
        let counted = Vec::<i64>::try_from(counted).expect("counts are a vector of whole numbers");
        all.iter_mut().zip(counted).for_each(|(sum, count)| *sum += count);
    }
    all
}

/// The largest number at or above which at least `wanted` entries are, and how many are above it.
fn bin(counts: &[i64], wanted: i64) -> (i64, i64) {
    let mut above = 0;
    for (number, count) in counts.iter().enumerate().rev() {
        if above + count >= wanted {
            return (number as i64, above);
        }
        above += count;
    }
    (0, above)
}

/// Leaves the `keep` largest changes of all pairs together, in place; takes the others back.
pub fn project(pairs: &[Pair<'_>], keep: usize) {
    let _no_gradient = tch::no_grad_guard();
    let elements: usize = pairs.iter().map(Pair::elements).sum();
    if keep >= elements {
        return;
    }
    let threshold = (keep > 0).then(|| threshold(pairs, keep as i64));
    let mut ties = threshold.map_or(0, |threshold| threshold.ties);
    for (mut weight, base) in pairs.iter().flat_map(Pair::pieces) {
        let Some(Threshold { bits, .. }) = threshold else {
            weight.copy_(&base);
            continue;
        };
        let found = magnitudes(&weight, &base);
        let equal = found.eq(bits);
        let first = equal.cumsum(0, Kind::Int64).le(ties).logical_and(&equal);
        ties -= first.sum(Kind::Int64).int64_value(&[]);
        let stays = found.gt(bits).logical_or(&first);
        weight.copy_(&weight.where_self(&stays, &base.to_kind(weight.kind())));
    }
}

/// How many entries of all pairs differ.
pub fn changed(pairs: &[Pair<'_>]) -> usize {
    let _no_gradient = tch::no_grad_guard();
    let differ = |(weight, base): (Tensor, Tensor)| {
        weight.to_kind(Kind::Float).ne_tensor(&base.to_kind(Kind::Float)).sum(Kind::Int64).int64_value(&[])
    };
    pairs.iter().flat_map(Pair::pieces).map(differ).sum::<i64>() as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn projected(weight: &[f32], base: &[f32], keep: usize) -> Vec<f32> {
        let (weight, base) = (Tensor::from_slice(weight), Tensor::from_slice(base));
        project(&[Pair { weight: &weight, base: &base }], keep);
        Vec::<f32>::try_from(weight).unwrap()
    }

    /// Section 8.1 of the method notes: base 0, alpha 0.5.
    #[test]
    fn the_largest_changes_stay() {
        assert_eq!(projected(&[0.1, -0.5, 0.3, 0.05], &[0.0; 4], 2), [0.0, -0.5, 0.3, 0.0]);
        assert_eq!(projected(&[0.1, -0.5, 0.3, 0.05], &[0.0; 4], 4), [0.1, -0.5, 0.3, 0.05]);
        assert_eq!(projected(&[0.1, -0.5, 0.3, 0.05], &[7.0; 4], 0), [7.0; 4]);
    }

    #[test]
    fn of_equal_changes_the_first_stay_across_tensors_too() {
        assert_eq!(projected(&[1.0, -1.0, 1.0, 2.0], &[0.0; 4], 2), [1.0, 0.0, 0.0, 2.0]);
        let of = |values: &[f32]| Tensor::from_slice(values);
        let (one, other, zero) = (of(&[0.5, 1.0]), of(&[1.0, 1.0]), of(&[0.0, 0.0]));
        project(&[Pair { weight: &one, base: &zero }, Pair { weight: &other, base: &zero }], 2);
        assert_eq!(Vec::<f32>::try_from(one).unwrap(), [0.0, 1.0]);
        assert_eq!(Vec::<f32>::try_from(other).unwrap(), [1.0, 0.0]);
    }

    /// Half-precision tensors are compared in f32, where their difference is exact.
    #[test]
    fn changes_of_half_precision_are_compared_in_f32() {
        let of = |values: &[f32]| Tensor::from_slice(values).to_kind(Kind::BFloat16);
        // 255.5 is no bf16: rounded to 256, it would be as large as the second change, and first.
        let (weight, base) = (of(&[256.0, 256.0]), of(&[0.5, 0.0]));
        project(&[Pair { weight: &weight, base: &base }], 1);
        assert_eq!(Vec::<f32>::try_from(weight.to_kind(Kind::Float)).unwrap(), [0.5, 256.0]);
    }

    /// What sorting would leave.
    fn by_sorting(weight: &[f32], base: &[f32], keep: usize) -> Vec<f32> {
        let mut order: Vec<usize> = (0..weight.len()).collect();
        let size = |place: &usize| (weight[*place] - base[*place]).abs();
        order.sort_by(|one, other| size(other).total_cmp(&size(one)).then(one.cmp(other)));
        let mut left = base.to_vec();
        order.iter().take(keep).for_each(|place| left[*place] = weight[*place]);
        left
    }

    /// Many ties, and numbers of every size.
    fn numbers() -> impl Strategy<Value = f32> {
        prop_oneof![
            Just(0.0),
            Just(0.5),
            Just(-0.5),
            Just(1e-40),
            -2.0f32..2.0,
            -1e30f32..1e30,
            -1e-30f32..1e-30
        ]
    }

    proptest! {
        #[test]
        fn a_projection_is_what_sorting_leaves_and_is_idempotent(
            pairs in proptest::collection::vec((numbers(), numbers()), 1..200),
            alpha in 0.0f64..1.0,
        ) {
            let (weight, base): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let keep = (alpha * weight.len() as f64).floor() as usize;
            let once = projected(&weight, &base, keep);
            prop_assert_eq!(&once, &by_sorting(&weight, &base, keep));
            prop_assert!(once.iter().zip(&base).filter(|(one, other)| one != other).count() <= keep);
            prop_assert_eq!(&projected(&once, &base, keep), &once);
            let (once, base) = (Tensor::from_slice(&once), Tensor::from_slice(&base));
            let found = changed(&[Pair { weight: &once, base: &base }]);
            prop_assert!(found <= keep);
        }
    }
}
