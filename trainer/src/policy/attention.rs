//! How tokens see each other: prompts from their first token on, and one new token at a time over a cache.

use tch::{Device, Kind, Tensor};

use super::encoder::{Read, attend_to_all};
use super::kv_cache::{KeysAndValues, KvCache};
use super::relative::RelativeBias;
use super::row_kernels::{self, DecodeRows};

/// Columns that libtorch's attention looks at come in multiples of this, so that shapes (and with them the library's cached kernels)
/// change every 16 tokens only, and rounding does not depend on the longest row.
const COLUMNS: usize = 16;

/// What one layer asks of the attention over its queries, keys and values.
#[derive(Clone, Copy, Debug)]
pub struct AttentionLayer<'a> {
    /// Number of the layer, from 0.
    pub index: usize,
    /// Factor of the scores before the softmax.
    pub scale: f64,
    /// How many tokens a token sees, itself included; all before it if there is none.
    pub window: Option<i64>,
    /// What distances add to the scores.
    pub relative: Option<&'a RelativeBias>,
}

/// How the tokens of one call see each other and what came before. One call per layer.
///
/// Shape suffixes: `b` sequences, `t` tokens, `h` query heads, `k` key-value heads, `d` head width.
pub trait Attention {
    /// Attends with rotated queries `[B, H, T, D]` to rotated keys and values `[B, K, T, D]` of the same tokens, and
    /// to whatever the implementation holds. Returns `[B, H, T, D]`.
    fn attend(
        &mut self,
        layer: AttentionLayer<'_>,
        query_bhtd: &Tensor,
        key_bktd: Tensor,
        value_bktd: Tensor,
    ) -> Tensor;

    /// Attends with queries `[B, H, T, D]` to the prompts that an encoder has read. `keys_and_values` computes those of the
    /// layer, `[1, H, S, D]` each, where the implementation does not hold them.
    ///
    /// # Panics
    ///
    /// If the implementation has no prompts that were read: networks without an encoder never ask.
    fn attend_to_read(
        &mut self,
        _layer: AttentionLayer<'_>,
        _query_bhtd: &Tensor,
        _keys_and_values: &dyn Fn(&Read) -> (Tensor, Tensor),
    ) -> Tensor {
        panic!("nothing was read")
    }

    /// Whether each sequence has one token here, without a graph, so that what lies between two products is computed by the
    /// kernels of a decode step.
    fn is_by_row(&self) -> bool {
        false
    }
}

/// Causal attention within each of several prompts that go through the network as one sequence. Keys and values are kept.
pub struct PrefillAttention<'a> {
    /// First token and number of tokens of each prompt; they cover the tokens of the call, in order, without gaps.
    pub spans: Vec<(i64, i64)>,
    /// What came before each prompt's tokens of this call, stretch by stretch.
    pub before: Vec<&'a [KeysAndValues]>,
    /// Keys and values of all tokens of the call. Empty before the call.
    pub stored: KeysAndValues,
    /// What an encoder has read of each prompt, in the order of `spans`, where one has.
    pub read: Option<ReadPrompts>,
}

/// What an encoder has read, and each layer's keys and values of it.
pub struct ReadPrompts {
    /// What was read.
    pub read: Read,
    /// Keys and values of all that was read. Empty before the call.
    pub stored: KeysAndValues,
}

