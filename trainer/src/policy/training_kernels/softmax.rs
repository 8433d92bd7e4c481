//! Softmaxes over a vocabulary, and their gradient by the logits.

use tch::{Kind, Tensor};

use super::super::row_kernels::element::Element;
use super::super::row_kernels::exponential::exp;
use super::super::row_kernels::rows::flat;
use super::super::row_kernels::vectors::{LANES, sum, vectorised};
use super::pieces::{for_pieces, size};
use super::shared::Shared;

/// Numbers that are summed in f32 before the sum is added to others in f64.
const STRETCH: usize = 1 << 12;

/// What is said of a row's target: one number for each row, f32.
pub(in crate::policy) struct OfTarget {
    /// Log-probability, in nats.
    pub(in crate::policy) logprob_n: Tensor,
    /// Entropy of the row's distribution, in nats.
    pub(in crate::policy) entropy_n: Tensor,
    /// Logarithm of the softmax's denominator.
    pub(in crate::policy) log_sum_n: Tensor,
}

/// The softmax of each row of `logits_nv` (f32) over `temperature`, seen from `target_n`.
pub(in crate::policy) fn log_probabilities(
    logits_nv: &Tensor,
    target_n: &[i64],
    temperature: f64,
) -> OfTarget {
    let (rows, width) = size(logits_nv);
    assert_eq!(target_n.len(), rows);
    let column = || Tensor::empty([rows as i64], (Kind::Float, logits_nv.device()));
    let mut of = OfTarget { logprob_n: column(), entropy_n: column(), log_sum_n: column() };
    let logits = flat::<f32>(logits_nv);
    let [logprob, entropy, log_sum] =
        [&mut of.logprob_n, &mut of.entropy_n, &mut of.log_sum_n].map(Shared::<f32>::of);
    let factor = (1.0 / temperature) as f32;
    for_pieces(rows, width, |_, piece| {
        for row in piece {
            let logits = &logits[row * width..][..width];
            let mut sums = Sums::default();
            add_up::<f32>(logits, factor, &mut sums);
            let ln = sums.exponentials.ln();
            let found = f64::from(sums.largest) + ln;
            log_sum.piece(row, 1)[0] = found as f32;
            entropy.piece(row, 1)[0] = (ln - sums.weighted / sums.exponentials) as f32;
            let chosen = logits[target_n[row] as usize] * factor;
            logprob.piece(row, 1)[0] = (f64::from(chosen - sums.largest) - ln) as f32;
        }
    });
    of
}

/// The gradient of a loss by what [`OfTarget`] says, f32 columns; none where the loss does not depend on it.
pub(in crate::policy) struct ByTarget<'a> {
    pub(in crate::policy) logprob_n: &'a Tensor,
    pub(in crate::policy) entropy_n: Option<&'a Tensor>,
    pub(in crate::policy) log_sum_n: Option<&'a Tensor>,
}

/// Puts the gradient by the logits in their place.
///
/// ```text
/// d logprob / d z_v = [v = target] - p_v         d entropy / d z_v = -p_v (log p_v + entropy)         d log sum / d z_v = p_v
/// ```
pub(in crate::policy) fn differentiate(
    logits_nv: &mut Tensor,
    target_n: &[i64],
    temperature: f64,
    (entropy_n, log_sum_n): (&Tensor, &Tensor),
    by: &ByTarget<'_>,
) {
    let (rows, width) = size(logits_nv);
    assert_eq!(target_n.len(), rows);
    let logits = Shared::<f32>::of(logits_nv);
    let (entropy, log_sum, by_logprob) =
        (flat::<f32>(entropy_n), flat::<f32>(log_sum_n), flat::<f32>(by.logprob_n));
    let (by_entropies, by_log_sums) = (by.entropy_n.map(flat::<f32>), by.log_sum_n.map(flat::<f32>));
    let or_zero = |column: Option<&[f32]>, row: usize| column.map_or(0.0, |column| column[row]);
    let factor = (1.0 / temperature) as f32;
    for_pieces(rows, width, |_, piece| {
        for row in piece {
            let logits = logits.piece(row * width, width);
            let by_entropy = or_zero(by_entropies, row);
            // The factor of each probability, and that of its logarithm.
            let constant = or_zero(by_log_sums, row) - by_logprob[row] - by_entropy * entropy[row];
            let of_row = OfRow { factor, log_sum: log_sum[row], constant, by_entropy };
            differentiate_row::<f32>(logits, &of_row);
            logits[target_n[row] as usize] += by_logprob[row] * factor;
        }
    });
}

/// Sums over a row.
struct Sums {
    largest: f32,
    /// Of `exp(z - largest)`.
    exponentials: f64,
    /// Of `exp(z - largest) (z - largest)`.
    weighted: f64,
}

impl Default for Sums {
    fn default() -> Sums {
        Sums { largest: f32::NEG_INFINITY, exponentials: 0.0, weighted: 0.0 }
    }
}

vectorised! {
    fn add_up<E>(logits: &[E], factor: f32, sums: &mut Sums) {
        let mut largest = [f32::NEG_INFINITY; LANES];
        let whole = logits.len() / LANES * LANES;
        let (pieces, rest) = logits.split_at(whole);
        for piece in pieces.chunks_exact(LANES) {
            for lane in 0..LANES {
                let z = piece[lane].to_f32() * factor;
                largest[lane] = if z > largest[lane] { z } else { largest[lane] };
            }
        }
        let mut most = largest.into_iter().fold(f32::NEG_INFINITY, f32::max);
        for z in rest {
            most = most.max(z.to_f32() * factor);
        }
        for stretch in pieces.chunks(STRETCH) {
            let (mut exponentials, mut weighted) = ([0f32; LANES], [0f32; LANES]);
            for piece in stretch.chunks_exact(LANES) {
                for lane in 0..LANES {
                    let x = piece[lane].to_f32() * factor - most;
                    let weight = exp(x);
                    exponentials[lane] += weight;
                    weighted[lane] = weight.mul_add(x, weighted[lane]);
                }
            }
            sums.exponentials += f64::from(sum(exponentials));
            sums.weighted += f64::from(sum(weighted));
        }
        for z in rest {
            let x = z.to_f32() * factor - most;
            let weight = exp(x);
            sums.exponentials += f64::from(weight);
            sums.weighted += f64::from(weight * x);
        }
        sums.largest = most;
    }
}

/// What the gradient by a row's logits is made of.
struct OfRow {
    /// 1 over the temperature.
    factor: f32,
    log_sum: f32,
    constant: f32,
    by_entropy: f32,
}

vectorised! {
    fn differentiate_row<E>(logits: &mut [E], row: &OfRow) {
        let OfRow { factor, log_sum, constant, by_entropy } = *row;
        for z in logits {
            let logprob = z.to_f32() * factor - log_sum;
            *z = E::from_f32(exp(logprob) * (constant - by_entropy * logprob) * factor);
        }
    }
}
