//! Draws from a beta distribution.

use std::f64::consts::TAU;

/// A number in `(0, 1)` with density proportional to `x^(a-1) · (1-x)^(b-1)`, out of as many numbers of `uniform`, in `[0, 1)`, as it
/// takes: `X / (X + Y)` of two gamma variates.
///
/// # Panics
///
/// If `a` or `b` is below 1: nothing here has a prior below the uniform one.
pub fn beta(a: f64, b: f64, uniform: &mut dyn FnMut() -> f64) -> f64 {
    let (x, y) = (gamma(a, uniform), gamma(b, uniform));
    x / (x + y)
}

/// A gamma variate of shape `shape` and scale 1: exact, by rejection (Marsaglia and Tsang 2000, "A simple method for generating gamma
/// variables", ACM Transactions on Mathematical Software 26).
fn gamma(shape: f64, uniform: &mut dyn FnMut() -> f64) -> f64 {
    assert!(shape >= 1.0, "a shape of {shape}");
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let normal = normal(uniform);
        let v = (1.0 + c * normal).powi(3);
        // Of 1 - u instead of u, which may be 0.
        let log_u = (-uniform()).ln_1p();
        if v > 0.0 && log_u < 0.5 * normal * normal + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// A standard normal variate (Box and Muller 1958).
fn normal(uniform: &mut dyn FnMut() -> f64) -> f64 {
    let radius = (-2.0 * (-uniform()).ln_1p()).sqrt();
    radius * (TAU * uniform()).cos()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rng::{Stream, uniform};

    fn draws(a: f64, b: f64, count: u64) -> Vec<f64> {
        let mut drawn = 0;
        let mut next = || {
            drawn += 1;
            uniform(9, Stream::SearchChoice, &[drawn])
        };
        (0..count).map(|_| beta(a, b, &mut next)).collect()
    }

    /// Largest distance between the share of draws below a number and what `below` says of it.
    fn distance(mut draws: Vec<f64>, below: impl Fn(f64) -> f64) -> f64 {
        draws.sort_by(f64::total_cmp);
        let count = draws.len() as f64;
        let apart = |(place, draw): (usize, &f64)| {
            (below(*draw) - place as f64 / count).abs().max((below(*draw) - (place + 1) as f64 / count).abs())
        };
        draws.iter().enumerate().map(apart).fold(0.0, f64::max)
    }

    /// Where the distribution function has a closed form. 1.95 / sqrt(n) is exceeded by chance once in a thousand times
    /// (Kolmogorov), and the draws are always the same.
    #[test]
    fn draws_are_distributed_as_they_should_be() {
        let most = 1.95 / 4000f64.sqrt();
        assert!(distance(draws(1.0, 1.0, 4000), |x| x) < most, "uniform");
        assert!(distance(draws(3.0, 1.0, 4000), |x| x.powi(3)) < most);
        assert!(distance(draws(1.0, 21.0, 4000), |x| 1.0 - (1.0 - x).powi(21)) < most, "REX, new and wrong");
        assert!(distance(draws(2.0, 2.0, 4000), |x| x * x * (3.0 - 2.0 * x)) < most);
    }

    proptest! {
        #[test]
        fn the_mean_is_that_of_the_distribution(a in 1.0..30.0f64, b in 1.0..30.0f64) {
            let draws = draws(a, b, 2000);
            prop_assert!(draws.iter().all(|x| *x > 0.0 && *x < 1.0));
            let mean = draws.iter().sum::<f64>() / 2000.0;
            let deviation = (a * b / ((a + b).powi(2) * (a + b + 1.0)) / 2000.0).sqrt();
            prop_assert!((mean - a / (a + b)).abs() < 5.0 * deviation, "{mean}, wanted {}", a / (a + b));
        }
    }
}
