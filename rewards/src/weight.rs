//! How much a reward counts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Largest magnitude of a weight. Beyond it the user meant the learning rate.
pub const MAX_WEIGHT: f64 = 1000.0;

/// How much a reward counts in the sum: finite, from -1000 to 1000. Default 1. With 0 the reward is logged and not used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64", into = "f64")]
#[schemars(with = "f64", extend("minimum" = -MAX_WEIGHT, "maximum" = MAX_WEIGHT))]
pub struct Weight(f64);

/// A weight that is not a number or too large.
#[derive(Debug, PartialEq, Error)]
#[error("weight is {0}, wanted a finite number from -{MAX_WEIGHT} to {MAX_WEIGHT}")]
pub struct InvalidWeight(f64);

impl Weight {
    /// The value, finite.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(1.0)
    }
}

impl TryFrom<f64> for Weight {
    type Error = InvalidWeight;

    fn try_from(value: f64) -> Result<Self, InvalidWeight> {
        if value.abs() <= MAX_WEIGHT { Ok(Self(value)) } else { Err(InvalidWeight(value)) }
    }
}

impl From<Weight> for f64 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_finite_or_too_large_is_refused() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1000.1, -1000.1] {
            let message = Weight::try_from(value).unwrap_err().to_string();
            assert_eq!(message, format!("weight is {value}, wanted a finite number from -1000 to 1000"));
        }
    }

    proptest! {
        #[test]
        fn every_weight_in_range_is_kept_as_it_is(value in -MAX_WEIGHT..=MAX_WEIGHT) {
            prop_assert_eq!(Weight::try_from(value).unwrap().get(), value);
        }
    }
}
