//! Weights that belong to one process and travel together.

use std::collections::{BTreeMap, BTreeSet};

use tch::Tensor;

use crate::policy::take_gradient;

/// Weights of a layer, or of what is outside of layers, that one process owns.
pub(super) struct Bucket {
    pub(super) owner: usize,
    pub(super) weights: Vec<(String, Tensor)>,
}

/// `weights` by their owner.
pub(super) fn by_owner(weights: Vec<(String, Tensor)>, owners: &BTreeMap<String, usize>) -> Vec<Bucket> {
    let mut buckets: BTreeMap<usize, Vec<(String, Tensor)>> = BTreeMap::new();
    for (name, weight) in weights {
        buckets.entry(owners[&name]).or_default().push((name, weight));
    }
    buckets.into_iter().map(|(owner, weights)| Bucket { owner, weights }).collect()
}

impl Bucket {
    /// The weights one behind the other.
    pub(super) fn flat(&self) -> Tensor {
        flatten(self.weights.iter().map(|(_, weight)| weight.detach().reshape([-1])).collect())
    }

    /// A tensor of the size of [`Bucket::flat`], whatever is in it.
    pub(super) fn room(&self) -> Tensor {
        let elements = self.weights.iter().map(|(_, weight)| weight.numel() as i64).sum::<i64>();
        let (_, first) = &self.weights[0];
        Tensor::empty([elements], (first.kind(), first.device()))
    }

    /// Gives the weights what is in `flat`, as [`Bucket::flat`] puts it together, and its memory.
    pub(super) fn set(&self, flat: &Tensor) {
        for (weight, part) in self.weights.iter().zip(self.parts(flat)) {
            weight.1.shallow_clone().set_data(&part);
        }
    }

    /// The gradients one behind the other, zeros where there are none; the weights have none afterwards.
    pub(super) fn take(&self, had: &mut BTreeSet<String>) -> Tensor {
        let take = |(name, weight): &(String, Tensor)| {
            let gradient = take_gradient(weight);
            if gradient.is_some() {
                had.insert(name.clone());
            }
            gradient.unwrap_or_else(|| weight.detach().zeros_like()).reshape([-1])
        };
        flatten(self.weights.iter().map(take).collect())
    }

    /// Adds what [`Bucket::take`] has put together to `sums`.
    pub(super) fn add(&self, flat: &Tensor, sums: &mut BTreeMap<String, Tensor>) {
        for ((name, _), part) in self.weights.iter().zip(self.parts(flat)) {
            match sums.get_mut(name) {
                Some(sum) => drop(sum.g_add_(&part)),
                None => drop(sums.insert(name.clone(), part)),
            }
        }
    }

    /// What of `flat` is each weight's.
    fn parts(&self, flat: &Tensor) -> Vec<Tensor> {
        let mut start = 0;
        let part = |(_, weight): &(String, Tensor)| {
            let count = weight.numel() as i64;
            start += count;
            flat.narrow(0, start - count, count).view(&weight.size()[..])
        };
        self.weights.iter().map(part).collect()
    }
}

/// Tensors one behind the other; a single one is not copied.
fn flatten(mut parts: Vec<Tensor>) -> Tensor {
    if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(&parts, 0) }
}
