//! Gradients that are added up over all processes while they are computed, each by the process that keeps the running means of its
//! weight, so that nobody has all of them (ZeRO, stage 2: Rajbhandari et al. 2020, arXiv:1910.02054).
//!
//! ```text
//! round       every process computes the gradient of one pack of its own, or none if it has no more
//! block       what a layer's weights get, from the last layer to the first; then what all other weights get
//! bucket      those of a block that one process keeps
//! ```
//!
//! As soon as a block is computed its buckets leave for their owners, and the memory that they had is free; the layer before is
//! computed meanwhile, and the next pack's forward pass. All processes send the same buckets in the same order, with zeros where a
//! process has nothing to add.
//!
//! Where memory runs out in one process, it sends zeros for the rest of its round and says so before the next one, and all begin anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tch::Tensor;

use super::bucket::{Bucket, by_owner};
use super::follower::Follower;
use super::shared_weights::SharedWeights;
use crate::policy::{LayerSource, Policy, set_gradient};
use crate::ranks::{Lane, Ranks, RanksError, TensorUnderway};

/// The sums of one update in the making.
pub(super) struct SharedGradients<'a> {
    ranks: &'a Ranks,
    /// In the order in which they are computed.
    blocks: Vec<Vec<Bucket>>,
    /// The first block of this round that has not been sent; all of them have been between rounds.
    next: usize,
    /// What is on its way, by the places of block and bucket.
    underway: Vec<(usize, usize, TensorUnderway)>,
    /// What has arrived here.
    sums: BTreeMap<String, Tensor>,
    /// Weights that had a gradient in this process.
    had: BTreeSet<String>,
    /// Whether memory has run out here.
    lost: bool,
    /// Who has the layers' weights, where processes share those out as well.
    weights: Option<Arc<SharedWeights>>,
    /// What came of it: whether everything is whole. `None` while there may be further rounds.
    outcome: Option<Result<bool, RanksError>>,
}

impl<'a> SharedGradients<'a> {
    /// No sums yet of the gradients of `policy`, which has none itself. `owners` says who wants which weight's.
    pub(super) fn new(policy: &Policy, owners: &BTreeMap<String, usize>, ranks: &'a Ranks) -> Self {
        let mut trained: BTreeMap<String, Tensor> =
            policy.weights.trained().map(|(name, weight)| (name, weight.shallow_clone())).collect();
        let layers = policy.architecture.names_by_layer();
        let mut blocks: Vec<Vec<(String, Tensor)>> = Vec::new();
        for names in layers.into_iter().rev() {
            blocks.push(names.into_iter().filter_map(|name| trained.remove_entry(&name)).collect());
        }
        blocks.push(trained.into_iter().collect());
        SharedGradients::of(blocks, owners, ranks)
    }

    fn of(blocks: Vec<Vec<(String, Tensor)>>, owners: &BTreeMap<String, usize>, ranks: &'a Ranks) -> Self {
        let blocks: Vec<_> = blocks.into_iter().map(|weights| by_owner(weights, owners)).collect();
        SharedGradients {
            ranks,
            next: blocks.len(),
            blocks,
            underway: Vec::new(),
            sums: BTreeMap::new(),
            had: BTreeSet::new(),
            lost: false,
            weights: None,
            outcome: None,
        }
    }

    /// The same sums, of a network whose layers' weights come from `weights`.
    pub(super) fn with_weights(self, weights: Option<Arc<SharedWeights>>) -> Self {
        SharedGradients { weights, ..self }
    }

    /// Takes part in the rounds of those who have more packs, and gives every weight that this process owns its sum for a gradient;
    /// other weights have none. `whole` is whether everything was computed here; else memory has run out.
    ///
    /// Returns whether that holds of all processes. If not, nothing is left of the sums.
    ///
    /// # Errors
    ///
    /// If a process is gone.
    pub(super) fn finish(mut self, whole: bool) -> Result<bool, RanksError> {
        let _no_gradient = tch::no_grad_guard();
        self.lost = !whole;
        self.end();
        while self.goes_on(false) {
            self.end();
        }
        if !self.outcome.take().unwrap_or(Ok(false))? {
            return Ok(false);
        }
        self.settle()?;
        let names = self.blocks.iter().flatten().flat_map(|bucket| &bucket.weights);
        let had: Vec<bool> = names.map(|(name, _)| self.had.contains(name)).collect();
        let had = self.ranks.any_of(Lane::Learning, "the question whose gradients there are", &had)?;
        let weights = self.blocks.iter().flatten().flat_map(|bucket| &bucket.weights);
        for ((name, weight), had) in weights.zip(had) {
            if let (Some(sum), true) = (self.sums.remove(name), had) {
                set_gradient(weight, Some(&sum));
            }
        }
        Ok(true)
    }

