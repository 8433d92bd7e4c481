//! The weights of layers shared out among processes during an update, each with its owner alone but for the time in which its layer is
//! computed (ZeRO, stage 3: Rajbhandari et al. 2020, arXiv:1910.02054).
//!
//! ```text
//! a round     layers 0, 1, …, n - 1 on the way forward; n - 1, …, 1, 0 on the way back
//! ```
//!
//! While a layer is computed the next one's weights are on their way. What belongs to no layer (tables of tokens, norms and matrices
//! at the end, adapters) stays with everybody; and everybody has everything between updates, when attempts are sampled.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tch::Tensor;

use super::bucket::{Bucket, by_owner};
use super::share::owners;
use crate::policy::{LayerSource, Policy};
use crate::ranks::{Ranks, RanksError, TensorUnderway};

/// The weights of an update's layers.
pub(super) struct SharedWeights {
    ranks: Ranks,
    state: Mutex<State>,
}

struct State {
    layers: Vec<Vec<Bucket>>,
    /// What is updated and belongs to no layer.
    rest: Vec<Bucket>,
    /// How many layers have been held in this round.
    position: usize,
    /// A layer on its way.
    coming: Option<(usize, Vec<TensorUnderway>)>,
    /// The first thing that failed.
    error: Option<RanksError>,
}

impl SharedWeights {
    /// Lets go of the layers of `policy` that others own; `trained` says who owns what is trained. Of frozen weights the owners are
    /// chosen as theirs.
    pub(super) fn new(policy: &Policy, trained: &BTreeMap<String, usize>, ranks: &Ranks) -> SharedWeights {
        let names = policy.architecture.names_by_layer();
        let frozen = names.iter().flatten().filter(|name| !trained.contains_key(*name));
        let sizes = frozen.map(|name| (name.clone(), policy.weights.get(name).numel())).collect();
        let mut all = owners(&sizes, ranks.world());
        all.extend(trained.iter().map(|(name, owner)| (name.clone(), *owner)));
        let mut rest: BTreeMap<String, Tensor> =
            policy.weights.trained().map(|(name, weight)| (name, weight.shallow_clone())).collect();
        let mut layers = Vec::new();
        for names in names {
            let own = |name: String| {
                rest.remove(&name);
                let weight = policy.weights.get(&name).shallow_clone();
                (name, weight)
            };
            layers.push(by_owner(names.into_iter().map(own).collect(), &all));
        }
        SharedWeights::of(layers, by_owner(rest.into_iter().collect(), &all), ranks)
    }

    /// Lets go of those of `layers` that others own.
    pub(super) fn of(layers: Vec<Vec<Bucket>>, rest: Vec<Bucket>, ranks: &Ranks) -> SharedWeights {
        let state = State { layers, rest, position: 0, coming: None, error: None };
        (0..state.layers.len()).for_each(|layer| state.forget(layer, ranks.rank()));
        SharedWeights { ranks: ranks.clone(), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Where a computation ran out of memory, what is here is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a round; what failed in the one before, if anything did.
    pub(super) fn begin_round(&self) -> Option<RanksError> {
        let mut state = self.state();
        state.position = 0;
        state.error.take()
    }

    /// The next layer of this round, and how many blocks of gradients leave before it comes; `None` if there is none left.
    pub(super) fn next(&self) -> Option<(usize, usize)> {
        let state = self.state();
        Some((state.layer_at(state.position)?, state.position.saturating_sub(state.layers.len())))
    }

    /// Has everybody hold everything again, as its owners have it.
    ///
    /// # Errors
    ///
    /// If a process is gone.
    pub(super) fn restore(&self) -> Result<(), RanksError> {
        let _no_gradient = tch::no_grad_guard();
        let mut state = self.state();
        let count = state.layers.len();
        state.coming = None;
        for layer in 0..count {
            state.bring(layer, (layer + 1 < count).then_some(layer + 1), &self.ranks)?;
        }
        let rooms = rooms(&self.ranks, &state.rest);
        let rest = begin(&self.ranks, &state.rest, rooms)?;
        arrive(&self.ranks, &state.rest, rest)
    }
}

impl LayerSource for SharedWeights {
    fn hold(&self, layer: usize) {
        let _no_gradient = tch::no_grad_guard();
        let mut state = self.state();
        let next = state.layer_at(state.position + 1);
        if state.error.is_none()
            && let Err(error) = state.bring(layer, next, &self.ranks)
        {
            state.error = Some(error);
        }
        state.position += 1;
        if state.error.is_some() {
            // The process ends before anything comes of it, and until then it computes with something.
            let own = self.ranks.rank();
            for bucket in state.layers[layer].iter().filter(|bucket| bucket.owner != own) {
                bucket.set(&bucket.room().zero_());
            }
        }
    }

    fn release(&self, layer: usize) {
        self.state().forget(layer, self.ranks.rank());
    }
}

impl State {
    /// The layer that is held at a place of a round.
    fn layer_at(&self, position: usize) -> Option<usize> {
        let count = self.layers.len();
        if position < count { Some(position) } else { (2 * count).checked_sub(position + 1) }
    }

    /// Waits for a layer, and sends for the `next` one. Where memory runs out, nothing has been sent for.
    fn bring(&mut self, layer: usize, next: Option<usize>, ranks: &Ranks) -> Result<(), RanksError> {
        let is_coming = self.coming.as_ref().is_some_and(|(known, _)| *known == layer);
        let own_rooms = if is_coming { Vec::new() } else { rooms(ranks, &self.layers[layer]) };
        let next = next.map(|next| (next, rooms(ranks, &self.layers[next])));
        let coming = match self.coming.take() {
            Some((_, coming)) if is_coming => coming,
            _ => begin(ranks, &self.layers[layer], own_rooms)?,
        };
        if let Some((next, rooms)) = next {
            self.coming = Some((next, begin(ranks, &self.layers[next], rooms)?));
        }
        arrive(ranks, &self.layers[layer], coming)
    }

    /// Leaves of a layer's weights that others own nothing but their shapes.
    fn forget(&self, layer: usize, own: usize) {
        let _no_gradient = tch::no_grad_guard();
        let weights = self.layers[layer].iter().filter(|bucket| bucket.owner != own);
        for (_, weight) in weights.flat_map(|bucket| &bucket.weights) {
            let nothing = Tensor::zeros([], (weight.kind(), weight.device()));
            weight.shallow_clone().set_data(&nothing.expand(weight.size(), false));
        }
    }
}

/// What buckets are sent from, and what they come into.
fn rooms(ranks: &Ranks, buckets: &[Bucket]) -> Vec<Tensor> {
    let room = |bucket: &Bucket| if bucket.owner == ranks.rank() { bucket.flat() } else { bucket.room() };
    buckets.iter().map(room).collect()
}

/// Begins to send buckets from their owners to all.
fn begin(ranks: &Ranks, buckets: &[Bucket], rooms: Vec<Tensor>) -> Result<Vec<TensorUnderway>, RanksError> {
    let begin = |(bucket, room): (&Bucket, Tensor)| ranks.begin_broadcast(room, bucket.owner);
    buckets.iter().zip(rooms).map(begin).collect()
}

/// Waits for buckets, and gives the weights that others own what has come.
fn arrive(ranks: &Ranks, buckets: &[Bucket], coming: Vec<TensorUnderway>) -> Result<(), RanksError> {
    for (bucket, coming) in buckets.iter().zip(coming) {
        let flat = coming.wait()?;
        if bucket.owner != ranks.rank() {
            bucket.set(&flat);
        }
    }
    Ok(())
}
