//! How sequences are cut into pieces that go through the network together.

use tch::Tensor;

use super::{Batch, Sequence};
use crate::policy::Pack;

/// Sequences that go through the network together.
pub struct Plan {
    /// Their tokens, each prompt once for all neighbours that share it.
    pub pack: Pack,
    /// Their indices in the batch, ascending.
    pub members: Vec<usize>,
    /// Place `[N]`, i64, of each of the pack's tokens in the batch's columns.
    pub place_n: Tensor,
    /// Which of `members` each token belongs to, `[N]`, i64, from 0.
    pub sequence_n: Tensor,
}

impl Plan {
    /// The pack's part of one of the batch's columns.
    pub fn cut(&self, column_n: &Tensor) -> Tensor {
        column_n.index_select(0, &self.place_n)
    }
}

/// Packs the sequences `members` of `batch` (ascending) so that each pack has at most `budget` tokens, prompts and what the
/// environment said included,
/// where possible; a longer sequence goes alone.
///
/// Sequences keep their order, so the result is a function of the arguments: the fewer packs, the fewer passes over the
/// weights and their gradients, and the order of sums does not depend on the machine.
pub fn plans(batch: &Batch, members: &[usize], budget: usize) -> Vec<Plan> {
    let tokens = |member: usize| batch.sequences[member].continuation().read_length();
    let mut parts: Vec<Part> = Vec::new();
    for siblings in
        members.chunk_by(|one, other| batch.sequences[*one].prompt == batch.sequences[*other].prompt)
    {
        let prompt = batch.prompts[batch.sequences[siblings[0]].prompt].len();
        let alone = siblings.iter().map(|member| Part { members: vec![*member], tokens: tokens(*member) });
        let joined = join(alone, budget.saturating_sub(prompt));
        parts.extend(joined.into_iter().map(|part| Part { tokens: part.tokens + prompt, ..part }));
    }
    join(parts, budget).into_iter().map(|part| plan(batch, part.members)).collect()
}

/// Sequences that stay together, and the tokens that they take.
struct Part {
    members: Vec<usize>,
    tokens: usize,
}

/// Joins neighbours while they stay within `budget` tokens.
fn join(parts: impl IntoIterator<Item = Part>, budget: usize) -> Vec<Part> {
    let mut joined: Vec<Part> = Vec::new();
    for part in parts {
        match joined.last_mut() {
            Some(last) if last.tokens + part.tokens <= budget => {
                last.members.extend(part.members);
                last.tokens += part.tokens;
            }
            _ => joined.push(part),
        }
    }
    joined
}

fn plan(batch: &Batch, members: Vec<usize>) -> Plan {
    let mut pack = Pack::default();
    let sequences: Vec<&Sequence> = members.iter().map(|member| &batch.sequences[*member]).collect();
    for siblings in sequences.chunk_by(|one, other| one.prompt == other.prompt) {
        let completions = siblings.iter().map(|sequence| sequence.continuation());
        pack.add(&batch.prompts[siblings[0].prompt], completions);
    }
    let (mut place, mut owner) = (Vec::new(), Vec::new());
    for (index, sequence) in sequences.iter().enumerate() {
        let (first, count) = (sequence.first as i64, sequence.tokens.len());
        place.extend(first..first + count as i64);
        owner.extend(std::iter::repeat_n(index as i64, count));
    }
    let device = batch.sampled_n.device();
    let column = |values: &[i64]| Tensor::from_slice(values).to_device(device);
    Plan { pack, members, place_n: column(&place), sequence_n: column(&owner) }
}
