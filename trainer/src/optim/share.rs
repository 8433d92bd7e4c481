//! The optimizer's running means shared out among processes: each keeps those of some weights, updates these, and sends them to the
//! others (ZeRO, stage 1: Rajbhandari et al. 2020, arXiv:1910.02054).
//!
//! Weights are shared out whole, so that what is computed for each is what one process would compute, bit for bit.

use std::collections::BTreeMap;

use tch::Tensor;

use super::shared_weights::SharedWeights;
use super::{Optimizer, Sharding};
use crate::policy::{Policy, Weights};
use crate::ranks::{Ranks, RanksError};

/// Means by the name of their weight.
pub type Means = BTreeMap<String, Vec<Tensor>>;

/// Who keeps the means of each weight: the largest weight first, always to the process that has least. `sizes` has the elements of
/// each weight by name.
pub fn owners(sizes: &BTreeMap<String, usize>, world: usize) -> BTreeMap<String, usize> {
    let mut order: Vec<(&String, usize)> = sizes.iter().map(|(name, size)| (name, *size)).collect();
    order.sort_by(|(one, one_size), (other, other_size)| other_size.cmp(one_size).then(one.cmp(other)));
    let mut loads = vec![0; world.max(1)];
    let mut owners = BTreeMap::new();
    for (name, size) in order {
        let least = (0..loads.len()).min_by_key(|rank| loads[*rank]).unwrap_or(0);
        loads[least] += size;
        owners.insert(name.clone(), least);
    }
    owners
}

/// Who keeps the means of each trained weight among `ranks`.
pub fn owners_of(weights: &Weights, ranks: &Ranks) -> BTreeMap<String, usize> {
    owners(&weights.trained().map(|(name, weight)| (name, weight.numel())).collect(), ranks.world())
}

impl Optimizer {
    /// Forgets the means of weights that others own; `sharding` says what else is shared out.
    pub fn share_among(&mut self, weights: &Weights, ranks: &Ranks, sharding: Sharding) {
        let owners = owners_of(weights, ranks);
        self.means.retain(|name, _| owners.get(name) == Some(&ranks.rank()));
        self.owners = Some(owners);
        self.shares_gradients = matches!(sharding, Sharding::Gradients | Sharding::Parameters);
        self.shares_weights = sharding == Sharding::Parameters;
    }

    /// Shares the weights of `policy` out for an update, if that is wanted and its network can be computed layer by layer.
    pub(super) fn share_weights(&self, policy: &Policy, ranks: &Ranks) -> Option<SharedWeights> {
        let owners = self.owners.as_ref().filter(|_| self.shares_weights && policy.updates_by_layer())?;
        Some(SharedWeights::new(policy, owners, ranks))
    }

    /// Sends the weights that this process has updated to the others, and takes theirs. Does nothing where every process keeps
    /// everything.
    ///
    /// # Errors
    ///
    /// If a process is gone.
    pub fn exchange_weights(&self, weights: &Weights, ranks: &Ranks) -> Result<(), RanksError> {
        let Some(owners) = &self.owners else { return Ok(()) };
        let _no_gradient = tch::no_grad_guard();
        for (name, weight) in weights.trained() {
            ranks.broadcast("the weights of a step", &weight.detach(), owners[&name])?;
        }
        Ok(())
    }

    /// All means, put together by the first process, for a checkpoint; `None` with the others, and where every process keeps
    /// everything. Every process has to call it.
    ///
    /// # Errors
    ///
    /// If a process is gone.
    pub fn gathered(&self, weights: &Weights, ranks: &Ranks) -> Result<Option<Means>, RanksError> {
        let Some(owners) = &self.owners else { return Ok(None) };
        let _no_gradient = tch::no_grad_guard();
        let mut all = Means::new();
        for (name, weight) in weights.trained() {
            let owner = owners[&name];
            let own = self.means.get(&name);
            for place in 0..self.kind.means().len() {
                let mean = own.map_or_else(|| weight.detach().zeros_like(), |own| own[place].shallow_clone());
                // The first keeps what it owns; all others need the tensor only to take part.
                if owner != 0 {
                    ranks.broadcast("the optimizer's means for a checkpoint", &mean, owner)?;
                }
                if ranks.is_first() {
                    all.entry(name.clone()).or_default().push(mean);
                }
            }
        }
        Ok(ranks.is_first().then_some(all))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nobody_has_much_more_than_the_others(
            sizes in proptest::collection::vec(1usize..10_000, 1..60),
            world in 1usize..9,
        ) {
            let sizes: BTreeMap<String, usize> =
                sizes.into_iter().enumerate().map(|(place, size)| (format!("weight.{place}"), size)).collect();
            let owners = owners(&sizes, world);
            let mut loads = vec![0; world];
            sizes.iter().for_each(|(name, size)| loads[owners[name]] += size);
            prop_assert_eq!(loads.iter().sum::<usize>(), sizes.values().sum::<usize>());
            let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
            prop_assert!(most - least <= *sizes.values().max().unwrap());
        }
    }
}
