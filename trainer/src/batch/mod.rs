//! What a step learns from: every attempt, and for each of its tokens what the losses compare it with.
//!
//! Tokens of all attempts lie end to end in flat columns (`_n`), without padding, so that no mask can be forgotten and
//! whatever needs statistics over the whole step is one operation on one tensor.

mod plan;

pub use plan::{Plan, plans};

use tch::{Device, Kind, Tensor};

use crate::rollout::Group;

/// One attempt.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// Index of its prompt in [`Batch::prompts`].
    pub prompt: usize,
    /// Sampled token ids; at least one.
    pub tokens: Vec<i64>,
    /// Where its tokens begin in the columns.
    pub first: usize,
}

/// The attempts of one step. Made by [`Batch::new`]; read by the update.
///
/// Columns are f32 on the policy's device, one entry per token, sequence after sequence.
pub struct Batch {
    /// Prompt token ids, one entry per group.
    pub prompts: Vec<Vec<i64>>,
    /// The attempts, group after group.
    pub sequences: Vec<Sequence>,
    /// Logprob of each token when it was sampled, as the rollout engine computed it, in nats.
    pub sampled_n: Tensor,
    /// Logprob that importance ratios compare with, in nats.
    pub old_n: Tensor,
    /// Logprob under the reference model, in nats, where a KL term wants it.
    pub reference_n: Option<Tensor>,
    /// How much better each token's attempt did than expected.
    pub advantages_n: Tensor,
}

impl Batch {
    /// The attempts of `groups`, with one advantage for all tokens of each; ratios compare with the logprobs recorded at
    /// sampling.
    pub fn new(groups: &[Group], advantages: &[Vec<f64>], device: Device) -> Batch {
        let (mut prompts, mut sequences) = (Vec::new(), Vec::new());
        let (mut sampled, mut advantage_n, mut first) = (Vec::new(), Vec::new(), 0);
        for (group, advantages) in groups.iter().zip(advantages) {
            for (completion, advantage) in group.completions.iter().zip(advantages) {
                let tokens = completion.tokens.clone();
                sampled.extend_from_slice(&completion.logprobs);
                advantage_n.extend(tokens.iter().map(|_| *advantage as f32));
                let next = first + tokens.len();
                sequences.push(Sequence { prompt: prompts.len(), tokens, first });
                first = next;
            }
            prompts.push(group.prompt.clone());
        }
        let column = |values: &[f32]| Tensor::from_slice(values).to_device(device);
        let sampled_n = column(&sampled);
        Batch {
            prompts,
            sequences,
            old_n: sampled_n.shallow_clone(),
            sampled_n,
            reference_n: None,
            advantages_n: column(&advantage_n),
        }
    }

    /// Indices of all sequences.
    pub fn members(&self) -> Vec<usize> {
        (0..self.sequences.len()).collect()
    }

    /// Number of tokens in each sequence.
    pub fn lengths(&self) -> Vec<usize> {
        self.sequences.iter().map(|sequence| sequence.tokens.len()).collect()
    }

    /// Sequences with an advantage other than zero: the others have a gradient of exactly zero in every loss that is a
    /// multiple of the advantage.
    pub fn with_signal(&self) -> Vec<usize> {
        let silent = self.advantages_n.eq(0.0).to_kind(Kind::Uint8);
        let silent = Vec::<u8>::try_from(silent).expect("a column is a vector of bytes");
        let speaks =
            |sequence: &Sequence| silent[sequence.first..sequence.first + sequence.tokens.len()].contains(&0);
        (0..self.sequences.len()).filter(|index| speaks(&self.sequences[*index])).collect()
    }
}
