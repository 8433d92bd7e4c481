//! Draws one token per row from its logits, with a given uniform number each.

use tch::{Kind, Tensor};

/// Width of the blocks of the two-level search. 256 keeps both levels small for vocabularies up to 200,000.
const BLOCK: i64 = 256;

/// What one draw gives, per row.
pub struct Drawn {
    /// Token ids `[B]`, i64.
    pub token_b: Tensor,
    /// Log-probability `[B]` (nats, f32) of the token under the distribution it was drawn from.
    pub logprob_b: Tensor,
}

/// Draws from `softmax(logits / temperature)` by inverting the cumulative distribution at `uniform_b`.
///
/// ```text
/// token = min { v : sum_{w <= v} p_w > u }
/// ```
///
/// The sum runs over blocks of 256 tokens first and then within one block, so that only `V + 512` numbers a row are
/// touched after the softmax; `torch.multinomial` draws an exponential per vocabulary entry instead, which costs more
/// than a small model's forward pass. Temperature 0 is greedy: the first largest logit, log-probability 0.
///
/// `logits_bv` is f32 `[B, V]`; `uniform_b` is f32 `[B]` in `[0, 1)`.
pub fn draw(logits_bv: &Tensor, uniform_b: &Tensor, temperature: f64) -> Drawn {
    if temperature == 0.0 {
        let token_b = logits_bv.argmax(-1, false);
        let logprob_b = token_b.zeros_like().to_kind(Kind::Float);
        return Drawn { token_b, logprob_b };
    }
    let (b, v) = logits_bv.size2().expect("logits have two dimensions by contract");
    let scaled_bv = if temperature == 1.0 { logits_bv.shallow_clone() } else { logits_bv / temperature };
    let log_sum_b1 = scaled_bv.logsumexp(-1, true);
    let probability_bv = (&scaled_bv - &log_sum_b1).exp_();
    let blocks = (v + BLOCK - 1) / BLOCK;
    let padded = match blocks * BLOCK - v {
        0 => probability_bv,
        missing => probability_bv.constant_pad_nd([0, missing]),
    };
    let probability_bnw = padded.view([b, blocks, BLOCK]);

    // 256 positive terms in f32 are off by at most a few units in the last place; only the long sum needs f64.
    let ends_bn = probability_bnw.sum_dim_intlist(-1, false, Kind::Float).cumsum(-1, Kind::Double);
    // Scaled by the total, so that rounding in the sums cannot push the target past the end.
    let target_b1 = uniform_b.to_kind(Kind::Double).unsqueeze(-1) * ends_bn.narrow(-1, blocks - 1, 1);
    let block_b1 = first_above(&ends_bn, &target_b1);
    let before_b1 = ends_bn.gather(-1, &(&block_b1 - 1).clamp_min(0), false) * block_b1.gt(0);
    let inside_bw = probability_bnw
        .gather(1, &block_b1.unsqueeze(-1).expand([b, 1, BLOCK], false), false)
        .squeeze_dim(1)
        .cumsum(-1, Kind::Double);
    let offset_b1 = first_above(&inside_bw, &(target_b1 - before_b1));
    let token_b1 = (block_b1 * BLOCK + offset_b1).clamp_max(v - 1);
    let logprob_b = (scaled_bv.gather(-1, &token_b1, false) - log_sum_b1).squeeze_dim(-1);
    Drawn { token_b: token_b1.squeeze_dim(-1), logprob_b }
}

/// Index `[B, 1]` of the first entry of each ascending row that exceeds its target; the last entry if none does.
fn first_above(ascending_bn: &Tensor, target_b1: &Tensor) -> Tensor {
    let last = ascending_bn.size()[1] - 1;
    ascending_bn.le_tensor(target_b1).sum_dim_intlist(-1, true, Kind::Int64).clamp_max(last)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn draw_one(logits: &[f32], uniform: f32, temperature: f64) -> (i64, f64) {
        let drawn =
            draw(&Tensor::from_slice(logits).unsqueeze(0), &Tensor::from_slice(&[uniform]), temperature);
        (drawn.token_b.int64_value(&[0]), drawn.logprob_b.double_value(&[0]))
    }

    #[test]
    fn the_uniform_number_picks_the_token_whose_interval_holds_it() {
        let logits: Vec<f32> = [0.1f32, 0.2, 0.3, 0.4].iter().map(|p| p.ln()).collect();
        for (uniform, token) in
            [(0.0, 0), (0.09, 0), (0.11, 1), (0.29, 1), (0.31, 2), (0.59, 2), (0.61, 3), (0.999, 3)]
        {
            let (drawn, logprob) = draw_one(&logits, uniform, 1.0);
            assert_eq!(drawn, token, "at {uniform}");
            assert!((logprob - f64::from(logits[token as usize])).abs() < 1e-6);
        }
    }

    #[test]
    fn a_vocabulary_wider_than_a_block_is_searched_to_its_last_token() {
        let mut logits = vec![-50.0f32; 1000];
        for token in [0usize, 255, 256, 511, 512, 999] {
            logits.fill(-50.0);
            logits[token] = 10.0;
            assert_eq!(draw_one(&logits, 0.999_999, 1.0).0, token as i64);
            assert_eq!(draw_one(&logits, 0.5, 1.0).0, token as i64);
        }
    }

    #[test]
    fn frequencies_follow_the_tempered_softmax() {
        let logits = Tensor::from_slice(&[0.0f32, 1.0, 2.0, -1.0]);
        let rows = 20_000;
        let uniform = (Tensor::arange(rows, (Kind::Float, Device::Cpu)) + 0.5) / rows as f64;
        let drawn = draw(&logits.unsqueeze(0).repeat([rows, 1]), &uniform, 0.8);
        let share = drawn.token_b.bincount::<&Tensor>(None, 4).to_kind(Kind::Float) / rows as f64;
        let wanted = (logits / 0.8).softmax(-1, Kind::Float);
        assert!(share.allclose(&wanted, 1e-3, 2e-4, false), "{share} {wanted}");
    }

    #[test]
    fn temperature_zero_takes_the_largest_logit() {
        assert_eq!(draw_one(&[0.0, 3.0, 3.0, 1.0], 0.9, 0.0), (1, 0.0));
    }
}
