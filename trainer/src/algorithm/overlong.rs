//! Attempts that the token limit cut off, or nearly did.
//!
//! DAPO, Yu et al. 2025, section 3.4 (arXiv:2503.14476).

use super::AlgorithmConfig;

impl AlgorithmConfig {
    /// What is added to the reward of an attempt of `length` tokens when `most` are allowed: 0 or less.
    ///
    /// ```text
    /// 0                                       length <= most - buffer
    /// penalty (most - buffer - length) / buffer   in between, falling linearly
    /// -penalty                                length >= most
    /// ```
    ///
    /// DAPO eq. 13, with `buffer` the share `overlong_buffer` of `most` and `overlong_penalty` the most that can be lost,
    /// in units of reward. A share of 0 is no penalty.
    pub fn length_penalty(&self, length: usize, most: usize) -> f64 {
        let buffer = self.overlong_buffer * most as f64;
        if buffer == 0.0 {
            return 0.0;
        }
        let over = (length as f64 - (most as f64 - buffer)).clamp(0.0, buffer);
        -self.overlong_penalty * over / buffer
    }

    /// Whether an attempt has no place in the loss nor in its denominators, because the token limit cut it off: nobody
    /// knows what it would have become. Its reward stays in the statistics of its group.
    pub fn filters(&self, truncated: bool) -> bool {
        self.overlong_filter && truncated
    }
}
