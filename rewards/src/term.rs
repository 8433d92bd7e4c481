//! How one reward counts in the sum: the keys that every `[rewards.*]` table has.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Weight;

/// Declares the table of one reward: its own keys, and those that every reward has.
///
/// Written out in full by a macro because serde's `flatten` loses the line of a mistake, and refuses nothing.
macro_rules! reward_config {
    (
        $(#[$about:meta])*
        pub struct $name:ident for $reward:literal {
            $($(#[$about_key:meta])* pub $key:ident: $type:ty = $default:expr,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            /// How much this reward counts in the sum. Default 1. With 0 it is logged and not used.
            pub weight: $crate::Weight,
            /// Counts only where another reward of the recipe holds: its name alone for a score above 0, or a comparison such as
            /// `tests_passed >= 0.5`. Default: always.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub only_if: Option<$crate::Gate>,
            /// Scores below count as this. Default: as they are.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub min: Option<f64>,
            /// Scores above count as this. Default: as they are.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub max: Option<f64>,
            $($(#[$about_key])* pub $key: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { weight: $crate::Weight::default(), only_if: None, min: None, max: None, $($key: $default,)* }
            }
        }

        impl $crate::term::Table for $name {
            const NAME: &'static str = $reward;

            fn term(&self) -> $crate::term::Term {
                let config = self;
                $crate::term::Term {
                    weight: config.weight,
                    only_if: config.only_if.clone(),
                    min: config.min,
                    max: config.max,
                }
            }
        }
    };
}
pub(crate) use reward_config;

/// The table of a reward in a recipe.
pub(crate) trait Table {
    /// Name of the reward, and of its table.
    const NAME: &'static str;

    /// The keys that every reward has.
    fn term(&self) -> Term;
}

/// How one reward counts in the sum.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Term {
    /// What the score is multiplied by.
    pub weight: Weight,
    /// When it counts at all.
    pub only_if: Option<Gate>,
    /// The least that a score counts as.
    pub min: Option<f64>,
    /// The most that a score counts as.
    pub max: Option<f64>,
}

impl Term {
    /// Why no score could pass through: a bound that is not a number, or bounds that cross.
    pub(crate) fn problem(&self) -> Option<String> {
        let finite = |bound: Option<f64>| bound.is_none_or(f64::is_finite);
        if !finite(self.min) || !finite(self.max) {
            return Some("`min` and `max` are finite numbers".to_owned());
        }
        match (self.min, self.max) {
            (Some(min), Some(max)) if min > max => {
                Some(format!("`min` is {min}, above `max`, which is {max}"))
            }
            _ => None,
        }
    }

    /// The score within the bounds. A score is finite.
    pub(crate) fn clip(&self, score: f64) -> f64 {
        let score = self.min.map_or(score, |min| score.max(min));
        self.max.map_or(score, |max| score.min(max))
    }
}

/// When a reward counts: another reward's score, and what it is held against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Gate {
    /// Name of the other reward.
    pub reward: String,
    comparison: Comparison,
    threshold: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Above,
    AtLeast,
    Below,
    AtMost,
}

const COMPARISONS: [(&str, Comparison); 4] = [
    // Longer ones first: `>=` begins with `>`.
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    (">", Comparison::Above),
    ("<", Comparison::Below),
];

impl Gate {
    /// Whether a score opens the gate. A reward that has none does not.
    pub fn opens(&self, score: Option<f64>) -> bool {
        score.is_some_and(|score| match self.comparison {
            Comparison::Above => score > self.threshold,
            Comparison::AtLeast => score >= self.threshold,
            Comparison::Below => score < self.threshold,
            Comparison::AtMost => score <= self.threshold,
        })
    }
}

/// A condition that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not a condition; name a reward, such as `all_passed`, or compare one, such as `tests_passed >= 0.5`"
)]
pub struct InvalidGate(String);

impl FromStr for Gate {
    type Err = InvalidGate;

    fn from_str(text: &str) -> Result<Self, InvalidGate> {
        let invalid = || InvalidGate(text.to_owned());
        let found = COMPARISONS.iter().find_map(|(sign, comparison)| {
            text.split_once(sign).map(|(reward, threshold)| (reward, *comparison, threshold))
        });
        let (reward, comparison, threshold) = match found {
            Some((reward, comparison, threshold)) => {
                let threshold =
                    threshold.trim().parse::<f64>().ok().filter(|threshold| threshold.is_finite());
                (reward, comparison, threshold.ok_or_else(invalid)?)
            }
            None => (text, Comparison::Above, 0.0),
        };
        let reward = reward.trim();
        let named = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        if reward.is_empty() || !reward.chars().all(named) {
            return Err(invalid());
        }
        Ok(Self { reward: reward.to_owned(), comparison, threshold })
    }
}

impl TryFrom<String> for Gate {
    type Error = InvalidGate;

    fn try_from(text: String) -> Result<Self, InvalidGate> {
        text.parse()
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, _) = COMPARISONS
            .iter()
            .find(|(_, comparison)| *comparison == self.comparison)
            .expect("every comparison has a sign by contract");
        if self.comparison == Comparison::Above && self.threshold == 0.0 {
            return formatter.write_str(&self.reward);
        }
        write!(formatter, "{} {sign} {}", self.reward, self.threshold)
    }
}

impl From<Gate> for String {
    fn from(gate: Gate) -> String {
        gate.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_alone_asks_for_a_score_above_0() {
        let gate: Gate = "all_passed".parse().unwrap();
        assert!(gate.opens(Some(1.0)));
        assert!(!gate.opens(Some(0.0)) && !gate.opens(Some(-1.0)) && !gate.opens(None));
    }

    #[test]
    fn comparisons_hold_at_their_threshold_or_not() {
        let opens = |text: &str| text.parse::<Gate>().unwrap().opens(Some(0.5));
        assert!(opens("tests_passed >= 0.5") && opens("tests_passed<=0.5"));
        assert!(!opens("tests_passed > 0.5") && !opens("tests_passed < 0.5"));
        assert!(opens("tests_passed > -1") && opens("tests_passed < 1"));
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for text in ["", " ", "> 1", "a > b", "a >", "a > nan", "a == 1", "a > inf", "a b"] {
            assert_eq!(text.parse::<Gate>(), Err(InvalidGate(text.to_owned())));
        }
    }

    #[test]
    fn bounds_must_be_numbers_and_in_order() {
        let term = |min, max| Term { min, max, ..Term::default() };
        assert_eq!(term(Some(0.0), Some(0.0)).problem(), None);
        assert_eq!(term(Some(1.0), Some(0.5)).problem().unwrap(), "`min` is 1, above `max`, which is 0.5");
        assert!(
            term(Some(f64::NAN), None).problem().is_some()
                && term(None, Some(f64::INFINITY)).problem().is_some()
        );
    }

    proptest! {
        #[test]
        fn a_condition_reads_back_as_itself(
            reward in "[a-z_]{1,12}", sign in 0..4_usize, threshold in -1e3..1e3f64,
        ) {
            let gate: Gate = format!("{reward} {} {threshold}", COMPARISONS[sign].0).parse().unwrap();
            prop_assert_eq!(gate.to_string().parse::<Gate>().unwrap(), gate);
        }

        #[test]
        fn a_clipped_score_is_within_the_bounds(score in -9.0..9.0f64, min in -1.0..0.0f64, max in 0.0..1.0f64) {
            let clipped = Term { min: Some(min), max: Some(max), ..Term::default() }.clip(score);
            prop_assert!((min..=max).contains(&clipped));
            prop_assert!(clipped == score || clipped == min || clipped == max);
        }
    }
}
