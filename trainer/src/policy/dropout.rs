//! Dropout without a generator: what is left out is a function of what it is left out of.

use tch::{Kind, Tensor};

use crate::rng::{Stream, uniform};

/// All 32-bit words.
const WORD: i64 = 0xffff_ffff;

/// The key of a token, from the key of the one before it: equal texts have equal keys, wherever they lie in a pack.
pub(super) fn token_key(before: i64, token: i64) -> i64 {
    // SplitMix64's finaliser.
    let mut x = (before as u64 ^ token as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) as i64 & WORD
}

/// Which share is left out, and where the choice derives from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dropout {
    /// Share of the numbers that become 0; the others grow by `1 / (1 - rate)`.
    pub(super) rate: f64,
    /// The run's seed.
    pub(super) seed: u64,
    /// Number of the optimizer's update.
    pub(super) update: u64,
}

/// Dropout for the tokens of one call.
pub(super) struct TokenDropout {
    dropout: Dropout,
    key_bt1: Tensor,
}

impl Dropout {
    /// For tokens with the keys `key_bt` (i64, of [`token_key`]).
    pub(super) fn of(self, key_bt: &Tensor) -> TokenDropout {
        TokenDropout { dropout: self, key_bt1: key_bt.unsqueeze(-1) }
    }
}

impl TokenDropout {
    /// Leaves out numbers of `x` `[B, T, N]`; `place` tells apart the matrices of a network.
    ///
    /// A number's fate is a function of the seed, the update, the place, the text up to its token and its column: packing,
    /// the order of rows and the size of a micro-batch change nothing, and a layer that is computed again leaves out the
    /// same.
    pub(super) fn apply(&self, x: &Tensor, place: u64) -> Tensor {
        let Dropout { rate, seed, update } = self.dropout;
        let salt = (uniform(seed, Stream::Dropout, &[update, place]) * (WORD + 1) as f64) as i64;
        let width = *x.size().last().expect("hidden states have dimensions by contract");
        let column = mixed(&Tensor::arange(width, (Kind::Int64, x.device())));
        let row = mixed(&self.key_bt1.bitwise_xor(salt));
        let word = mixed(&row.bitwise_xor_tensor(&column));
        let kept = word.ge((rate * (WORD + 1) as f64) as i64).to_kind(x.kind());
        x * kept / (1.0 - rate)
    }
}

/// A bijection of 32-bit words in which every input bit moves every output bit: the constants that Wellons found by search
/// ("lowbias32", nullprogram.com/blog/2018/07/31). Products wrap around; their low 32 bits are right all the same.
fn mixed(word: &Tensor) -> Tensor {
    let folded = |x: &Tensor, by: i64| x.bitwise_xor_tensor(&x.bitwise_right_shift_tensor_scalar(by));
    let product = |x: Tensor, by: i64| (x * by).bitwise_and(WORD);
    let x = product(folded(word, 16), 0x7feb_352d);
    let x = product(folded(&x, 15), 0x846c_a68b);
    folded(&x, 16)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn kept(update: u64, place: u64, keys: &[i64]) -> Tensor {
        let keys = Tensor::from_slice(keys).unsqueeze(0);
        let x = Tensor::ones([1, keys.size()[1], 512], (Kind::Float, Device::Cpu));
        Dropout { rate: 0.25, seed: 3, update }.of(&keys).apply(&x, place)
    }

    fn keys(count: i64) -> Vec<i64> {
        (0..count)
            .scan(0, |key, token| {
                *key = token_key(*key, token % 7);
                Some(*key)
            })
            .collect()
    }

    #[test]
    fn the_share_left_out_is_the_rate_and_the_mean_stays() {
        let x = kept(0, 0, &keys(256));
        let left_out = x.eq(0.0).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
        // 131 072 draws: three standard deviations are 0.0036.
        assert!((left_out - 0.25).abs() < 0.0036, "{left_out}");
        assert!((x.mean(Kind::Float).double_value(&[]) - 1.0).abs() < 0.005);
        for dimension in [1, 2] {
            let shares = x.eq(0.0).to_kind(Kind::Float).mean_dim(dimension, false, Kind::Float);
            let spread = shares.std(true).double_value(&[]);
            assert!(spread < 0.035, "rows and columns are left out alike, found a spread of {spread}");
        }
    }

    #[test]
    fn another_update_place_or_text_leaves_out_others() {
        let keys = keys(64);
        let first = kept(0, 0, &keys);
        for other in [
            kept(1, 0, &keys),
            kept(0, 1, &keys),
            kept(0, 0, &keys.iter().map(|key| key + 1).collect::<Vec<_>>()),
        ] {
            let same = first.eq_tensor(&other).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
            // Independent choices agree in 0.75^2 + 0.25^2 of the numbers.
            assert!((same - 0.625).abs() < 0.02, "{same}");
        }
    }

    #[test]
    fn a_token_is_treated_alike_wherever_it_lies() {
        let keys = keys(8);
        let whole = kept(2, 5, &keys);
        let part = kept(2, 5, &keys[3..]);
        assert_eq!(whole.narrow(1, 3, 5), part);
    }
}
