//! Attention of one new token per row over what the row has in the cache.

use tch::Tensor;

use super::element::{Element, with_element};
use super::exponential::exp;
use super::rows::{NewRows, Rows};
use super::vectors::{LANES, sum, vectorised};

/// A decode step's rows in one layer.
pub(in crate::policy) struct DecodeRows<'a> {
    /// Keys and values `[rows, columns, K, D]` of the layer, those of the new tokens included.
    pub(in crate::policy) keys: &'a Tensor,
    /// See `keys`.
    pub(in crate::policy) values: &'a Tensor,
    /// Position of each row's new token: it sees the columns up to this one.
    pub(in crate::policy) positions: &'a [i64],
    /// How many of them it sees at most, the latest.
    pub(in crate::policy) window: Option<i64>,
    /// Factor of the scores before the softmax.
    pub(in crate::policy) scale: f64,
    /// What is added to the score of a key so many tokens back, `[H, columns]`, f32 without gaps; at least as many columns as the
    /// furthest position has before it.
    pub(in crate::policy) bias_hl: Option<&'a Tensor>,
}

/// `softmax(scale q k^T + bias) v` for queries `[B, H, 1, D]`, in their dtype. Each row looks at its own columns and no others, so that
/// nothing is masked and short rows cost little.
pub(in crate::policy) fn attend(query_bh1d: &Tensor, rows: &DecodeRows<'_>) -> Tensor {
    let shape = query_bh1d.size();
    let head_dim = shape[3] as usize;
    let key_value_heads = rows.keys.size()[2] as usize;
    let group = shape[1] as usize / key_value_heads;
    let stride = key_value_heads * head_dim;
    let DecodeRows { positions, window, scale, bias_hl, .. } = *rows;
    let bias: Option<Vec<f32>> =
        bias_hl.map(|bias_hl| Vec::try_from(bias_hl.flatten(0, -1)).expect("a bias is of f32 by contract"));
    let distances = bias_hl.map_or(0, |bias_hl| bias_hl.size()[1] as usize);
    let work: i64 = positions.iter().sum::<i64>() * stride as i64;
    with_element!(query_bh1d.kind(), E => {
        let query = Rows::<E>::of(query_bh1d);
        let (keys, values) = (Rows::<E>::of(rows.keys), Rows::<E>::of(rows.values));
        NewRows::<E>::new(&shape).write(work as usize, |row, out| {
            let end = positions[row] as usize + 1;
            let begin = window.map_or(0, |window| end.saturating_sub(window as usize));
            let seen = begin * stride..end * stride;
            let (keys, values) = (&keys.row(row)[seen.clone()], &values.row(row)[seen]);
            let mut scratch = Scratch::new(group, end - begin, head_dim);
            let heads = out.chunks_exact_mut(group * head_dim).zip(query.row(row).chunks_exact(group * head_dim));
            for (head, (out, query)) in heads.enumerate() {
                let bias = bias.as_ref().map(|bias| &bias[head * group * distances..]);
                let head = Head { keys, values, stride, first: head * head_dim, head_dim, bias, distances };
                attend_head(&head, query, scale as f32, &mut scratch, out);
            }
        })
    })
}

vectorised! {
    fn attend_head<E>(head: &Head<'_, E>, query: &[E], scale: f32, scratch: &mut Scratch, out: &mut [E]) {
        head.attend(query, scale, scratch, out);
    }
}

/// Keys and values of one head: token by token, at a distance.
struct Head<'a, E> {
    keys: &'a [E],
    values: &'a [E],
    stride: usize,
    first: usize,
    head_dim: usize,
    /// What is added to scores by distance, of one query head after the other.
    bias: Option<&'a [f32]>,
    /// Numbers of one query head in `bias`.
    distances: usize,
}

/// What a row computes with.
struct Scratch {
    /// Scores, then weights, of each query head's tokens.
    scores: Vec<f32>,
    query: Vec<f32>,
    length: usize,
}

