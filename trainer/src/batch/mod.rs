//! What a step learns from: every attempt, and for each of its tokens what the losses compare it with.
//!
//! Tokens of all attempts lie end to end in flat columns (`_n`), without padding, so that no mask can be forgotten and
//! whatever needs statistics over the whole step is one operation on one tensor. What the environment said between the
//! turns of an attempt has no place in them: the network reads it, and no loss, value or denominator knows of it.

mod file;
mod pass;
mod plan;

pub use pass::{Pass, pass};
pub use plan::{Plan, plans};

use tch::{Device, Kind, Tensor};

use crate::policy::{Continuation, Interjection};
use crate::ranks::{Ranks, own_sequences};
use crate::rollout::Group;

/// One attempt.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// Index of its prompt in [`Batch::prompts`].
    pub prompt: usize,
    /// Sampled token ids; at least one.
    pub tokens: Vec<i64>,
    /// What the environment said between them. It is in no column: it has no logprob, no value and no advantage.
    pub interjections: Vec<Interjection>,
    /// Where its tokens begin in the columns.
    pub first: usize,
}

impl Sequence {
    /// Its tokens with what the environment said between them.
    pub fn continuation(&self) -> Continuation<'_> {
        Continuation { tokens: &self.tokens, interjections: &self.interjections }
    }
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
    /// Whether `old_n` was computed by the trainer; else it is `sampled_n`.
    pub recomputed: bool,
    /// Logprob under the reference, in nats, where a KL term wants it.
    pub reference_n: Option<Tensor>,
    /// How much better each token's attempt did than expected.
    pub advantages_n: Tensor,
    /// What the critic expected before each token, and what it should have expected, in units of reward.
    pub values_n: Option<Values>,
    /// Bool: tokens that the policy loss keeps; all, if absent.
    pub keep_n: Option<Tensor>,
    /// Bool: tokens that `kl-cov` holds back.
    pub covariant_n: Option<Tensor>,
}

/// Two columns: what a critic said during the rollout, and what it is trained towards.
pub struct Values {
    /// Values before the update.
    pub old_n: Tensor,
    /// Returns.
    pub returns_n: Tensor,
}

impl Batch {
    /// The attempts of `groups`, without advantages yet; ratios compare with the logprobs recorded at sampling.
    pub fn new(groups: &[Group], device: Device) -> Batch {
        let (mut prompts, mut sequences) = (Vec::new(), Vec::new());
        let (mut sampled, mut first) = (Vec::new(), 0);
        for group in groups {
            for completion in &group.completions {
                let tokens = completion.tokens.clone();
                sampled.extend_from_slice(&completion.logprobs);
                let next = first + tokens.len();
                let interjections = completion.interjections.clone();
                sequences.push(Sequence { prompt: prompts.len(), tokens, interjections, first });
                first = next;
            }
            prompts.push(group.prompt.clone());
        }
        let sampled_n = Tensor::from_slice(&sampled).to_device(device);
        Batch {
            prompts,
            sequences,
            old_n: sampled_n.shallow_clone(),
            recomputed: false,
            advantages_n: sampled_n.zeros_like(),
            sampled_n,
            reference_n: None,
            values_n: None,
            keep_n: None,
            covariant_n: None,
        }
    }

    /// The batch with one advantage for all tokens of each sequence, in their order.
    pub fn with_advantages(mut self, advantages: impl IntoIterator<Item = f64>) -> Batch {
        let lengths = self.lengths();
        let repeat = |(advantage, length)| std::iter::repeat_n(advantage, length);
        self.advantages_n = self.column(advantages.into_iter().zip(lengths).flat_map(repeat));
        self
    }

    /// Where the columns are.
    pub fn device(&self) -> Device {
        self.sampled_n.device()
    }

    /// Indices of all sequences.
    pub fn members(&self) -> Vec<usize> {
        (0..self.sequences.len()).collect()
    }

    /// Indices of the sequences of these groups, ascending.
    pub fn members_of(&self, groups: &[usize]) -> Vec<usize> {
        let mut members = self.members();
        members.retain(|member| groups.contains(&self.sequences[*member].prompt));
        members
    }

    /// Number of tokens in each sequence.
    pub fn lengths(&self) -> Vec<usize> {
        self.sequences.iter().map(|sequence| sequence.tokens.len()).collect()
    }

    /// A column of these numbers, one per token.
    pub fn column(&self, values: impl IntoIterator<Item = f64>) -> Tensor {
        let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
        Tensor::from_slice(&values).to_device(self.device())
    }

    /// A column put together from what was computed for each of some plans; zero for sequences that are in none of them.
    pub fn gathered<'a>(&self, parts: impl IntoIterator<Item = (&'a Plan, Tensor)>) -> Tensor {
        let mut column = Tensor::zeros([self.sampled_n.size()[0]], (Kind::Float, self.device()));
        for (plan, part_n) in parts {
            let _ = column.index_copy_(0, &plan.place_n, &part_n);
        }
        column
    }

    /// Those of `members` that this process computes, where others compute the rest.
    pub fn share_of(&self, ranks: &Ranks, members: &[usize]) -> Vec<usize> {
        let tokens = |member: &usize| self.sequences[*member].continuation().read_length();
        let tokens: Vec<usize> = members.iter().map(tokens).collect();
        members[own_sequences(&tokens, ranks.rank(), ranks.world())].to_vec()
    }

    /// Which of `members` have an advantage other than zero somewhere: the others have a gradient of exactly zero in every
    /// loss that is a multiple of the advantage.
    pub fn with_signal(&self, members: &[usize]) -> Vec<usize> {
        let silent = self.advantages_n.eq(0.0).to_kind(Kind::Uint8);
        let silent = Vec::<u8>::try_from(silent).expect("a column is a vector of bytes");
        let speaks = |member: &usize| {
            let Sequence { first, tokens, .. } = &self.sequences[*member];
            silent[*first..first + tokens.len()].contains(&0)
        };
        members.iter().copied().filter(speaks).collect()
    }
}
