//! CodeChain: functions in the middle of clusters of functions go into the next prompts.
//!
//! Le et al. 2023 (arXiv:2310.08992). As differences: functions are compared by the shapes of their syntax subtrees instead of a network's
//! embedding, and a chain that is over is followed by another one.

use rltrain_rewards::Syntax;

use super::config::CodeChainConfig;
use super::k_means::{Bag, representatives};
use super::proposal::{Draws, Proposal, Search, SoFar};
use crate::tasks::Task;

/// Chains of rounds: fresh programs, then programs that are shown the functions of those before.
pub(super) struct CodeChain {
    config: CodeChainConfig,
    round: usize,
    before: usize,
}

impl CodeChain {
    pub(super) fn new(config: CodeChainConfig) -> CodeChain {
        CodeChain { config, round: 0, before: 0 }
    }
}

impl Search for CodeChain {
    fn next(&mut self, so_far: &SoFar<'_>, draws: &mut Draws) -> Vec<Proposal> {
        let new: Vec<usize> = so_far.programs_from(self.before).collect();
        self.before = so_far.nodes.len();
        let passing: Vec<usize> = new.iter().copied().filter(|place| so_far.nodes[*place].passes()).collect();
        let pool = if passing.is_empty() { new } else { passing };
        let clusters = self.config.clusters.get(self.round.wrapping_sub(1)).copied();
        let found = clusters.filter(|_| !pool.is_empty()).map(|k| {
            let programs = pool.iter().map(|place| so_far.nodes[*place].program.as_str());
            modules(so_far.task, programs, k.get(), draws)
        });
        self.round = if found.is_some() || self.round == 0 { self.round + 1 } else { 1 };
        let modules = found.unwrap_or_default();
        let direction = self.config.instruction.clone();
        vec![Proposal { direction, modules, ..Proposal::default() }; self.config.samples.get()]
    }
}

/// At most `k` functions of some programs, each in the middle of a cluster of them.
fn modules<'a>(
    task: &Task,
    programs: impl Iterator<Item = &'a str>,
    k: usize,
    draws: &mut Draws,
) -> Vec<String> {
    let (mut functions, mut bags): (Vec<String>, Vec<Bag>) = (Vec::new(), Vec::new());
    for program in programs {
        let Some(syntax) = Syntax::parse(program, task.language) else { continue };
        for function in syntax.functions() {
            let Some(syntax) = Syntax::parse(function, task.language) else { continue };
            bags.push(syntax.shapes().map(|(shape, count)| (shape, f64::from(count))).collect());
            functions.push(function.to_owned());
        }
    }
    let places = representatives(&bags, k, &mut || draws.uniform());
    places.into_iter().map(|place| functions[place].clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::super::proposal::tests::Toy;
    use super::*;

    const LOOP: &str = "def total(x):\n    y = 0\n    for z in x:\n        y = y + z\n    return y\n";
    const SHORT: &str = "def twice(x):\n    return 2 * x\n";

    #[test]
    fn functions_of_passing_programs_are_shown_in_fewer_and_fewer_clusters() {
        let count = |number| NonZeroUsize::new(number).unwrap();
        let clusters = vec![count(2), count(1)];
        let config = CodeChainConfig { samples: count(2), clusters, instruction: "In functions.".to_owned() };
        let (mut toy, mut search) = (Toy::new(), CodeChain::new(config));
        let mut round = |passed: usize| {
            let proposals = toy.round(&mut search, |_, place| {
                let program = if place % 2 == 0 { format!("{LOOP}\n{SHORT}") } else { SHORT.to_owned() };
                (program, if place % 2 == 0 { passed } else { 0 }, 2)
            });
            assert_eq!(proposals.len(), 2);
            assert_eq!(proposals[0].direction, "In functions.");
            proposals[0].modules.clone()
        };
        assert!(round(2).is_empty(), "nothing is there yet");
        assert_eq!(round(0), [LOOP.trim_end(), SHORT.trim_end()], "of the one that passes");
        // None passes: of all three functions, two are the same.
        assert_eq!(round(0), [SHORT.trim_end()]);
        assert!(round(0).is_empty(), "another chain");
    }
}