    /// Begins a round if any process has a pack to compute, and none has run out of memory.
    fn goes_on(&mut self, has_pack: bool) -> bool {
        if self.outcome.is_some() {
            return false;
        }
        if let Some(error) = self.weights.as_ref().and_then(|weights| weights.begin_round()) {
            self.outcome = Some(Err(error));
            return false;
        }
        let said = self.ranks.any_of(Lane::Learning, "the next pack of an update", &[has_pack, self.lost]);
        match said.map(|said| (said[0], said[1])) {
            Ok((true, false)) => self.next = 0,
            Ok((_, lost)) => self.outcome = Some(Ok(!lost)),
            Err(error) => self.outcome = Some(Err(error)),
        }
        self.outcome.is_none()
    }

    /// Sends all blocks of this round before block `end` that have not been sent.
    fn send_until(&mut self, end: usize) {
        let _no_gradient = tch::no_grad_guard();
        while self.next < end && self.outcome.is_none() {
            if let Err(error) = self.send(self.next) {
                self.outcome = Some(Err(error));
            }
            self.next += 1;
        }
    }

    /// Takes part in what is left of this round, and computes nothing.
    fn complete(&mut self) {
        if let Some(weights) = self.weights.clone() {
            while self.outcome.is_none() && self.next < self.blocks.len() {
                // What leaves before the weights of this layer come.
                let Some((layer, sent)) = weights.next() else { break };
                self.send_until(sent);
                weights.hold(layer);
                weights.release(layer);
            }
        }
        self.send_until(self.blocks.len());
    }

    /// Sends a block. The one before it has to have arrived, so that no more than two take memory.
    fn send(&mut self, block: usize) -> Result<(), RanksError> {
        self.settle()?;
        for (place, bucket) in self.blocks[block].iter().enumerate() {
            let flat = bucket.take(&mut self.had);
            self.underway.push((block, place, self.ranks.begin_sum(flat, bucket.owner)?));
        }
        Ok(())
    }

    /// Waits for what is on its way, and adds what is for this process to its sums.
    fn settle(&mut self) -> Result<(), RanksError> {
        for (block, place, sum) in std::mem::take(&mut self.underway) {
            let (flat, bucket) = (sum.wait()?, &self.blocks[block][place]);
            if bucket.owner == self.ranks.rank() {
                bucket.add(&flat, &mut self.sums);
            }
        }
        Ok(())
    }
}

