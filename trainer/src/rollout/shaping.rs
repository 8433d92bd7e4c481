//! What sampling leaves of the model's distribution: repetition penalty, top-k, top-p, min-p.

use tch::{Kind, Tensor};

/// How the distribution is shaped before a token is drawn, in the order of the fields, at the sampling temperature.
///
/// The default shapes nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shaping {
    /// Log-probabilities of tokens that the completion already holds are multiplied by it; 1 is off.
    ///
    /// Log-probabilities are never positive, so a penalty above 1 makes every such token less probable. (Multiplying
    /// logits, as is often done, makes those with negative logits less probable and divides the others: what it does
    /// depends on a constant that the softmax does not see.)
    pub repetition_penalty: f64,
    /// Only so many of the most probable tokens are kept, and those equal to the last of them; 0 is off.
    pub top_k: usize,
    /// The most probable tokens that together have this probability are kept, the one that reaches it included
    /// (Holtzman et al. 2020, arXiv:1904.09751); 1 is off.
    pub top_p: f64,
    /// Tokens less probable than this share of the most probable one are dropped (Nguyen et al. 2024,
    /// arXiv:2407.01082); 0 is off.
    pub min_p: f64,
}

impl Default for Shaping {
    fn default() -> Shaping {
        Shaping { repetition_penalty: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0 }
    }
}

impl Shaping {
    /// Whether tokens are drawn from the model's own distribution.
    pub fn is_off(self) -> bool {
        self == Shaping::default()
    }

    /// Unnormalised log-probabilities `[B, V]` of what is left of `softmax(scaled_bv)`; minus infinity where a token is
    /// dropped. At least one token of a row is left.
    ///
    /// `seen` holds the tokens of each row's completion so far.
    pub(crate) fn apply(self, scaled_bv: &Tensor, seen: &[&[i64]]) -> Tensor {
        let mut left_bv = if self.repetition_penalty == 1.0 {
            scaled_bv.shallow_clone()
        } else {
            penalise(scaled_bv, seen, self.repetition_penalty)
        };
        let vocabulary = left_bv.size()[1];
        if self.top_k > 0 && (self.top_k as i64) < vocabulary {
            let (largest_bk, _) = left_bv.topk(self.top_k as i64, -1, true, true);
            let last_b1 = largest_bk.narrow(-1, self.top_k as i64 - 1, 1);
            left_bv = left_bv.masked_fill(&left_bv.lt_tensor(&last_b1), f64::NEG_INFINITY);
        }
        if self.top_p < 1.0 {
            left_bv = nucleus(&left_bv, self.top_p);
        }
        if self.min_p > 0.0 {
            let least_b1 = left_bv.amax([-1i64].as_slice(), true) + self.min_p.ln();
            left_bv = left_bv.masked_fill(&left_bv.lt_tensor(&least_b1), f64::NEG_INFINITY);
        }
        left_bv
    }
}

/// Log-probabilities with those of each row's `seen` tokens multiplied by `penalty`.
fn penalise(scaled_bv: &Tensor, seen: &[&[i64]], penalty: f64) -> Tensor {
    let log_probability_bv = scaled_bv.log_softmax(-1, Kind::Float);
    let longest = seen.iter().map(|tokens| tokens.len()).max().unwrap_or(0);
    if longest == 0 {
        return log_probability_bv;
    }
    // A token that is not in the vocabulary, one further column, fills up rows that have seen fewer.
    let vocabulary = scaled_bv.size()[1];
    let filled = seen.iter().flat_map(|tokens| {
        let missing = longest - tokens.len();
        tokens.iter().copied().chain(std::iter::repeat_n(vocabulary, missing))
    });
    let filled: Vec<i64> = filled.collect();
    let index_bl = Tensor::from_slice(&filled).view([seen.len() as i64, -1]).to_device(scaled_bv.device());
    let wider = log_probability_bv.constant_pad_nd([0, 1]);
    let penalised_bl = wider.gather(-1, &index_bl, false) * penalty;
    wider.scatter(-1, &index_bl, &penalised_bl).narrow(-1, 0, vocabulary)
}

