//! Draws one token per row from its logits, with a given uniform number each.

use tch::{Kind, Tensor};

use super::shaping::Shaping;

/// Width of the blocks of the two-level search. 256 keeps both levels small for vocabularies up to 200,000.
const BLOCK: i64 = 256;

/// What one draw gives, per row.
pub struct Drawn {
    /// Token ids `[B]`, i64.
    pub token_b: Tensor,
    /// Log-probability `[B]` (nats, f32) of the token under the distribution it was drawn from.
    pub logprob_b: Tensor,
    /// Log-probability `[B]` (nats, f32) of the token before the distribution was shaped.
    pub unshaped_logprob_b: Tensor,
    /// Entropy `[B]` (nats, f32) of the distribution it was drawn from, where it was asked for.
    pub entropy_b: Option<Tensor>,
    /// Probability `[B]` (f32), before the distribution was shaped, of all tokens whose weight is not minus infinity; none
    /// without weights.
    pub allowed_b: Option<Tensor>,
}

/// How tokens are drawn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Draw<'a> {
    /// 0 is greedy.
    pub temperature: f64,
    /// What is left of the model's distribution.
    pub shaping: Shaping,
    /// Tokens of each row's completion so far.
    pub seen: &'a [&'a [i64]],
    /// What is added to the log-probabilities of each row, `[B, V]` f32, before anything else is left out; minus infinity for a
    /// token that must not come.
    pub weights_bv: Option<&'a Tensor>,
    /// Whether the entropy is wanted.
    pub entropy: bool,
}

/// Draws from `softmax(logits / temperature)`, shaped, by inverting the cumulative distribution at `uniform_b`.
///
/// ```text
/// token = min { v : sum_{w <= v} p_w > u }
/// ```
///
/// The sum runs over blocks of 256 tokens first and then within one block, so that only `V + 512` numbers a row are
/// touched after the softmax; `torch.multinomial` draws an exponential per vocabulary entry instead, which costs more
/// than a small model's forward pass. Temperature 0 is greedy: the first largest logit, log-probability 0.
///
/// A row's result does not depend on the other rows, bit for bit.
///
/// `logits_bv` is f32 `[B, V]`; `uniform_b` is f32 `[B]` in `[0, 1)`.
pub fn draw(logits_bv: &Tensor, uniform_b: &Tensor, how: &Draw<'_>) -> Drawn {
    if how.temperature == 0.0 {
        return largest(logits_bv, how);
    }
    let scaled_bv =
        if how.temperature == 1.0 { logits_bv.shallow_clone() } else { logits_bv / how.temperature };
    if how.shaping.is_off() && how.weights_bv.is_none() {
        let probability_bv = scaled_bv.softmax(-1, Kind::Float);
        let token_b1 = search(&probability_bv, uniform_b);
        let logprob_b = probability_bv.gather(-1, &token_b1, false).log_().squeeze_dim(-1);
        return Drawn {
            token_b: token_b1.squeeze_dim(-1),
            unshaped_logprob_b: logprob_b.shallow_clone(),
            logprob_b,
            entropy_b: how.entropy.then(|| entropy(&probability_bv)),
            allowed_b: None,
        };
    }
    let weighted_bv = weighted(&scaled_bv, how);
    let probability_bv = how.shaping.apply(&weighted_bv, how.seen).softmax(-1, Kind::Float);
    let token_b1 = search(&probability_bv, uniform_b);
    let of_token = |x_bv: &Tensor| x_bv.gather(-1, &token_b1, false);
    Drawn {
        logprob_b: of_token(&probability_bv).log_().squeeze_dim(-1),
        unshaped_logprob_b: (of_token(&scaled_bv) - scaled_bv.logsumexp(-1, true)).squeeze_dim(-1),
        token_b: token_b1.squeeze_dim(-1),
        entropy_b: how.entropy.then(|| entropy(&probability_bv)),
        allowed_b: how.weights_bv.map(|weights_bv| {
            let whole_bv = scaled_bv.softmax(-1, Kind::Float);
            (whole_bv * weights_bv.isfinite()).sum_dim_intlist(-1, false, Kind::Float)
        }),
    }
}

/// Logits with the weights of tokens.
fn weighted(logits_bv: &Tensor, how: &Draw<'_>) -> Tensor {
    how.weights_bv.map_or_else(|| logits_bv.shallow_clone(), |weights_bv| logits_bv + weights_bv)
}

/// The first largest logit of each row, after weights and the repetition penalty.
fn largest(logits_bv: &Tensor, how: &Draw<'_>) -> Drawn {
    let weighted_bv = weighted(logits_bv, how);
    let token_b = match how.shaping.repetition_penalty {
        1.0 => weighted_bv.argmax(-1, false),
        _ => how.shaping.apply(&weighted_bv, how.seen).argmax(-1, false),
    };
    let zero_b = token_b.zeros_like().to_kind(Kind::Float);
    Drawn {
        token_b,
        logprob_b: zero_b.shallow_clone(),
        unshaped_logprob_b: zero_b.shallow_clone(),
        entropy_b: how.entropy.then(|| zero_b.shallow_clone()),
        // Nothing is drawn, so nothing is learnt from how probable it was.
        allowed_b: how.weights_bv.map(|_| zero_b.ones_like()),
    }
}

/// Entropy `[B]` of each row; `p ln p` of a token that cannot come is 0.
fn entropy(probability_bv: &Tensor) -> Tensor {
    -probability_bv.xlogy(probability_bv).sum_dim_intlist(-1, false, Kind::Float)
}

/// The token `[B, 1]` whose interval of the cumulative distribution holds the uniform number.
fn search(probability_bv: &Tensor, uniform_b: &Tensor) -> Tensor {
    let (b, v) = probability_bv.size2().expect("probabilities have two dimensions by contract");
    let blocks = (v + BLOCK - 1) / BLOCK;
    let padded = match blocks * BLOCK - v {
        0 => probability_bv.shallow_clone(),
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
    (block_b1 * BLOCK + offset_b1).clamp_max(v - 1)
}

/// Index `[B, 1]` of the first entry of each ascending row that exceeds its target. If none does, which takes rounding, the
/// first of the largest: the one that its own term raised, so that its probability is not zero.
fn first_above(ascending_bn: &Tensor, target_b1: &Tensor) -> Tensor {
    let last_b1 = ascending_bn.narrow(-1, ascending_bn.size()[1] - 1, 1);
    let count = |below_bn: Tensor| below_bn.sum_dim_intlist(-1, true, Kind::Int64);
    count(ascending_bn.le_tensor(target_b1)).minimum(&count(ascending_bn.lt_tensor(&last_b1)))
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn draw_one(logits: &[f32], uniform: f32, temperature: f64) -> (i64, f64) {
        let how = Draw { temperature, ..Draw::default() };
        let drawn = draw(&Tensor::from_slice(logits).unsqueeze(0), &Tensor::from_slice(&[uniform]), &how);
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
        let how = Draw { temperature: 0.8, ..Draw::default() };
        let drawn = draw(&logits.unsqueeze(0).repeat([rows, 1]), &uniform, &how);
        let share = drawn.token_b.bincount::<&Tensor>(None, 4).to_kind(Kind::Float) / rows as f64;
        let wanted = (logits / 0.8).softmax(-1, Kind::Float);
        assert!(share.allclose(&wanted, 1e-3, 2e-4, false), "{share} {wanted}");
    }

    #[test]
    fn temperature_zero_takes_the_largest_logit() {
        assert_eq!(draw_one(&[0.0, 3.0, 3.0, 1.0], 0.9, 0.0), (1, 0.0));
    }
}
