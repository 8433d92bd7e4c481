//! Sums and means over the tokens of each sequence, on packed tokens.
//!
//! `sequence_n` says which sequence of the call a token belongs to: i64, `[N]`, counted from 0. A sequence is never split
//! between two calls, so what is computed here does not depend on how a step was cut into micro-batches.

use tch::{Kind, Tensor};

/// Which tokens of a call belong together.
#[derive(Clone, Copy, Debug)]
pub struct Sequences<'a> {
    /// The sequence of each token: `[N]`, i64, from 0, ascending.
    pub of_token_n: &'a Tensor,
    /// Number of sequences, `S`.
    pub count: i64,
}

impl Sequences<'_> {
    /// The sum of `value_n` over each sequence, given to each of its tokens: `[N]`, with gradient.
    pub fn sum_n(&self, value_n: &Tensor) -> Tensor {
        self.total_s(value_n).index_select(0, self.of_token_n)
    }

    /// The mean of `value_n` over each sequence, given to each of its tokens: `[N]`, with gradient.
    pub fn mean_n(&self, value_n: &Tensor) -> Tensor {
        let length_s = self.total_s(&value_n.ones_like().detach());
        (self.total_s(value_n) / length_s.clamp_min(1.0)).index_select(0, self.of_token_n)
    }

    /// The sum of `value_n` over each sequence: `[S]`, with gradient.
    pub fn total_s(&self, value_n: &Tensor) -> Tensor {
        Tensor::zeros([self.count], (value_n.kind(), value_n.device())).index_add(0, self.of_token_n, value_n)
    }
}

/// The `sequence_n` of sequences with these numbers of tokens, on the CPU.
pub fn sequence_of_tokens(lengths: &[usize]) -> Tensor {
    let of_token = |(sequence, length): (usize, &usize)| std::iter::repeat_n(sequence as i64, *length);
    let list: Vec<i64> = lengths.iter().enumerate().flat_map(of_token).collect();
    Tensor::from_slice(&list)
}

/// 1 where `mask` holds, else 0, in the kind of `like`.
pub(super) fn as_number(mask: &Tensor, like: &Tensor) -> Tensor {
    debug_assert_eq!(mask.kind(), Kind::Bool);
    mask.to_kind(like.kind())
}