impl Attention for PrefillAttention<'_> {
    fn attend_to_read(
        &mut self,
        layer: AttentionLayer<'_>,
        query_bhtd: &Tensor,
        keys_and_values: &dyn Fn(&Read) -> (Tensor, Tensor),
    ) -> Tensor {
        let ReadPrompts { read, stored } = self.read.as_mut().expect("the prompts were read, by contract");
        let (key, value) = keys_and_values(read);
        let lengths: Vec<i64> = self.spans.iter().map(|(_, length)| *length).collect();
        let attended = attend_by_prompt(query_bhtd, &lengths, (&key, &value), &read.lengths, layer.scale);
        stored.layers.push((key.squeeze_dim(0).copy(), value.squeeze_dim(0).copy()));
        attended
    }

    fn attend(
        &mut self,
        layer: AttentionLayer<'_>,
        query_bhtd: &Tensor,
        key_bktd: Tensor,
        value_bktd: Tensor,
    ) -> Tensor {
        let heads = query_bhtd.size()[1];
        let attended = self.spans.iter().zip(&self.before).map(|((begin, length), before)| {
            let cut = |x: &Tensor| x.narrow(2, *begin, *length);
            let behind = |new_bktd: &Tensor, of_layer: fn(&(Tensor, Tensor)) -> &Tensor| {
                let before = before.iter().map(|stretch| of_layer(&stretch.layers[layer.index]).unsqueeze(0));
                let all: Vec<Tensor> = before.chain([cut(new_bktd)]).collect();
                let whole = if let [alone] = &all[..] { alone.shallow_clone() } else { Tensor::cat(&all, 2) };
                repeat_heads(&whole, heads)
            };
            let (key, value) = (behind(&key_bktd, |(key, _)| key), behind(&value_bktd, |(_, value)| value));
            attend_causally(&cut(query_bhtd), &key, &value, layer)
        });
        let attended = Tensor::cat(&attended.collect::<Vec<_>>(), 2);
        // Copies: keys are cut out of what turned together with the queries, and values out of the product of all three, which
        // would live as long as they do.
        self.stored.layers.push((key_bktd.squeeze_dim(0).copy(), value_bktd.squeeze_dim(0).copy()));
        attended
    }
}

/// One new token per row over everything the row has cached. On the processor in kernels of our own, elsewhere by libtorch.
pub struct DecodeAttention<'a> {
    cache: &'a mut KvCache,
    positions: &'a [i64],
    masked: Option<Masked>,
    read: Option<ReadRows<'a>>,
    /// What distances add to the scores, `[H, columns]` or as [`Masked`] takes it; the same in all layers.
    bias: Option<Tensor>,
}

/// The prompts that an encoder has read, by row.
struct ReadRows<'a> {
    cache: &'a mut KvCache,
    /// The last token of each row's prompt.
    last: Vec<i64>,
    /// `[rows, 1, 1, columns]`, where there are no kernels: minus infinity beyond the last token.
    mask_b11l: Option<Tensor>,
}

/// What libtorch's attention takes, where there are no kernels of ours.
struct Masked {
    /// Position of each row's new token, `[rows]` i64.
    position_b: Tensor,
    /// Where the cache keeps it, as [`KvCache::store_token`] counts.
    slot_b: Tensor,
    /// Columns that are looked at: at least the longest row, new token included.
    columns: i64,
    /// `[rows, 1, 1, columns]` in the compute dtype: 0 up to the row's position, minus infinity beyond.
    mask_b11l: Tensor,
}

impl<'a> DecodeAttention<'a> {
    /// For the first rows of the cache, whose new tokens have these positions. Their keys and values are added to it.
    pub fn new(cache: &'a mut KvCache, positions: &'a [i64]) -> DecodeAttention<'a> {
        let (kind, device, head_dim) = (cache.kind(), cache.device(), cache.head_dim());
        let has_kernels = row_kernels::exist_for(kind, device) && row_kernels::takes_width(head_dim);
        let masked = (!has_kernels).then(|| Masked::new(positions, cache.capacity(), kind, device));
        DecodeAttention { cache, positions, masked, read: None, bias: None }
    }

    /// The same for rows whose prompts, of these `lengths`, an encoder has read; `cache` has their keys and values.
    pub fn looking_at(self, cache: &'a mut KvCache, lengths: &[i64]) -> DecodeAttention<'a> {
        let mask_b11l = self.masked.as_ref().map(|_| {
            let longest = lengths.iter().max().copied().unwrap_or(1);
            let columns = (longest as usize).next_multiple_of(COLUMNS) as i64;
            let column_l = Tensor::arange(columns, (Kind::Int64, cache.device()));
            let length_b1 = Tensor::from_slice(lengths).to_device(cache.device()).unsqueeze(1);
            let visible = column_l.unsqueeze(0).lt_tensor(&length_b1);
            additive_mask(&visible, cache.kind()).view([-1, 1, 1, columns])
        });
        let last = lengths.iter().map(|length| length - 1).collect();
        DecodeAttention { read: Some(ReadRows { cache, last, mask_b11l }), ..self }
    }
}

