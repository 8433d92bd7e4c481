//! Two ways for tokens to see each other: packed groups in one pass, and one token at a time over a cache.

use tch::{Kind, Tensor};

use super::kv_cache::KvCache;
use super::network::{Attention, AttentionLayer};

/// Tokens of a call that see only each other.
pub struct Span {
    /// Index of its first token.
    pub begin: i64,
    /// Number of tokens.
    pub length: i64,
    /// Added to the scores, `[1, 1, T, T]` in the compute dtype: 0 where a query row may see a key column, minus
    /// infinity elsewhere. Every row sees at least itself.
    pub mask_11tt: Tensor,
}

/// Attention over the tokens of the call alone, span by span.
pub struct PackedAttention {
    /// Cover the tokens of the call, in order, without gaps.
    pub spans: Vec<Span>,
}

impl Attention for PackedAttention {
    fn attend(
        &mut self,
        layer: AttentionLayer,
        query_bhtd: &Tensor,
        key_bktd: Tensor,
        value_bktd: Tensor,
    ) -> Tensor {
        let heads = query_bhtd.size()[1];
        let attended = self.spans.iter().map(|Span { begin, length, mask_11tt }| {
            let cut = |x: &Tensor| x.narrow(2, *begin, *length);
            Tensor::scaled_dot_product_attention(
                &cut(query_bhtd),
                &repeat_heads(&cut(&key_bktd), heads),
                &repeat_heads(&cut(&value_bktd), heads),
                Some(mask_11tt),
                0.0,
                false,
                Some(layer.scale),
                false,
            )
        });
        Tensor::cat(&attended.collect::<Vec<_>>(), 2)
    }
}

/// Causal attention that also stores keys and values in the cache, from position 0: the prefill of one prompt.
pub struct PrefillAttention<'a> {
    /// Where keys and values go.
    pub cache: &'a mut KvCache,
    /// First cache row of the samples that share this prompt.
    pub row: i64,
    /// How many rows share it.
    pub count: i64,
}

impl Attention for PrefillAttention<'_> {
    fn attend(
        &mut self,
        layer: AttentionLayer,
        query_bhtd: &Tensor,
        key_bktd: Tensor,
        value_bktd: Tensor,
    ) -> Tensor {
        self.cache.store_prompt(layer.index, self.row, self.count, &key_bktd, &value_bktd);
        let heads = query_bhtd.size()[1];
        let (key, value) = (repeat_heads(&key_bktd, heads), repeat_heads(&value_bktd, heads));
        Tensor::scaled_dot_product_attention::<&Tensor>(
            query_bhtd,
            &key,
            &value,
            None,
            0.0,
            true,
            Some(layer.scale),
            false,
        )
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
        self.cache.store_token(layer.index, self.rows, self.position_b, &key_bktd, &value_bktd);
        let (key, value) = self.cache.view(layer.index, self.rows, self.columns);
        let (b, h, _, d) = query_bhtd.size4().expect("queries have four dimensions by contract");
        // The query heads that share a key-value head become query rows of it, so that keys are never copied.
        let grouped = query_bhtd.reshape([b, key.size()[1], -1, d]);
        Tensor::scaled_dot_product_attention(
            &grouped,
            &key,
            &value,
            Some(self.mask_b11l),
            0.0,
            false,
            Some(layer.scale),
            false,
        )
        .reshape([b, h, 1, d])
    }
}

/// `[B, K, T, D]` to `[B, H, T, D]`: head `h` reads key-value head `h / (H / K)`.
fn repeat_heads(x_bktd: &Tensor, heads: i64) -> Tensor {
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
