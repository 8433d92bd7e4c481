//! ORPS: a beam of whole programs, each executed and criticised.
//!
//! Yu et al. 2024 (arXiv:2412.15118). The policy writes and criticises by turns. As differences: reasoning is whatever the prompt asks
//! for, fuel stands for everything that the dynamic part measures, and a beam that is as deep as it may be is followed by another one.

use rltrain_rewards::{Attempt, Orps as ExecutionScore, Reward, Task as Judged};

use super::config::OrpsConfig;
use super::proposal::{Ask, Draws, Node, Proposal, Search, SoFar};

/// Critic's scores are whole numbers from 1 to this.
const HIGHEST: u32 = 5;

/// Beams of programs.
pub(super) struct Orps {
    config: OrpsConfig,
    score: ExecutionScore,
    round: usize,
    kept: Vec<usize>,
    /// Programs that are being criticised.
    criticised: Vec<usize>,
    before: usize,
}

impl Orps {
    pub(super) fn new(config: OrpsConfig) -> Orps {
        let score = ExecutionScore::default();
        Orps { config, score, round: 0, kept: Vec::new(), criticised: Vec::new(), before: 0 }
    }

    /// Tests passed, and more for what is short, plain and fast; 0 for what the sandbox has lost.
    fn execution_score(&self, so_far: &SoFar<'_>, node: &Node) -> f64 {
        let Some(verdict) = &node.verdict else { return 0.0 };
        let task = Judged { id: &so_far.task.id, language: so_far.task.language, ..Judged::default() };
        let attempt = Attempt::new(&task, &node.text, &node.program, verdict);
        self.score.score(&attempt).unwrap_or(0.0)
    }

    /// The best of what was kept and of what was criticised: by the critic first, then by what execution says.
    fn select(&self, so_far: &SoFar<'_>) -> Vec<usize> {
        let pool = self.kept.iter().chain(&self.criticised);
        let scored = pool.map(|place| {
            let key =
                (critic_score(so_far.nodes, *place), self.execution_score(so_far, &so_far.nodes[*place]));
            (*place, key)
        });
        let mut scored: Vec<_> = scored.collect();
        scored.sort_by(|(_, one), (_, other)| other.0.cmp(&one.0).then(other.1.total_cmp(&one.1)));
        scored.into_iter().take(self.config.beam.get()).map(|(place, _)| place).collect()
    }
}

/// The score of a program by its critique; 0 without one.
fn critic_score(nodes: &[Node], program: usize) -> u32 {
    let critique = |node: &&Node| node.proposal.ask == Ask::Critique && node.proposal.parent == Some(program);
    nodes.iter().find(critique).and_then(|node| score_in(&node.text)).unwrap_or(0)
}

/// The last whole number from 1 to 5 that stands between `<score>` and `</score>`.
pub fn score_in(text: &str) -> Option<u32> {
    let marked = text.split("<score>").skip(1).filter_map(|rest| rest.split_once("</score>"));
    let numbers = marked.filter_map(|(number, _)| number.trim().parse().ok());
    numbers.filter(|number| (1..=HIGHEST).contains(number)).last()
}

impl Search for Orps {
    fn next(&mut self, so_far: &SoFar<'_>, _: &mut Draws) -> Vec<Proposal> {
        let new: Vec<usize> = so_far.programs_from(self.before).collect();
        self.before = so_far.nodes.len();
        if !new.is_empty() {
            let critiques = new.iter().map(|place| Proposal { ask: Ask::Critique, ..Proposal::from(*place) });
            let critiques = critiques.collect();
            self.criticised = new;
            return critiques;
        }
        self.kept = self.select(so_far);
        self.criticised.clear();
        if self.round == self.config.rounds.get() {
            (self.round, self.kept) = (0, Vec::new());
        }
        self.round += 1;
        let styles = &self.config.styles;
        let style = |sample: usize| match styles.len() {
            0 => String::new(),
            some => styles[sample % some].clone(),
        };
        let samples = || (0..self.config.samples.get()).map(style);
        let said = |direction, parent| Proposal { parent, direction, ..Proposal::default() };
        match self.kept.is_empty() {
            true => samples().map(|style| said(style, None)).collect(),
            false => {
                let kept = self.kept.iter();
                kept.flat_map(|place| samples().map(|style| said(style, Some(*place)))).collect()
            }
        }
    }

    /// Tests passed, then fuel, then the critic.
    fn rank(&self, so_far: &SoFar<'_>, place: usize) -> [f64; 3] {
        let node = &so_far.nodes[place];
        let fuel = node.verdict.as_ref().map_or(f64::INFINITY, |verdict| verdict.fuel as f64);
        [node.share(), -fuel, f64::from(critic_score(so_far.nodes, place))]
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::super::proposal::tests::Toy;
    use super::*;

    #[test]
    fn the_last_score_in_its_range_counts() {
        assert_eq!(score_in("Good. <score>4</score>"), Some(4));
        assert_eq!(score_in("<score>2</score> no, <score> 3 </score>"), Some(3));
        for none in ["5", "<score>6</score>", "<score>five</score>", "<score>5", "</score><score>"] {
            assert_eq!(score_in(none), None, "{none}");
        }
    }

    fn orps(samples: usize, beam: usize, rounds: usize) -> Orps {
        let count = |number| NonZeroUsize::new(number).unwrap();
        let styles = vec!["plainly".to_owned(), "quickly".to_owned()];
        let (samples, beam, rounds) = (count(samples), count(beam), count(rounds));
        let config = OrpsConfig { samples, beam, rounds, styles, ..OrpsConfig::default() };
        Orps::new(config)
    }

    #[test]
    fn the_critic_decides_and_execution_among_equals() {
        let (mut toy, mut search) = (Toy::new(), orps(3, 2, 2));
        let programs = toy.round(&mut search, |_, place| (String::new(), [4, 0, 2][place], 4));
        assert_eq!(programs[1].direction, "quickly");
        assert_eq!(programs[2].direction, "plainly");
        let critiques = toy.round(&mut search, |proposal, _| {
            let score = [1, 3, 3][proposal.parent.unwrap()];
            (format!("<score>{score}</score>"), 0, 0)
        });
        assert!(critiques.iter().all(|critique| critique.ask == Ask::Critique));
        // The critic likes the second and the third; of these, the third passes more tests.
        let next = toy.round(&mut search, |_, _| (String::new(), 0, 4));
        let parents: Vec<_> = next.iter().map(|proposal| proposal.parent.unwrap()).collect();
        assert_eq!(parents, [[2; 3], [1; 3]].concat());
        toy.round(&mut search, |_, _| ("?".to_owned(), 0, 0));
        // After two rounds, another beam.
        let again = toy.round(&mut search, |_, _| (String::new(), 0, 4));
        assert_eq!(again.len(), 3);
        assert!(again.iter().all(|proposal| proposal.parent.is_none()));
        // The answer is by tests first, whatever the critic says.
        let so_far = SoFar { task: &toy.task, nodes: &toy.nodes, spent: 0.0 };
        let rank = |place: usize| search.rank(&so_far, place);
        assert!(rank(0) > rank(2) && rank(2) > rank(1));
        assert_eq!(rank(1)[2], 3.0);
    }
}