impl Masked {
    fn new(positions: &[i64], capacity: i64, kind: Kind, device: Device) -> Masked {
        let slots: Vec<i64> =
            (0i64..).zip(positions).map(|(row, position)| row * capacity + position).collect();
        let longest = positions.iter().max().map_or(0, |position| position + 1);
        let columns = (longest as usize).next_multiple_of(COLUMNS) as i64;
        let position_b = Tensor::from_slice(positions).to_device(device);
        let column_l = Tensor::arange(columns, (Kind::Int64, device));
        let visible = column_l.unsqueeze(0).le_tensor(&position_b.unsqueeze(1));
        Masked {
            slot_b: Tensor::from_slice(&slots).to_device(device),
            mask_b11l: additive_mask(&visible, kind).view([-1, 1, 1, columns]),
            position_b,
            columns,
        }
    }

    /// `[rows, H, 1, columns]` in `kind`: what distances add to the scores.
    fn bias(&self, relative: &RelativeBias, kind: Kind) -> Tensor {
        let column_l = Tensor::arange(self.columns, (Kind::Int64, self.position_b.device()));
        let buckets_b1l = relative.buckets(&self.position_b.view([-1, 1, 1]), &column_l.view([1, 1, -1]));
        relative.of(&buckets_b1l, kind)
    }

    fn attend(
        &self,
        layer: AttentionLayer<'_>,
        bias_bh1l: Option<&Tensor>,
        cache: &mut KvCache,
        [query_bh1d, key_bk1d, value_bk1d]: [&Tensor; 3],
    ) -> Tensor {
        cache.store_token(layer.index, &self.slot_b, key_bk1d, value_bk1d);
        let (b, h, _, d) = query_bh1d.size4().expect("queries have four dimensions by contract");
        let (key, value) = cache.view(layer.index, b, self.columns);
        // The query heads that share a key-value head become query rows of it, so that keys are never copied.
        let grouped = query_bh1d.reshape([b, key.size()[1], -1, d]);
        let narrowed = layer.window.filter(|window| *window < self.columns).map(|window| {
            let column_l = Tensor::arange(self.columns, (Kind::Int64, query_bh1d.device()));
            within_window(&self.mask_b11l, &self.position_b.view([-1, 1, 1, 1]), &column_l, window)
        });
        let mask_b11l = narrowed.as_ref().unwrap_or(&self.mask_b11l);
        // Where there is a bias, every head has keys of its own.
        let biased = bias_bh1l.map(|bias| mask_b11l + bias);
        attend_under(&grouped, &key, &value, biased.as_ref().unwrap_or(mask_b11l), layer.scale)
            .reshape([b, h, 1, d])
    }
}