impl Follower for SharedGradients<'_> {
    fn begin(&mut self) -> bool {
        self.goes_on(true)
    }

    fn layer_done(&mut self, layer: usize) {
        // The last block is of no layer.
        self.send_until(self.blocks.len() - 1 - layer);
    }

    fn end(&mut self) {
        self.complete();
    }

    fn layers(&self) -> Option<Arc<dyn LayerSource>> {
        self.weights.clone().map(|weights| weights as Arc<dyn LayerSource>)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use tch::{Device, Kind};

    use super::*;
    use crate::policy::gradient_of;
    use crate::ranks::{Fate, Place};

    /// Does `work` as each of two processes that have joined each other.
    fn as_two(work: impl Fn(&Ranks) + Sync) {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let place = |rank| Place {
            rank,
            world: 2,
            local_rank: rank,
            local_world: 2,
            store: ("127.0.0.1".to_owned(), port),
            serves: rank == 0,
            agent_serves: false,
            start: String::new(),
        };
        let end = |fate: &Fate| -> ! { panic!("{fate}") };
        thread::scope(|scope| {
            for rank in 0..2 {
                let (work, place) = (&work, place(rank));
                scope.spawn(move || {
                    let ranks = Ranks::join(place, Device::Cpu, |_| (), end).unwrap();
                    work(&ranks);
                    ranks.leave();
                });
            }
        });
    }

    /// A weight of each of two layers, and one of none.
    fn weights() -> Vec<Tensor> {
        [3, 4, 5].map(|n| Tensor::ones([n], (Kind::Float, Device::Cpu)).set_requires_grad(true)).into()
    }

    fn sums<'a>(weights: &[Tensor], ranks: &'a Ranks) -> SharedGradients<'a> {
        let named = |place: usize| vec![(format!("weight.{place}"), weights[place].shallow_clone())];
        let owners = [("weight.0", 0), ("weight.1", 1), ("weight.2", 1)];
        let owners = owners.map(|(name, owner)| (name.to_owned(), owner)).into();
        SharedGradients::of([1, 0, 2].map(named).into(), &owners, ranks)
    }

    /// A pack whose gradient is `value` everywhere, for the first `layers` layers.
    fn pack(sums: &mut SharedGradients<'_>, weights: &[Tensor], value: f64, layers: usize) {
        for layer in [1, 0].into_iter().take(layers) {
            let _ = gradient_of(&weights[layer]).g_add_scalar_(value);
            sums.layer_done(layer);
            assert!(!weights[layer].grad().defined(), "it has left");
        }
        if layers == 2 {
            let _ = gradient_of(&weights[2]).g_add_scalar_(value);
            sums.end();
        }
    }

    fn gradients(weights: &[Tensor]) -> Vec<Option<f64>> {
        let of = |weight: &Tensor| {
            weight.grad().defined().then(|| weight.grad().mean(Kind::Float).double_value(&[]))
        };
        weights.iter().map(of).collect()
    }

    #[test]
    fn owners_have_the_sums_of_all_packs_and_others_nothing() {
        as_two(|ranks| {
            let weights = weights();
            let mut sums = sums(&weights, ranks);
            // Three packs against one.
            let packs: &[f64] = if ranks.is_first() { &[1.0, 20.0, 300.0] } else { &[4000.0] };
            for value in packs {
                assert!(sums.begin());
                pack(&mut sums, &weights, *value, 2);
            }
            assert!(sums.finish(true).unwrap());
            let all = Some(4321.0);
            let wanted = if ranks.is_first() { [all, None, None] } else { [None, all, all] };
            assert_eq!(gradients(&weights), wanted);
        });
    }

    #[test]
    fn where_memory_runs_out_in_one_process_all_begin_anew() {
        as_two(|ranks| {
            let weights = weights();
            let mut again = sums(&weights, ranks);
            if ranks.is_first() {
                assert!(again.begin());
                pack(&mut again, &weights, 1.0, 2);
                assert!(!again.begin(), "the other has run out of memory");
                assert!(!again.finish(true).unwrap());
            } else {
                assert!(again.begin());
                pack(&mut again, &weights, 1.0, 1);
                assert!(!again.finish(false).unwrap());
            }
            assert_eq!(gradients(&weights), [None, None, None]);
            let mut again = sums(&weights, ranks);
            assert!(again.begin());
            pack(&mut again, &weights, 1.0, 2);
            assert!(again.finish(true).unwrap());
            assert_eq!(
                gradients(&weights).iter().flatten().sum::<f64>(),
                if ranks.is_first() { 2.0 } else { 4.0 }
            );
        });
    }

    /// The way forward through `layers` layers, whose weights are ones.
    fn forward(shared: &SharedWeights, weights: &[Tensor], layers: usize) {
        for (layer, weight) in weights.iter().enumerate().take(layers) {
            shared.hold(layer);
            assert_eq!(weight.mean(Kind::Float).double_value(&[]), 1.0, "layer {layer}");
            shared.release(layer);
        }
    }

    #[test]
    fn layers_come_for_as_long_as_they_are_held_also_after_memory_has_run_out() {
        as_two(|ranks| {
            let weights = weights();
            let bucket = |place: usize, owner| {
                vec![Bucket {
                    owner,
                    weights: vec![(format!("weight.{place}"), weights[place].shallow_clone())],
                }]
            };
            let layers = vec![bucket(0, 0), bucket(1, 1)];
            let shared = Arc::new(SharedWeights::of(layers, bucket(2, 1), ranks));
            let held = |weight: &Tensor| weight.sum(Kind::Float).double_value(&[]) != 0.0;
            assert_eq!([held(&weights[0]), held(&weights[1])], [ranks.is_first(), !ranks.is_first()]);
            let new = || sums(&weights, ranks).with_weights(Some(Arc::clone(&shared)));
            let round = |sums: &mut SharedGradients<'_>| {
                forward(&shared, &weights, 2);
                for layer in [1, 0] {
                    shared.hold(layer);
                    let _ = gradient_of(&weights[layer]).g_add_(&weights[layer].detach());
                    shared.release(layer);
                    sums.layer_done(layer);
                }
                sums.end();
            };
            let mut once = new();
            assert!(once.begin());
            if ranks.is_first() {
                round(&mut once);
                assert!(!once.begin());
            } else {
                forward(&shared, &weights, 1);
            }
            assert!(!once.finish(ranks.is_first()).unwrap());
            // Only the second has a pack now.
            let mut again = new();
            if !ranks.is_first() {
                assert!(again.begin());
                round(&mut again);
            }
            assert!(again.finish(true).unwrap());
            let wanted = if ranks.is_first() { [Some(1.0), None, None] } else { [None, Some(1.0), None] };
            assert_eq!(gradients(&weights), wanted);
            if !ranks.is_first() {
                let _ = tch::no_grad(|| weights[1].detach().g_mul_scalar_(3.0));
            }
            shared.restore().unwrap();
            let values: Vec<f64> =
                weights.iter().map(|weight| weight.mean(Kind::Float).double_value(&[])).collect();
            assert_eq!(values, [1.0, 3.0, 1.0]);
        });
    }

    #[test]
    fn without_packs_there_are_no_gradients() {
        as_two(|ranks| {
            let weights = weights();
            assert!(sums(&weights, ranks).finish(true).unwrap());
            assert_eq!(gradients(&weights), [None, None, None]);
        });
    }
}
