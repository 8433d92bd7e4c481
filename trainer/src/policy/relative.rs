//! Positions as biases of the scores: what a distance adds is learned, by head (Raffel et al. 2020, arXiv:1910.10683).

use tch::{Kind, Tensor};

use super::architecture::Shapes;
use super::weights::Weights;

/// A bias of the scores that is a function of the distance. All layers of a stack share its table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RelativePositions {
    /// Name of the table `[buckets, H]`.
    pub(super) table: String,
    /// Distances that the table tells apart.
    pub(super) buckets: i64,
    /// Distance from which on all fall into the last bucket.
    pub(super) furthest: i64,
    /// Whether keys behind the query have buckets of their own.
    pub(super) bidirectional: bool,
}

impl RelativePositions {
    pub(super) fn shapes(&self, heads: i64, shapes: &mut Shapes) {
        shapes.add_shared(&self.table, &[self.buckets, heads]);
    }

    pub(super) fn load(&self, weights: &Weights) -> RelativeBias {
        RelativeBias { positions: self.clone(), table_nh: weights.get(&self.table).shallow_clone() }
    }

    /// The bucket of each distance `key - query`, i64.
    ///
    /// Small distances have a bucket each; larger ones share buckets whose borders grow as powers up to `furthest`.
    fn bucket(&self, distance: &Tensor) -> Tensor {
        let (count, offset, distance) = if self.bidirectional {
            let half = self.buckets / 2;
            (half, distance.gt(0).to_kind(Kind::Int64) * half, distance.abs())
        } else {
            (self.buckets, distance.zeros_like(), -distance.clamp_max(0))
        };
        let exact = count / 2;
        let growth = (self.furthest as f64 / exact as f64).ln();
        // f32, as in transformers: at a border the last bit decides. The logarithm of 0 is never looked at.
        let power = (distance.to_kind(Kind::Float) / exact as f64).log() / growth * (count - exact) as f64;
        let shared = (power.clamp_min(0.0).to_kind(Kind::Int64) + exact).clamp_max(count - 1);
        distance.where_self(&distance.lt(exact), &shared) + offset
    }
}

/// Relative positions with their table.
#[derive(Debug)]
pub struct RelativeBias {
    positions: RelativePositions,
    /// `[buckets, H]`, f32.
    table_nh: Tensor,
}

impl RelativeBias {
    /// Which row of the table applies to keys at `key` for queries at `query` (i64 tensors that broadcast against each other).
    pub(super) fn buckets(&self, query: &Tensor, key: &Tensor) -> Tensor {
        self.positions.bucket(&(key - query))
    }

    /// The same for the last `new` tokens of a sequence of `length`, `[new, length]`.
    pub(super) fn buckets_of_last(&self, new: i64, length: i64) -> Tensor {
        let key_l = Tensor::arange(length, (Kind::Int64, self.table_nh.device()));
        self.buckets(&key_l.narrow(0, length - new, new).unsqueeze(1), &key_l.unsqueeze(0))
    }

    /// The rows of the table, `[.., H, T, L]` in `kind` for buckets `[.., T, L]`; part of the gradient graph.
    pub(super) fn of(&self, buckets: &Tensor, kind: Kind) -> Tensor {
        let bias = Tensor::embedding(&self.table_nh, buckets, -1, false, false);
        bias.movedim_int(-1, -3).to_kind(kind)
    }

    /// The bias of a key so many tokens behind its query, `[H, columns]`, f32, for `columns` distances from 0.
    pub(super) fn behind(&self, columns: i64) -> Tensor {
        let distance = Tensor::arange(columns, (Kind::Int64, self.table_nh.device()));
        self.table_nh.index_select(0, &self.positions.bucket(&-distance)).tr().contiguous()
    }
}
