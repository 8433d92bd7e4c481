//! Attention of a pack, forward and backward.

use std::ops::Range;

use tch::{Kind, Tensor};

use super::super::row_kernels::element::{Element, with_element};
use super::super::row_kernels::rows::flat;
use super::super::row_kernels::threads;
use super::attention_item::{Behind, Heads, Item, Stretch, backward, forward};
use super::pieces::{size, zeros};
use super::product::whole_panels;
use super::shared::Shared;

/// What attention gives.
pub(in crate::policy) struct Attended {
    /// `softmax(scale q k^T) v`, `[T, H D]`.
    pub(in crate::policy) out_tq: Tensor,
    /// Logarithms of the softmaxes' denominators, `[T, H]` f32.
    pub(in crate::policy) log_sum_th: Tensor,
}

/// Attention within `stretches`, which cover all tokens, over the turned queries and keys, and the values `[T, (H + 2 K) D]`.
pub(in crate::policy) fn attend(qkv: &Tensor, stretches: &[Stretch], heads: &Heads) -> Attended {
    let (tokens, _) = size(qkv);
    let Heads { heads: h, key_value_heads, head_dim, .. } = *heads;
    let options = (qkv.kind(), qkv.device());
    let mut out_tq = Tensor::empty([tokens as i64, (h * head_dim) as i64], options);
    let mut log_sum_th = Tensor::empty([tokens as i64, h as i64], (Kind::Float, qkv.device()));
    with_element!(qkv.kind(), E => {
        let qkv = flat::<E>(qkv);
        let (out, log_sums) = (Shared::<E>::of(&mut out_tq), Shared::<f32>::of(&mut log_sum_th));
        threads::for_each(stretches.len() * key_value_heads, &|index| {
            let (stretch, key_value_head) = (&stretches[index / key_value_heads], index % key_value_heads);
            forward(&Item { qkv, heads, stretch, key_value_head }, &out, &log_sums);
        });
    });
    Attended { out_tq, log_sum_th }
}

/// The gradient by what [`attend`] read, given that by what it gave.
///
/// A prompt's keys and values are read by every completion: each has its share of their gradient apart, and the shares are then
/// added up in order.
pub(in crate::policy) fn attend_backward(
    qkv: &Tensor,
    attended: &Attended,
    gradient_tq: &Tensor,
    stretches: &[Stretch],
    heads: &Heads,
) -> Tensor {
    let mut by_qkv = qkv.empty_like();
    let shares = Shares::new(stretches, heads);
    let mut numbers = Tensor::zeros([shares.count as i64], (Kind::Float, qkv.device()));
    with_element!(qkv.kind(), E => {
        let qkv = flat::<E>(qkv);
        let behind = Behind {
            attended: flat::<E>(&attended.out_tq),
            gradient: flat::<E>(gradient_tq),
            log_sums: flat::<f32>(&attended.log_sum_th),
        };
        let out = Shared::<E>::of(&mut by_qkv);
        {
            let parts = Shared::<f32>::of(&mut numbers);
            threads::for_each(stretches.len() * heads.key_value_heads, &|index| {
                let (index, key_value_head) = (index / heads.key_value_heads, index % heads.key_value_heads);
                let share = shares.of(index, key_value_head);
                let (of_keys, of_values) = parts.piece(share.start, share.len()).split_at_mut(share.len() / 2);
                let item = Item { qkv, heads, stretch: &stretches[index], key_value_head };
                backward(&item, &behind, &out, of_keys, of_values);
            });
        }
        let parts = flat::<f32>(&numbers);
        threads::for_each(stretches.len() * heads.key_value_heads, &|index| {
            shares.add_up(parts, index / heads.key_value_heads, index % heads.key_value_heads, &out);
        });
    });
    by_qkv
}

/// Where each stretch's share of the gradients of keys and values is.
struct Shares<'a> {
    stretches: &'a [Stretch],
    heads: &'a Heads,
    /// First number of each stretch, for its first head.
    starts: Vec<usize>,
    count: usize,
}

impl<'a> Shares<'a> {
    fn new(stretches: &'a [Stretch], heads: &'a Heads) -> Shares<'a> {
        let mut shares = Shares { stretches, heads, starts: Vec::new(), count: 0 };
        for stretch in stretches {
            shares.starts.push(shares.count);
            shares.count += heads.key_value_heads * shares.numbers(stretch);
        }
        shares
    }

    /// Of one head.
    fn numbers(&self, stretch: &Stretch) -> usize {
        2 * whole_panels(stretch.keys()) * self.heads.padded()
    }

    /// Keys, then values, `[2, keys, D]` in whole panels both ways.
    fn of(&self, index: usize, key_value_head: usize) -> Range<usize> {
        let numbers = self.numbers(&self.stretches[index]);
        let start = self.starts[index] + key_value_head * numbers;
        start..start + numbers
    }

    /// Writes the gradients of a stretch's own keys and values, one head of each.
    fn add_up<E: Element>(&self, parts: &[f32], index: usize, key_value_head: usize, out: &Shared<'_, E>) {
        let Heads { heads, key_value_heads, head_dim, .. } = *self.heads;
        let d = self.heads.padded();
        let Stretch { prompt, tokens } = &self.stretches[index];
        let later = self.stretches.iter().enumerate().skip(index + 1);
        let readers = later.take_while(|(_, stretch)| stretch.prompt == *tokens).map(|(reader, _)| reader);
        let readers: Vec<Range<usize>> = readers.map(|reader| self.of(reader, key_value_head)).collect();
        let own = self.of(index, key_value_head);
        let half = |share: &Range<usize>, which: usize| share.start + which * share.len() / 2;
        let mut sums = zeros(d);
        for (row, token) in tokens.clone().enumerate() {
            for which in 0..2 {
                sums.copy_from_slice(&parts[half(&own, which) + (prompt.len() + row) * d..][..d]);
                for reader in &readers {
                    for (sum, part) in sums.iter_mut().zip(&parts[half(reader, which) + row * d..][..d]) {
                        *sum += part;
                    }
                }
                let head = heads + which * key_value_heads + key_value_head;
                let out = out.piece((token * (heads + 2 * key_value_heads) + head) * head_dim, head_dim);
                for (out, sum) in out.iter_mut().zip(&sums) {
                    *out = E::from_f32(*sum);
                }
            }
        }
    }
}