/// Keeps the smallest set of most probable tokens that has at least probability `top_p`.
fn nucleus(left_bv: &Tensor, top_p: f64) -> Tensor {
    let (sorted_bv, index_bv) = left_bv.sort(-1, true);
    let probability_bv = sorted_bv.softmax(-1, Kind::Float);
    let before_bv = probability_bv.cumsum(-1, Kind::Double) - &probability_bv;
    let dropped_sorted_bv = before_bv.ge(top_p);
    let dropped_bv = dropped_sorted_bv.zeros_like().scatter(-1, &index_bv, &dropped_sorted_bv);
    left_bv.masked_fill(&dropped_bv, f64::NEG_INFINITY)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Probabilities of what is left of one row.
    fn shape(probabilities: &[f32], seen: &[i64], shaping: Shaping) -> Vec<f32> {
        let logits = Tensor::from_slice(probabilities).log().unsqueeze(0);
        let left = shaping.apply(&logits, &[seen]).softmax(-1, Kind::Float);
        Vec::try_from(left.squeeze_dim(0)).unwrap()
    }

    #[track_caller]
    fn assert_close(found: &[f32], wanted: &[f32]) {
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}, wanted {wanted:?}");
    }

    const FOUR: [f32; 4] = [0.1, 0.4, 0.2, 0.3];

    #[test]
    fn top_k_keeps_the_most_probable_and_their_equals() {
        let top = |top_k| Shaping { top_k, ..Shaping::default() };
        assert_close(&shape(&FOUR, &[], top(1)), &[0.0, 1.0, 0.0, 0.0]);
        assert_close(&shape(&FOUR, &[], top(2)), &[0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]);
        assert_close(&shape(&FOUR, &[], top(9)), &FOUR);
        assert_close(&shape(&[0.25; 4], &[], top(2)), &[0.25; 4]);
    }

    #[test]
    fn top_p_keeps_the_token_that_reaches_it() {
        let top = |top_p| Shaping { top_p, ..Shaping::default() };
        assert_close(&shape(&FOUR, &[], top(0.39)), &[0.0, 1.0, 0.0, 0.0]);
        assert_close(&shape(&FOUR, &[], top(0.41)), &[0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]);
        assert_close(&shape(&FOUR, &[], top(0.95)), &FOUR);
    }

    #[test]
    fn min_p_is_a_share_of_the_most_probable_token() {
        let least = |min_p| Shaping { min_p, ..Shaping::default() };
        assert_close(&shape(&FOUR, &[], least(0.24)), &FOUR);
        assert_close(&shape(&FOUR, &[], least(0.26)), &[0.0, 4.0 / 9.0, 2.0 / 9.0, 3.0 / 9.0]);
    }

    /// `p^penalty`, renormalised; a logit of either sign gets less probable.
    #[test]
    fn the_penalty_multiplies_log_probabilities() {
        let penalised = Shaping { repetition_penalty: 2.0, ..Shaping::default() };
        let sum = 0.1 + 0.16 + 0.2 + 0.09;
        assert_close(&shape(&FOUR, &[1, 3, 1], penalised), &[0.1 / sum, 0.16 / sum, 0.2 / sum, 0.09 / sum]);
        for constant in [-30.0, 30.0] {
            let logits = (Tensor::from_slice(&FOUR).log() + constant).unsqueeze(0);
            let left = penalised.apply(&logits, &[&[1]]).softmax(-1, Kind::Float);
            assert!(left.double_value(&[0, 1]) < 0.4 - 0.05, "{left}");
        }
        assert_close(&shape(&FOUR, &[], penalised), &FOUR);
    }

    proptest! {
        /// Whatever is asked for, something is left, and nothing that was left out of one is in the other.
        #[test]
        fn something_is_left_and_order_is_kept(
            logits in prop::collection::vec(-20f32..20.0, 1..40), top_k in 0usize..50, top_p in 0.01f64..1.0, min_p in 0f64..1.0,
        ) {
            let row = Tensor::from_slice(&logits).unsqueeze(0);
            let left = Shaping { top_k, top_p, min_p, ..Shaping::default() }.apply(&row, &[&[]]).squeeze_dim(0);
            let left = Vec::<f32>::try_from(left).unwrap();
            let kept = |index: &usize| left[*index].is_finite();
            let places = 0..logits.len();
            prop_assert!(places.clone().any(|index| kept(&index)));
            let least = places.clone().filter(kept).map(|index| logits[index]).fold(f32::INFINITY, f32::min);
            let dropped = places.filter(|index| !kept(index)).map(|index| logits[index]);
            prop_assert!(dropped.fold(f32::NEG_INFINITY, f32::max) <= least);
        }
    }
}
