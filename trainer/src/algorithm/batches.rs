//! From a rollout to optimizer steps, and from groups without a signal to a full rollout.

use super::AlgorithmConfig;
use crate::rng::{Stream, uniform};

/// The groups of each optimizer step of one rollout: `epochs` passes over all of them, each divided into `mini_batches`
/// steps of nearly equal numbers of groups, in an order of their own.
///
/// A group is never split, so that what is compared within it stays together. The order of a pass is a function of
/// `seed`, of `step`, the number of the rollout, and of the pass; with one mini-batch it does not matter and is that of
/// the rollout. Steps without a group are left out.
pub fn mini_batches(config: &AlgorithmConfig, groups: usize, seed: u64, step: u64) -> Vec<Vec<usize>> {
    let count = config.mini_batches.get();
    let pass = |epoch: usize| {
        let mut order: Vec<usize> = (0..groups).collect();
        if count > 1 {
            let key = |group: &usize| {
                uniform(seed, Stream::MiniBatches, &[step, epoch as u64, *group as u64]).to_bits()
            };
            order.sort_by_cached_key(key);
        }
        (0..count).map(move |part| order[part * groups / count..(part + 1) * groups / count].to_vec())
    };
    (0..config.epochs.get()).flat_map(pass).filter(|batch| !batch.is_empty()).collect()
}

/// What dynamic sampling does next (DAPO, Yu et al. 2025, section 3.2; arXiv:2503.14476).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refill {
    /// Sample this many more groups.
    Sample(usize),
    /// Learn from what there is: the step is full, or it has been refilled as often as it may be.
    Learn,
}

impl AlgorithmConfig {
    /// Whether a step with `teaching` groups with a signal, out of `wanted`, samples more; `rounds` is how often it has
    /// been refilled.
    ///
    /// It asks for as many groups as are missing, so that none is left over for the next step or for a checkpoint. Unlike in
    /// DAPO, the number of rounds is bounded: tasks that nobody solves would be sampled for ever.
    pub fn refill(&self, teaching: usize, wanted: usize, rounds: u32) -> Refill {
        match wanted.saturating_sub(teaching) {
            0 => Refill::Learn,
            _ if rounds >= self.refills => Refill::Learn,
            missing => Refill::Sample(missing),
        }
    }
}
