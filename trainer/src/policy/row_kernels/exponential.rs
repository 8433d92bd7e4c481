//! The exponential, written so that a compiler computes many at once.

/// `e^x` for `x` from -87 to 88, within two units in the last place; beyond, the value at the border. NaN stays NaN.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`; `e^r` by its Taylor polynomial of degree 7, whose remainder there is below `5e-9`.
#[inline(always)]
pub(in crate::policy) fn exp(x: f32) -> f32 {
    // Added to a number of moderate size, it leaves the nearest integer in the lowest bits of the sum.
    const ROUNDER: f32 = 12_582_912.0;
    // ln 2 in two parts, the first with zeros at its end, so that `n` times it is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUNDER);
    let n = shifted - ROUNDER;
    let r = (-n).mul_add(LN_2_HIGH, x);
    let r = (-n).mul_add(LN_2_LOW, r);
    let mut sum = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = r.mul_add(sum, coefficient);
    }
    // `2^n`: the integer moved to the place of the exponent, whose zero is 127.
    sum * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_that_of_f64_within_two_units(x in -87f32..88.0) {
            let wanted = f64::from(x).exp();
            let found = f64::from(exp(x));
            prop_assert!((found - wanted).abs() <= wanted * 2.4e-7, "e^{x} = {wanted}, found {found}");
        }
    }

    #[test]
    fn beyond_the_borders_it_stays_finite_and_nan_stays_nan() {
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1e30) < 2e-38 && exp(-1e30) >= 0.0);
        assert!(exp(f32::INFINITY).is_finite());
        assert!(exp(f32::NAN).is_nan());
    }
}