impl Scratch {
    fn new(group: usize, length: usize, head_dim: usize) -> Scratch {
        Scratch { scores: vec![0.0; group * length], query: vec![0.0; group * head_dim], length }
    }
}

impl<E: Element> Head<'_, E> {
    /// All query heads of the group.
    #[inline(always)]
    fn attend(&self, query: &[E], scale: f32, scratch: &mut Scratch, out: &mut [E]) {
        for (to, from) in scratch.query.iter_mut().zip(query) {
            *to = from.to_f32() * scale;
        }
        let length = scratch.length;
        for (token, key) in self.keys.chunks_exact(self.stride).enumerate() {
            let key = &key[self.first..self.first + self.head_dim];
            for (head, query) in scratch.query.chunks_exact(self.head_dim).enumerate() {
                scratch.scores[head * length + token] = dot(query, key);
            }
        }
        if let Some(bias) = self.bias {
            for (scores, bias) in
                scratch.scores.chunks_exact_mut(length).zip(bias.chunks_exact(self.distances))
            {
                // The last token is no token behind.
                for (score, bias) in scores.iter_mut().zip(bias[..length].iter().rev()) {
                    *score += *bias;
                }
            }
        }
        let heads = scratch.scores.chunks_exact_mut(length).zip(out.chunks_exact_mut(self.head_dim));
        for (scores, out) in heads {
            let factor = 1.0 / to_weights(scores);
            let mut dimension = 0;
            while dimension < self.head_dim {
                let width = if self.head_dim - dimension >= WIDE { WIDE } else { LANES };
                let out = &mut out[dimension..dimension + width];
                if width == WIDE {
                    self.weigh::<WIDE>(scores, dimension, factor, out);
                } else {
                    self.weigh::<LANES>(scores, dimension, factor, out);
                }
                dimension += width;
            }
        }
    }

    /// The weighted sum of `WIDTH` dimensions of the values, times `factor`.
    #[inline(always)]
    fn weigh<const WIDTH: usize>(&self, weights: &[f32], dimension: usize, factor: f32, out: &mut [E]) {
        let mut sums = [0f32; WIDTH];
        let start = self.first + dimension;
        for (weight, value) in weights.iter().zip(self.values.chunks_exact(self.stride)) {
            let value: &[E; WIDTH] =
                value[start..start + WIDTH].try_into().expect("the slice has this length");
            for lane in 0..WIDTH {
                sums[lane] = weight.mul_add(value[lane].to_f32(), sums[lane]);
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = E::from_f32(sum * factor);
        }
    }
}

/// Dimensions of a head whose sums stay in registers together.
const WIDE: usize = 4 * LANES;

/// Whether [`attend`] takes heads of this width.
pub(in crate::policy) fn takes_width(head_dim: i64) -> bool {
    (head_dim as usize).is_multiple_of(LANES)
}

#[inline(always)]
fn dot<E: Element>(query: &[f32], key: &[E]) -> f32 {
    let mut sums = [0f32; LANES];
    for (query, key) in query.chunks_exact(LANES).zip(key.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] = query[lane].mul_add(key[lane].to_f32(), sums[lane]);
        }
    }
    sum(sums)
}

/// Scores to `exp(score - max)`, and their sum. A NaN among them makes the sum NaN.
#[inline(always)]
fn to_weights(scores: &mut [f32]) -> f32 {
    let mut largest = [f32::NEG_INFINITY; LANES];
    for piece in scores.chunks(LANES) {
        for (largest, score) in largest.iter_mut().zip(piece) {
            *largest = if *score > *largest { *score } else { *largest };
        }
    }
    let largest = largest.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0f32; LANES];
    for piece in scores.chunks_mut(LANES) {
        for (sum, score) in sums.iter_mut().zip(piece) {
            *score = exp(*score - largest);
            *sum += *score;
        }
    }
    sum(sums)
}