impl Attention for DecodeAttention<'_> {
    fn is_by_row(&self) -> bool {
        self.masked.is_none()
    }

    fn attend(
        &mut self,
        layer: AttentionLayer<'_>,
        query_bhtd: &Tensor,
        key_bktd: Tensor,
        value_bktd: Tensor,
    ) -> Tensor {
        let AttentionLayer { index, scale, window, relative } = layer;
        if let (None, Some(relative)) = (&self.bias, relative) {
            self.bias = Some(match &self.masked {
                Some(masked) => masked.bias(relative, query_bhtd.kind()),
                None => relative.behind(self.positions.iter().max().map_or(1, |position| position + 1)),
            });
        }
        let bias = self.bias.as_ref();
        if let Some(masked) = &self.masked {
            return masked.attend(layer, bias, self.cache, [query_bhtd, &key_bktd, &value_bktd]);
        }
        let (keys, values) = self.cache.of_layer(index);
        row_kernels::store(keys, self.positions, &key_bktd);
        row_kernels::store(values, self.positions, &value_bktd);
        let rows = DecodeRows { keys, values, positions: self.positions, window, scale, bias_hl: bias };
        row_kernels::attend(query_bhtd, &rows)
    }

    fn attend_to_read(
        &mut self,
        layer: AttentionLayer<'_>,
        query_bhtd: &Tensor,
        _keys_and_values: &dyn Fn(&Read) -> (Tensor, Tensor),
    ) -> Tensor {
        let ReadRows { cache, last, mask_b11l } = self.read.as_mut().expect("prompts were read, by contract");
        let AttentionLayer { index, scale, .. } = layer;
        if let Some(mask_b11l) = mask_b11l {
            let size = mask_b11l.size();
            let (key, value) = cache.view(index, size[0], size[3]);
            return attend_under(query_bhtd, &key, &value, mask_b11l, scale);
        }
        let (keys, values) = cache.of_layer(index);
        let rows = DecodeRows { keys, values, positions: last, window: None, scale, bias_hl: None };
        row_kernels::attend(query_bhtd, &rows)
    }
}

/// Attention of tokens to all of what was read of their prompt: stretches of `query` `[1, H, T, D]` and of keys and values
/// `[1, H, S, D]`, prompt by prompt.
pub(super) fn attend_by_prompt(
    query: &Tensor,
    lengths: &[i64],
    (key, value): (&Tensor, &Tensor),
    read: &[i64],
    scale: f64,
) -> Tensor {
    let keys = key.split_with_sizes(read, 2).into_iter().zip(value.split_with_sizes(read, 2));
    let attended = query
        .split_with_sizes(lengths, 2)
        .into_iter()
        .zip(keys)
        .map(|(query, (key, value))| attend_to_all(&query, &key, &value, None, scale));
    Tensor::cat(&attended.collect::<Vec<_>>(), 2)
}

/// Attention of the last tokens of one sequence, as many as there are queries, to all of it.
pub(super) fn attend_causally(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    layer: AttentionLayer<'_>,
) -> Tensor {
    let (new, length) = (query.size()[2], key.size()[2]);
    let window = layer.window.filter(|window| *window < length);
    if let Some(relative) = layer.relative {
        let mask_tl = causal_mask(new, length, window, query.kind(), query.device());
        let bias_htl = relative.of(&relative.buckets_of_last(new, length), query.kind());
        return attend_under(query, key, value, &(mask_tl + bias_htl).unsqueeze(0), layer.scale);
    }
    if window.is_some() || new < length {
        let mask = causal_mask(new, length, window, query.kind(), query.device());
        return attend_under(query, key, value, &mask, layer.scale);
    }
    Tensor::scaled_dot_product_attention::<&Tensor>(
        query,
        key,
        value,
        None,
        0.0,
        true,
        Some(layer.scale),
        false,
    )
}

/// `softmax(scale q k^T + mask) v` by head; the softmax is computed in f32.
pub(super) fn attend_under(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    mask: &Tensor,
    scale: f64,
) -> Tensor {
    Tensor::scaled_dot_product_attention(query, key, value, Some(mask), 0.0, false, Some(scale), false)
}

/// `[new, length]`: 0 where one of the last `new` tokens of a sequence of `length` sees a token of it, minus infinity elsewhere.
pub(super) fn causal_mask(new: i64, length: i64, window: Option<i64>, kind: Kind, device: Device) -> Tensor {
    let column_l = Tensor::arange(length, (Kind::Int64, device));
    let row_t1 = column_l.narrow(0, length - new, new).unsqueeze(1);
    let mask_tl = additive_mask(&column_l.unsqueeze(0).le_tensor(&row_t1), kind);
    match window {
        Some(window) => within_window(&mask_tl, &row_t1, &column_l, window),
        None => mask_tl,
    }
}

