//! Attention of a pack: every completion sees its prompt and itself, and nothing else is computed.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use super::attention::{
    Attention, AttentionLayer, attend_by_prompt, attend_causally, attend_under, causal_mask, repeat_heads,
};
use super::encoder::Read;
use super::training_kernels::Stretch;

/// The tokens of one group in a pack: a prompt, and behind it completions that do not see each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stretches {
    /// Tokens of the prompt; at least one.
    pub(super) prompt: i64,
    /// Tokens of each completion; at least one each.
    pub(super) completions: Vec<i64>,
}

impl Stretches {
    /// The stretches of all groups, as the kernels of training take them.
    pub(super) fn ranges(groups: &[Stretches]) -> Vec<Stretch> {
        let (mut ranges, mut next) = (Vec::new(), 0);
        let mut take = |tokens: i64| {
            let begin = next;
            next += tokens as usize;
            begin..next
        };
        for Stretches { prompt, completions } in groups {
            let prompt = take(*prompt);
            ranges.push(Stretch { prompt: prompt.start..prompt.start, tokens: prompt.clone() });
            for completion in completions {
                ranges.push(Stretch { prompt: prompt.clone(), tokens: take(*completion) });
            }
        }
        ranges
    }
}

/// Attention over the tokens of the call alone, group by group.
///
/// Each completion is a call of its own over its prompt's keys and its own: `sum L (P + L)` scores for completions of `L`
/// tokens behind a prompt of `P`, where one masked square over the group would have `(P + sum L)^2`, six times as many for
/// eight completions of twice the prompt's length. On a graphics processor that is three kernels for each completion and layer,
/// which was never measured.
pub(super) struct PackedAttention {
    /// Cover the tokens of the call, in order, without gaps.
    groups: Vec<Stretches>,
    /// What the tokens of a completion see, by its prompt's length, its own, and the window.
    masks: BTreeMap<(i64, i64, Option<i64>), Tensor>,
    /// Which biases apply between them, where distances have some.
    buckets: BTreeMap<(i64, i64), Tensor>,
    /// What an encoder has read for each of `groups`.
    read: Option<Read>,
}

impl PackedAttention {
    /// Attention within each of `groups`, which cover the tokens of the call, in order, without gaps.
    pub(super) fn new(groups: Vec<Stretches>) -> PackedAttention {
        PackedAttention { groups, masks: BTreeMap::new(), buckets: BTreeMap::new(), read: None }
    }

    /// The same, with what an encoder has read for each group.
    pub(super) fn looking_at(self, read: Option<Read>) -> PackedAttention {
        PackedAttention { read, ..self }
    }

    /// What an encoder has read.
    pub(super) fn read(&self) -> Option<&Read> {
        self.read.as_ref()
    }

    /// Lengths of all stretches in order.
    fn lengths(&self) -> Vec<i64> {
        let of_group = |group: &Stretches| {
            std::iter::once(group.prompt).chain(group.completions.iter().copied()).collect::<Vec<_>>()
        };
        self.groups.iter().flat_map(of_group).collect()
    }

    /// Makes the masks that a layer needs and does not have yet.
    fn prepare(&mut self, layer: AttentionLayer<'_>, kind: Kind, device: Device) {
        let window = layer.window;
        for &Stretches { prompt, ref completions } in &self.groups {
            for &completion in completions {
                self.masks
                    .entry((prompt, completion, window))
                    .or_insert_with(|| causal_mask(completion, prompt + completion, window, kind, device));
                if let Some(relative) = layer.relative {
                    self.buckets
                        .entry((prompt, completion))
                        .or_insert_with(|| relative.buckets_of_last(completion, prompt + completion));
                }
            }
        }
    }
}

impl Attention for PackedAttention {
    fn attend_to_read(
        &mut self,
        layer: AttentionLayer<'_>,
        query_bhtd: &Tensor,
        keys_and_values: &dyn Fn(&Read) -> (Tensor, Tensor),
    ) -> Tensor {
        let read = self.read.as_ref().expect("the prompts were read, by contract");
        let lengths = self.groups.iter().map(|group| group.prompt + group.completions.iter().sum::<i64>());
        let (key, value) = keys_and_values(read);
        let lengths: Vec<i64> = lengths.collect();
        attend_by_prompt(query_bhtd, &lengths, (&key, &value), &read.lengths, layer.scale)
    }

