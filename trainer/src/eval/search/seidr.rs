//! SEIDR: trees of repairs, between replacing programs and repairing them.
//!
//! Liventsev et al. 2023 (arXiv:2304.10423). As a difference: a tree that is as deep as it may be is followed by another one, for as long
//! as the budget lasts.

use super::config::SeidrConfig;
use super::proposal::{Draws, Proposal, Search, SoFar};

/// Trees of at most `depth` levels of repairs: on each, the best `width` failing programs have `arity` children each. With an arity
/// of 0 every program is fresh: plain sampling.
pub(super) struct Seidr {
    config: SeidrConfig,
    level: usize,
    /// Nodes of earlier levels.
    before: usize,
}

impl Seidr {
    pub(super) fn new(config: SeidrConfig) -> Seidr {
        Seidr { config, level: 0, before: 0 }
    }

    /// Plain sampling, `batch` programs at a time.
    pub(super) fn sampling(batch: std::num::NonZeroUsize) -> Seidr {
        Seidr::new(SeidrConfig { width: batch, arity: 0, depth: 0 })
    }
}

impl Search for Seidr {
    fn next(&mut self, so_far: &SoFar<'_>, _: &mut Draws) -> Vec<Proposal> {
        let (width, arity) = (self.config.width, self.config.arity);
        let failing = so_far.programs_from(self.before).filter(|place| !so_far.nodes[*place].passes());
        let beam = so_far.best(failing.collect(), width.get());
        self.before = so_far.nodes.len();
        if self.level == self.config.depth || beam.is_empty() || arity == 0 {
            self.level = 0;
            return vec![Proposal::fresh(); width.get()];
        }
        self.level += 1;
        beam.into_iter().flat_map(|parent| vec![Proposal::from(parent); arity]).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::super::proposal::tests::Toy;
    use super::*;

    fn seidr(width: usize, arity: usize, depth: usize) -> Seidr {
        Seidr::new(SeidrConfig { width: NonZeroUsize::new(width).unwrap(), arity, depth })
    }

    fn parents(proposals: &[Proposal]) -> Vec<Option<usize>> {
        proposals.iter().map(|proposal| proposal.parent).collect()
    }

    #[test]
    fn the_best_of_a_level_are_repaired_down_to_the_depth_and_then_there_is_another_tree() {
        let (mut toy, mut search) = (Toy::new(), seidr(2, 3, 2));
        let mut round = || {
            parents(&toy.round(&mut search, |_, place| (String::new(), [1, 0, 0, 2, 3, 3, 1][place % 7], 9)))
        };
        assert_eq!(round(), [None; 2], "two roots");
        assert_eq!(round(), [[Some(0); 3], [Some(1); 3]].concat(), "a beam of two, three children each");
        // The children are 2 to 7, with 0, 2, 3, 3, 1 and 1 tests passed: the best two are 4 and 5.
        assert_eq!(round(), [[Some(4); 3], [Some(5); 3]].concat());
        assert_eq!(round(), [None; 2], "deep enough");
        assert_eq!(round().len(), 6);
    }

    #[test]
    fn what_passes_is_not_repaired_and_arity_0_is_plain_sampling() {
        let (mut toy, mut search) = (Toy::new(), seidr(2, 1, 3));
        let passing = |_: &Proposal, place| (String::new(), if place == 0 { 4 } else { 1 }, 4);
        toy.round(&mut search, passing);
        assert_eq!(parents(&toy.round(&mut search, passing)), [Some(1)]);

        let (mut toy, mut plain) = (Toy::new(), seidr(2, 0, 3));
        let mut sampling = Seidr::sampling(NonZeroUsize::new(2).unwrap());
        for _ in 0..4 {
            let proposals = toy.round(&mut plain, |_, _| (String::new(), 0, 4));
            assert_eq!(proposals, vec![Proposal::fresh(); 2]);
            let so_far = SoFar { task: &toy.task, nodes: &toy.nodes, spent: 0.0 };
            assert_eq!(sampling.next(&so_far, &mut toy.draws), proposals);
        }
    }
}
