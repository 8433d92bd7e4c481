//! REX: which program is refined next is drawn by how likely it is to be worth it.
//!
//! Tang et al. 2024 (arXiv:2405.17503), as SOAR has it (Pourcel et al. 2025, arXiv:2507.14172): fresh programs first, then refinements of
//! the program whose draw from its beta distribution is the highest. As a difference: refinements come in batches, in which a program
//! that was chosen counts as expanded at once.

use super::beta::beta;
use super::config::RexConfig;
use super::proposal::{Draws, Proposal, Search, SoFar};

/// The belief in a program that passes a share of `accuracy` of the public tests and was refined `expansions` times: the two
/// parameters of a beta distribution.
///
/// ```text
/// a = 1 + C · accuracy      b = 1 + C · (1 - accuracy) + expansions
/// ```
pub fn belief(accuracy: f64, expansions: usize, strength: f64) -> (f64, f64) {
    (1.0 + strength * accuracy, 1.0 + strength * (1.0 - accuracy) + expansions as f64)
}

/// Fresh programs for a share of the budget, then refinements.
pub(super) struct Rex {
    pub(super) config: RexConfig,
    pub(super) batch: usize,
}

impl Search for Rex {
    fn next(&mut self, so_far: &SoFar<'_>, draws: &mut Draws) -> Vec<Proposal> {
        let candidates: Vec<usize> =
            so_far.programs().filter(|place| so_far.nodes[*place].verdict.is_some()).collect();
        if so_far.spent < self.config.fresh_share || candidates.is_empty() {
            return vec![Proposal::fresh(); self.batch];
        }
        let mut expansions = vec![0; so_far.nodes.len()];
        for parent in so_far.nodes.iter().filter_map(|node| node.proposal.parent) {
            expansions[parent] += 1;
        }
        let mut proposals = Vec::with_capacity(self.batch);
        for _ in 0..self.batch {
            let draw = |place: &usize| {
                let (a, b) = belief(so_far.nodes[*place].share(), expansions[*place], self.config.strength);
                (*place, beta(a, b, &mut || draws.uniform()))
            };
            let highest =
                candidates.iter().map(draw).reduce(|best, next| if next.1 > best.1 { next } else { best });
            let Some((parent, _)) = highest else { break };
            expansions[parent] += 1;
            proposals.push(Proposal::from(parent));
        }
        proposals
    }
}

#[cfg(test)]
mod tests {
    use super::super::proposal::tests::Toy;
    use super::*;

    #[test]
    fn beliefs_are_those_of_the_specification() {
        let mean = |(a, b): (f64, f64)| a / (a + b);
        assert_eq!(belief(0.0, 0, 20.0), (1.0, 21.0));
        assert_eq!(belief(0.5, 3, 20.0), (11.0, 14.0));
        assert_eq!(belief(1.0, 5, 20.0), (21.0, 6.0));
        for (accuracy, expansions, wanted) in [(0.0, 0, 0.045_454_5), (0.5, 3, 0.44), (1.0, 5, 0.777_777_8)] {
            assert!((mean(belief(accuracy, expansions, 20.0)) - wanted).abs() < 1e-7);
        }
    }

    #[test]
    fn what_passes_more_tests_is_refined_more_often_and_not_for_ever() {
        let config = RexConfig { fresh_share: 0.0, ..RexConfig::default() };
        let (mut toy, mut rex) = (Toy::new(), Rex { config, batch: 4 });
        // Four fresh ones, of which the third passes half of the tests; what is refined is as bad as the rest.
        let first = toy.round(&mut rex, |_, place| (String::new(), if place == 2 { 2 } else { 0 }, 4));
        assert_eq!(first, vec![Proposal::fresh(); 4]);
        for _ in 0..10 {
            toy.round(&mut rex, |_, _| (String::new(), 0, 4));
        }
        let times = |parent| toy.nodes.iter().filter(|node| node.proposal.parent == Some(parent)).count();
        let others = (0..toy.nodes.len()).filter(|place| *place != 2).map(times);
        assert!(others.clone().max().unwrap() < times(2), "{} of 40", times(2));
        assert!(times(2) < 40 && others.sum::<usize>() > 0, "{} of 40", times(2));
    }

    #[test]
    fn fresh_programs_come_first_for_their_share_of_the_budget() {
        let mut rex = Rex { config: RexConfig { fresh_share: 0.5, ..RexConfig::default() }, batch: 2 };
        let mut toy = Toy::new();
        toy.round(&mut rex, |_, _| (String::new(), 1, 2));
        let mut parents = |spent| {
            let so_far = SoFar { task: &toy.task, nodes: &toy.nodes, spent };
            rex.next(&so_far, &mut toy.draws).iter().filter(|proposal| proposal.parent.is_some()).count()
        };
        assert_eq!((parents(0.49), parents(0.5)), (0, 2));
    }
}
