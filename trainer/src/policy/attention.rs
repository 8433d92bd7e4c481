//! How tokens see each other: prompts from their first token on, and one new token at a time over a cache.

use tch::{Kind, Tensor};

use super::kv_cache::KvCache;

/// What one layer asks of the attention over its queries, keys and values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionLayer {
    /// Number of the layer, from 0.
    pub index: usize,
    /// Factor of the scores before the softmax.
    pub scale: f64,
    /// How many tokens a token sees, itself included; all before it if there is none.
    pub window: Option<i64>,
}

/// How the tokens of one call see each other and what came before. One call per layer.
///
/// Shape suffixes: `b` sequences, `t` tokens, `h` query heads, `k` key-value heads, `d` head width.
pub trait Attention {
    /// Attends with rotated queries `[B, H, T, D]` to rotated keys and values `[B, K, T, D]` of the same tokens, and
    /// to whatever the implementation holds. Returns `[B, H, T, D]`.
    fn attend(
        &mut self,
        layer: AttentionLayer,
        query_bhtd: &Tensor,
        key_bktd: Tensor,
        value_bktd: Tensor,
    ) -> Tensor;
}

/// Causal attention within each of several prompts that go through the network as one sequence. Keys and values are kept.
pub struct PrefillAttention {
    /// First token and number of tokens of each prompt; they cover the tokens of the call, in order, without gaps.
    pub spans: Vec<(i64, i64)>,
    /// Keys and values `[K, T, D]` of all tokens of the call, layer by layer. Empty before the call.
    pub stored: Vec<(Tensor, Tensor)>,
}

impl Attention for PrefillAttention {
    fn attend(
        &mut self,
        layer: AttentionLayer,
        query_bhtd: &Tensor,
        key_bktd: Tensor,
        value_bktd: Tensor,
    ) -> Tensor {
        let heads = query_bhtd.size()[1];
        let attended = self.spans.iter().map(|(begin, length)| {
            let cut = |x: &Tensor| x.narrow(2, *begin, *length);
            let (key, value) = (repeat_heads(&cut(&key_bktd), heads), repeat_heads(&cut(&value_bktd), heads));
            attend_causally(&cut(query_bhtd), &key, &value, layer)
        });
        let attended = Tensor::cat(&attended.collect::<Vec<_>>(), 2);
        self.stored.push((key_bktd.squeeze_dim(0), value_bktd.squeeze_dim(0)));
        attended
    }
}

/// One new token per row over everything the row has cached.
pub struct DecodeAttention<'a> {
    /// Keys and values of the rows so far; the new ones are added.
    pub cache: &'a mut KvCache,
    /// Rows in use, `0..rows`.
    pub rows: i64,
    /// Position of each row's new token, `[rows]` i64.
    pub position_b: &'a Tensor,
    /// Where the cache keeps it, as [`KvCache::store_token`] counts.
    pub slot_b: &'a Tensor,
    /// Columns that are looked at: at least the longest row, new token included.
    pub columns: i64,
    /// `[rows, 1, 1, columns]` in the compute dtype: 0 up to the row's position, minus infinity beyond.
    pub mask_b11l: &'a Tensor,
}

impl Attention for DecodeAttention<'_> {
    fn attend(
        &mut self,
        layer: AttentionLayer,
        query_bhtd: &Tensor,
        key_bktd: Tensor,
        value_bktd: Tensor,
    ) -> Tensor {
        self.cache.store_token(layer.index, self.slot_b, &key_bktd, &value_bktd);
        let (key, value) = self.cache.view(layer.index, self.rows, self.columns);
        let (b, h, _, d) = query_bhtd.size4().expect("queries have four dimensions by contract");
        // The query heads that share a key-value head become query rows of it, so that keys are never copied.
        let grouped = query_bhtd.reshape([b, key.size()[1], -1, d]);
        let narrowed = layer.window.filter(|window| *window < self.columns).map(|window| {
            let column_l = Tensor::arange(self.columns, (Kind::Int64, query_bhtd.device()));
            within_window(self.mask_b11l, &self.position_b.view([-1, 1, 1, 1]), &column_l, window)
        });
        let mask_b11l = narrowed.as_ref().unwrap_or(self.mask_b11l);
        attend_under(&grouped, &key, &value, mask_b11l, layer.scale).reshape([b, h, 1, d])
    }
}

/// Attention of one sequence from its first token on.
pub(super) fn attend_causally(query: &Tensor, key: &Tensor, value: &Tensor, layer: AttentionLayer) -> Tensor {
    let length = query.size()[2];
    if let Some(window) = layer.window.filter(|window| *window < length) {
        let position = Tensor::arange(length, (Kind::Int64, query.device()));
        let causal = position.unsqueeze(0).le_tensor(&position.unsqueeze(1));
        let mask = additive_mask(&causal, query.kind());
        let mask = within_window(&mask, &position.unsqueeze(1), &position, window);
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

/// `mask` with minus infinity also where a key is `window` positions or more behind the query.
pub(super) fn within_window(
    mask: &Tensor,
    query_position: &Tensor,
    key_position: &Tensor,
    window: i64,
) -> Tensor {
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
    use tch::Device;

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
    fn a_window_shows_a_token_itself_and_those_right_before_it() {
        let position = Tensor::arange(5, (Kind::Int64, Device::Cpu));
        let causal = position.unsqueeze(0).le_tensor(&position.unsqueeze(1));
        let mask = additive_mask(&causal, Kind::Float);
        let mask = within_window(&mask, &position.unsqueeze(1), &position, 2);
        let seen: Vec<i64> = Vec::try_from(mask.eq(0.0).sum_dim_intlist(1, false, Kind::Int64)).unwrap();
        assert_eq!(seen, [1, 2, 2, 2, 2]);
    }
}