    fn attend(
        &mut self,
        layer: AttentionLayer<'_>,
        query_bhtd: &Tensor,
        key_bktd: Tensor,
        value_bktd: Tensor,
    ) -> Tensor {
        self.prepare(layer, query_bhtd.kind(), query_bhtd.device());
        let heads = query_bhtd.size()[1];
        let lengths = self.lengths();
        // Split once: the backward pass puts the parts together once, where cutting each out would add a whole tensor of zeros.
        let split = |x: &Tensor| x.split_with_sizes(&lengths, 2).into_iter();
        let (mut queries, mut keys, mut values) = (
            split(query_bhtd),
            split(&repeat_heads(&key_bktd, heads)),
            split(&repeat_heads(&value_bktd, heads)),
        );
        let mut next = || -> Option<[Tensor; 3]> { Some([queries.next()?, keys.next()?, values.next()?]) };
        let mut attended = Vec::with_capacity(lengths.len());
        for Stretches { prompt, completions } in &self.groups {
            let [query, prompt_key, prompt_value] = next().expect("every stretch has its part");
            attended.push(attend_causally(&query, &prompt_key, &prompt_value, layer));
            for completion in completions {
                let [query, key, value] = next().expect("every stretch has its part");
                let key = Tensor::cat(&[&prompt_key, &key], 2);
                let value = Tensor::cat(&[&prompt_value, &value], 2);
                let mask_tl = &self.masks[&(*prompt, *completion, layer.window)];
                let biased = layer.relative.map(|relative| {
                    (relative.of(&self.buckets[&(*prompt, *completion)], query.kind()) + mask_tl).unsqueeze(0)
                });
                let mask = biased.as_ref().unwrap_or(mask_tl);
                attended.push(attend_under(&query, &key, &value, mask, layer.scale));
            }
        }
        Tensor::cat(&attended, 2)
    }
}

#[cfg(test)]
mod tests {
    use super::super::attention::additive_mask;
    use super::*;

    fn wave(heads: i64, tokens: i64, step: f64) -> Tensor {
        (Tensor::arange(heads * tokens * 4, (Kind::Float, Device::Cpu)) * step)
            .sin()
            .view([1, heads, tokens, 4])
    }

    /// The definition: one masked square over everything.
    #[test]
    fn a_completion_sees_its_prompt_and_itself() {
        let groups = vec![
            Stretches { prompt: 3, completions: vec![2, 5, 1] },
            Stretches { prompt: 1, completions: vec![4] },
        ];
        let (group, segment, position): (Vec<i64>, Vec<i64>, Vec<i64>) = (
            vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1],
            vec![0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 3, 0, 1, 1, 1, 1],
            vec![0, 1, 2, 3, 4, 3, 4, 5, 6, 7, 3, 0, 1, 2, 3, 4],
        );
        let (query, key, value) = (wave(4, 16, 0.7), wave(2, 16, 0.3), wave(2, 16, 0.2));
        for window in [None, Some(2), Some(4)] {
            let sees = |row: usize, column: usize| {
                group[row] == group[column]
                    && (segment[column] == 0 || segment[column] == segment[row])
                    && position[column] <= position[row]
                    && window.is_none_or(|window| position[column] > position[row] - window)
            };
            let visible: Vec<bool> = (0..16)
                .flat_map(|row| (0..16).map(move |column| (row, column)))
                .map(|(r, c)| sees(r, c))
                .collect();
            let mask = additive_mask(&Tensor::from_slice(&visible).view([1, 1, 16, 16]), Kind::Float);
            let whole = attend_under(&query, &repeat_heads(&key, 4), &repeat_heads(&value, 4), &mask, 0.5);
            let layer = AttentionLayer { index: 0, scale: 0.5, window, relative: None };
            let packed = PackedAttention::new(groups.clone()).attend(
                layer,
                &query,
                key.shallow_clone(),
                value.shallow_clone(),
            );
            let apart = (packed - whole).abs().max().double_value(&[]);
            assert!(apart < 1e-6, "window {window:?}: {apart:e}");
        }
    }
}
