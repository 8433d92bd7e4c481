//! `brevity` and `overlong`: what a long completion costs.

use std::ops::RangeInclusive;

use crate::term::reward_config;
use crate::{Attempt, Reward};

reward_config! {
    /// `[rewards.brevity]`: minus the length of the completion, as a share of the longest that it may be; from -1 to 0.
    pub struct BrevityConfig for "brevity" {}
}

reward_config! {
    /// `[rewards.overlong]`: 0 up to `buffer` tokens below `rollout.max_tokens`, then down to -1 at it.
    pub struct OverlongConfig for "overlong" {
        /// Tokens over which the penalty grows, at least 1. Default 64.
        pub buffer: usize = 64,
    }
}

/// `−tokens / most`.
#[derive(Clone, Copy, Debug)]
pub struct Brevity;

/// DAPO's soft overlong punishment (Yu et al. 2025, arXiv 2503.14476, equation 13): with `B` the buffer,
/// `0` up to `most − B` tokens, `((most − B) − tokens) / B` up to `most`, and `−1` if it was cut off there.
#[derive(Clone, Copy, Debug)]
pub struct Overlong {
    buffer: usize,
}

impl Overlong {
    pub(crate) fn new(config: &OverlongConfig) -> Result<Self, String> {
        if config.buffer == 0 {
            return Err("`buffer` is 0, wanted at least 1 token".to_owned());
        }
        Ok(Self { buffer: config.buffer })
    }
}

fn lengths(attempt: &Attempt<'_>) -> String {
    match attempt.length {
        Some(length) => format!("{} of at most {} tokens", length.tokens, length.most),
        None => "nobody counted the tokens".to_owned(),
    }
}

impl Reward for Brevity {
    fn name(&self) -> &str {
        "brevity"
    }

    fn range(&self) -> RangeInclusive<f64> {
        -1.0..=0.0
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let length = attempt.length.filter(|length| length.most > 0)?;
        Some(-(length.tokens as f64 / length.most as f64).min(1.0))
    }

    fn explain(&self, attempt: &Attempt<'_>) -> String {
        lengths(attempt)
    }
}

impl Reward for Overlong {
    fn name(&self) -> &str {
        "overlong"
    }

    fn range(&self) -> RangeInclusive<f64> {
        -1.0..=0.0
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let length = attempt.length?;
        if length.truncated {
            return Some(-1.0);
        }
        let over = (length.tokens + self.buffer).saturating_sub(length.most);
        Some(-(over as f64 / self.buffer as f64).min(1.0))
    }

    fn explain(&self, attempt: &Attempt<'_>) -> String {
        lengths(attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Length;
    use crate::tests::{task, verdict};

    fn score(reward: &dyn Reward, tokens: usize, truncated: bool) -> f64 {
        let (task, verdict) = (task(), verdict(vec![]));
        let length = Some(Length { tokens, most: 100, truncated });
        let attempt = Attempt { length, ..Attempt::new(&task, "", "", &verdict) };
        let score = reward.score(&attempt).unwrap();
        assert!(reward.range().contains(&score));
        score
    }

    #[test]
    fn the_penalty_begins_at_the_buffer_and_ends_at_the_limit() {
        let overlong = Overlong { buffer: 20 };
        let scores = [0, 80, 85, 90, 100].map(|tokens| score(&overlong, tokens, false));
        assert_eq!(scores, [0.0, 0.0, -0.25, -0.5, -1.0]);
        assert_eq!(score(&overlong, 100, true), -1.0);
        assert_eq!(score(&Overlong { buffer: 500 }, 0, false), -0.8);
        assert!(Overlong::new(&OverlongConfig { buffer: 0, ..OverlongConfig::default() }).is_err());
    }

    #[test]
    fn brevity_is_a_share_of_the_limit() {
        assert_eq!(score(&Brevity, 25, false), -0.25);
        assert_eq!(score(&Brevity, 300, true), -1.0);
    }

    #[test]
    fn without_a_count_there_is_no_score() {
        let (task, verdict) = (task(), verdict(vec![]));
        let attempt = Attempt::new(&task, "", "", &verdict);
        assert_eq!(Brevity.score(&attempt), None);
        assert_eq!(Overlong { buffer: 1 }.score(&attempt), None);
    }
}
