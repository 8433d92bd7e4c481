//! Whitening: numbers brought to mean 0 and variance 1, over all tokens of a step.

/// Added to the variance, as in TRL and verl, so that equal numbers do not divide by 0.
const EPSILON: f64 = 1e-8;

/// `(x - mean) / sqrt(variance + 1e-8)`, with the sample variance (`n - 1` in the denominator). Equal numbers give
/// exactly 0. (OpenRLHF divides by the population deviation.)
pub fn centre_and_scale(values: &[f64]) -> Vec<f64> {
    if values.iter().all(|value| *value == values[0]) {
        return vec![0.0; values.len()];
    }
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    let scale = 1.0 / (squares / (n - 1.0).max(1.0) + EPSILON).sqrt();
    values.iter().map(|value| (value - mean) * scale).collect()
}