/// `mask` with minus infinity also where a key is `window` positions or more behind the query.
fn within_window(mask: &Tensor, query_position: &Tensor, key_position: &Tensor, window: i64) -> Tensor {
    let behind = key_position.le_tensor(&(query_position - window));
    mask.masked_fill(&behind, f64::NEG_INFINITY)
}

/// `[B, K, T, D]` to `[B, H, T, D]`: head `h` reads key-value head `h / (H / K)`.
pub(super) fn repeat_heads(x_bktd: &Tensor, heads: i64) -> Tensor {
    let (b, k, t, d) = x_bktd.size4().expect("keys have four dimensions by contract");
    if k == heads {
        return x_bktd.shallow_clone();
    }
    x_bktd.unsqueeze(2).expand([b, k, heads / k, t, d], false).reshape([b, heads, t, d])
}

/// 0 where `visible` is true, minus infinity elsewhere, in `kind`.
pub fn additive_mask(visible: &Tensor, kind: Kind) -> Tensor {
    visible.zeros_like().to_kind(kind).masked_fill(&visible.logical_not(), f64::NEG_INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 600 keys of nearly equal weight: added up in bf16, the weights would stop at 256 times the first.
    #[test]
    fn in_bf16_the_softmax_is_that_of_f32() {
        let wave = |n: i64, step: f64| (Tensor::arange(n, (Kind::Float, Device::Cpu)) * step).sin();
        let tensor = |t: i64, step| wave(2 * t * 16, step).view([1, 2, t, 16]).to_kind(Kind::BFloat16);
        let (query, key, value) = (tensor(5, 0.7), tensor(600, 0.3) * 0.1, tensor(600, 0.2) + 1.0);
        let mask = Tensor::zeros([1, 1, 5, 600], (Kind::BFloat16, Device::Cpu));
        let half = attend_under(&query, &key, &value, &mask, 0.25).to_kind(Kind::Float);
        let wide = [&query, &key, &value, &mask].map(|x| x.to_kind(Kind::Float));
        let full = attend_under(&wide[0], &wide[1], &wide[2], &wide[3], 0.25);
        let apart = ((half - &full).abs() / full.abs()).max().double_value(&[]);
        assert!(apart < 2f64.powi(-7), "{apart}");
    }

    #[test]
    fn the_last_tokens_alone_see_what_they_see_beside_the_others() {
        let wave = |step: f64| {
            (Tensor::arange(2 * 7 * 4, (Kind::Float, Device::Cpu)) * step).sin().view([1, 2, 7, 4])
        };
        let (query, key, value) = (wave(0.7), wave(0.3), wave(0.2));
        for window in [None, Some(2), Some(5), Some(9)] {
            let layer = AttentionLayer { index: 0, scale: 0.5, window, relative: None };
            let all = attend_causally(&query, &key, &value, layer);
            for new in [1, 3, 6] {
                let last = attend_causally(&query.narrow(2, 7 - new, new), &key, &value, layer);
                let apart = (last - all.narrow(2, 7 - new, new)).abs().max().double_value(&[]);
                assert!(apart < 1e-6, "{new} with a window of {window:?}: {apart:e}");
            }
        }
    }

    #[test]
    fn a_window_shows_a_token_itself_and_those_right_before_it() {
        let position = Tensor::arange(5, (Kind::Int64, Device::Cpu));
        let causal = position.unsqueeze(0).le_tensor(&position.unsqueeze(1));
        let mask = additive_mask(&causal, Kind::Float);
        let mask = within_window(&mask, &position.unsqueeze(1), &position, 2);
        let seen: Vec<i64> = Vec::try_from(mask.eq(0.0).sum_dim_intlist(1, false, Kind::Int64)).unwrap();
        assert_eq!(seen, [1, 2, 2, 2, 2]);
    }
}
