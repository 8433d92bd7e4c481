//! From losses of tokens to the loss of a step: the factor of each token.
//!
//! The denominators belong to the optimizer step. They are counted once, over every sequence of the step that takes part
//! in the loss, before anything is cut into micro-batches, and no factor depends on how many micro-batches there are. So
//! the gradient of a step is the sum of the gradients of its parts, however it is cut.
//!
//! verl (commit b178a3cd) divides by the tokens of the micro-batch and then by their number: splitting 12 rows into 12
//! micro-batches turns its `token-mean` from -0.0233 into +0.0269. TRL's `bnpo` is a token mean over the micro-batch by
//! design and equals `token-mean` only where a step is one micro-batch.

use super::Aggregation;

/// What the losses of one optimizer step are divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denominators {
    /// Trained tokens.
    pub tokens: usize,
    /// Sequences with at least one trained token. (TRL also counts those without any.)
    pub sequences: usize,
    /// Longest completion that the rollout allows, in tokens; `rollout.max_tokens`.
    pub longest: usize,
}

impl Denominators {
    /// Counts the sequences of one step, each given by its number of trained tokens, over all ranks.
    pub fn of(lengths: impl IntoIterator<Item = usize>, longest: usize) -> Self {
        let empty = Self { tokens: 0, sequences: 0, longest };
        lengths.into_iter().fold(empty, |counted, length| Self {
            tokens: counted.tokens + length,
            sequences: counted.sequences + usize::from(length > 0),
            longest,
        })
    }

    /// The factor of the loss of each token of a sequence with `length` trained tokens.
    ///
    /// With `T` trained tokens and `S` sequences in the step, and `L` the longest completion allowed:
    ///
    /// ```text
    /// token-mean                1 / T            DAPO, Yu et al. 2025, eq. 8 (arXiv:2503.14476)
    /// sequence-mean-token-mean  1 / (S length)   GRPO, Shao et al. 2024, eq. 3 (arXiv:2402.03300)
    /// sequence-mean-token-sum   1 / S            the gradient of a mean over sequences of their log-likelihood
    /// constant-length           1 / (S L)        Dr. GRPO, Liu et al. 2025, listing 1 (arXiv:2503.20783)
    /// ```
    ///
    /// verl's `seq-mean-token-sum-norm` is `constant-length` without the division by `S`. A step without tokens has
    /// nothing to weigh: the factor is then finite and unused.
    pub fn factor(&self, aggregation: Aggregation, length: usize) -> f64 {
        let at_least_one = |count: usize| count.max(1) as f64;
        let sequences = at_least_one(self.sequences);
        match aggregation {
            Aggregation::TokenMean => 1.0 / at_least_one(self.tokens),
            Aggregation::SequenceMeanTokenMean => 1.0 / sequences / at_least_one(length),
            Aggregation::SequenceMeanTokenSum => 1.0 / sequences,
            Aggregation::ConstantLength => 1.0 / sequences / at_least_one(self.longest),
        }
    }
}
