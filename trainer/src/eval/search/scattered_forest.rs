//! Scattered forest search: trees of programs, each child in another direction.
//!
//! Light et al. 2024 (arXiv:2411.05010). Foresting: trees begin with different instructions. Scattering: a program's children go in
//! directions that differ, from the recipe or asked of the model. Scouting: what a direction has led to is told to later ones. As
//! differences: values are of the public tests instead of tests that the model made up, and the children of a program are sampled together.

use super::config::ScatteredForestConfig;
use super::proposal::{Ask, Draws, Node, Proposal, Search, SoFar};

/// How much a child is worth another look: `quality + exploration · sqrt(ln parent_visits / visits)`.
pub fn uct(quality: f64, parent_visits: f64, visits: f64, exploration: f64) -> f64 {
    quality + exploration * (parent_visits.ln() / visits).sqrt()
}

/// The quality of a program behind which another one was found: `(1 - share) · quality + share · max(quality, child)`.
pub fn backed_up(quality: f64, child: f64, share: f64) -> f64 {
    (1.0 - share) * quality + share * quality.max(child)
}

/// A program in its tree.
#[derive(Debug)]
struct Branch {
    node: usize,
    above: Option<usize>,
    below: Vec<usize>,
    quality: f64,
    visits: f64,
    /// Directions that the model has named for its children.
    directions: Vec<String>,
    asked: bool,
}

/// Trees of programs.
pub(super) struct ScatteredForest {
    config: ScatteredForestConfig,
    branches: Vec<Branch>,
    /// Nodes that are in it.
    absorbed: usize,
}

impl ScatteredForest {
    pub(super) fn new(config: ScatteredForestConfig) -> ScatteredForest {
        ScatteredForest { config, branches: Vec::new(), absorbed: 0 }
    }

    /// Takes in what has come since.
    fn absorb(&mut self, so_far: &SoFar<'_>) {
        for (place, node) in so_far.nodes.iter().enumerate().skip(self.absorbed) {
            let above = node.proposal.parent.and_then(|parent| self.branch_of(parent));
            match node.proposal.ask {
                Ask::Program => self.grow(place, node, above),
                Ask::Directions => {
                    if let Some(branch) = above {
                        self.branches[branch].directions = directions(&node.text);
                    }
                }
                Ask::Critique => {}
            }
        }
        self.absorbed = so_far.nodes.len();
    }

    fn branch_of(&self, node: usize) -> Option<usize> {
        self.branches.iter().position(|branch| branch.node == node)
    }

    /// Adds a program, and tells those above of it.
    fn grow(&mut self, node: usize, written: &Node, above: Option<usize>) {
        let (new, quality) = (self.branches.len(), written.share());
        let (below, directions) = (Vec::new(), Vec::new());
        self.branches.push(Branch { node, above, below, quality, visits: 1.0, directions, asked: false });
        if let Some(above) = above {
            self.branches[above].below.push(new);
        }
        let (mut child, mut next) = (quality, above);
        while let Some(place) = next {
            let branch = &mut self.branches[place];
            branch.visits += 1.0;
            branch.quality = backed_up(branch.quality, child, self.config.backup);
            (child, next) = (branch.quality, branch.above);
        }
    }

    /// The leaf that is worth most: down from the roots by UCT, the first of equal ones.
    fn leaf(&self) -> Option<usize> {
        let roots: Vec<usize> =
            (0..self.branches.len()).filter(|place| self.branches[*place].above.is_none()).collect();
        let mut visits = roots.iter().map(|root| self.branches[*root].visits).sum();
        let mut level = &roots;
        let mut leaf = None;
        while !level.is_empty() {
            let worth = |place: usize| {
                let branch = &self.branches[place];
                (place, uct(branch.quality, visits, branch.visits, self.config.exploration))
            };
            let all = level.iter().map(|place| worth(*place));
            let (best, _) = all.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
            leaf = Some(best);
            visits = self.branches[best].visits;
            level = &self.branches[best].below;
        }
        leaf
    }

    /// The directions of a leaf's children: those that the model has named, then those of the recipe, from a place that is drawn.
    fn scattered(&self, leaf: usize, draws: &mut Draws) -> Vec<String> {
        let ours = &self.config.directions;
        let first = draws.below(ours.len().max(1));
        let turned = ours.iter().cycle().skip(first).take(ours.len());
        let mut all = self.branches[leaf].directions.clone();
        all.extend(turned.filter(|direction| !all.contains(direction)).cloned().collect::<Vec<_>>());
        // Fewer directions than children: some are gone twice.
        all.into_iter().cycle().take(self.config.arity.get()).collect()
    }
}

/// A direction a line, without what lists begin their lines with.
fn directions(text: &str) -> Vec<String> {
    let bare = |line: &str| {
        let line = line.trim().trim_start_matches(['-', '*', '•']).trim_start();
        let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
        let line =
            if digits.len() < line.len() { digits.strip_prefix(['.', ')']).unwrap_or(line) } else { line };
        line.trim().to_owned()
    };
    let mut all = Vec::new();
    for line in text.lines().map(bare).filter(|line| !line.is_empty()) {
        if !all.contains(&line) {
            all.push(line);
        }
    }
    all
}

/// What the latest different directions have led to, at most `most`; those that changed nothing teach nothing.
fn lessons(nodes: &[Node], most: usize) -> Vec<String> {
    let mut seen: Vec<&str> = Vec::new();
    let mut all = Vec::new();
    for node in nodes.iter().rev() {
        let Some(parent) = node.proposal.parent.filter(|_| node.is_program()) else { continue };
        let (direction, change) = (node.proposal.direction.as_str(), node.share() - nodes[parent].share());
        if all.len() < most && change != 0.0 && !direction.is_empty() && !seen.contains(&direction) {
            seen.push(direction);
            all.push(format!(
                "{direction}: {}",
                if change > 0.0 { "this helped" } else { "this made it worse" }
            ));
        }
    }
    all
}

impl Search for ScatteredForest {
    fn next(&mut self, so_far: &SoFar<'_>, draws: &mut Draws) -> Vec<Proposal> {
        self.absorb(so_far);
        let Some(leaf) = self.leaf() else {
            let seeds = self.config.seeds.iter();
            return seeds.map(|seed| Proposal { direction: seed.clone(), ..Proposal::default() }).collect();
        };
        let node = self.branches[leaf].node;
        if !self.config.ask.is_empty() && !self.branches[leaf].asked {
            self.branches[leaf].asked = true;
            return vec![Proposal { ask: Ask::Directions, ..Proposal::from(node) }];
        }
        let lessons = lessons(so_far.nodes, self.config.lessons);
        let child = |direction| Proposal { direction, lessons: lessons.clone(), ..Proposal::from(node) };
        self.scattered(leaf, draws).into_iter().map(child).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use proptest::prelude::*;

    use super::super::proposal::tests::Toy;
    use super::*;

    #[test]
    fn selection_and_backup_are_those_of_the_specification() {
        assert!((uct(0.4, 10.0, 2.0, 1.0) - 1.472_983_0).abs() < 1e-7);
        assert_eq!(backed_up(0.2, 0.8, 0.5), 0.5);
    }

    fn config(ask: &str) -> ScatteredForestConfig {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        ScatteredForestConfig {
            seeds: texts(&["one", "two"]),
            arity: NonZeroUsize::new(2).unwrap(),
            exploration: 0.5,
            backup: 0.5,
            lessons: 1,
            directions: texts(&["left", "right", "up"]),
            ask: ask.to_owned(),
        }
    }

    #[test]
    fn the_better_tree_grows_and_children_go_in_different_directions() {
        let (mut toy, mut forest) = (Toy::new(), ScatteredForest::new(config("")));
        let seeds = toy.round(&mut forest, |_, place| (String::new(), 2 * place, 4));
        assert_eq!(seeds.iter().map(|seed| seed.direction.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        let children = toy.round(&mut forest, |_, place| (String::new(), if place == 3 { 3 } else { 0 }, 4));
        assert!(children.iter().all(|child| child.parent == Some(1)), "{children:?}");
        assert_ne!(children[0].direction, children[1].direction);
        assert!(children[0].lessons.is_empty());
        // The second child passes more tests than its parent, and the next ones are told so.
        let next = toy.round(&mut forest, |_, _| (String::new(), 0, 4));
        assert_eq!(next[0].parent, Some(3));
        assert_eq!(next[0].lessons, [format!("{}: this helped", children[1].direction)]);
        // Of the parent: 1/2, then with a worse child the same, then half way to 3/4.
        assert_eq!((forest.branches[1].quality, forest.branches[1].visits), (0.625, 3.0));
    }

    #[test]
    fn directions_are_asked_of_the_model_and_filled_up() {
        let (mut toy, mut forest) = (Toy::new(), ScatteredForest::new(config("Name directions.")));
        toy.round(&mut forest, |_, _| (String::new(), 1, 4));
        let asked = toy.round(&mut forest, |_, _| ("1. Sort first\n\n - Sort first\n".to_owned(), 0, 0));
        assert_eq!(asked, [Proposal { ask: Ask::Directions, ..Proposal::from(0) }]);
        let children = toy.round(&mut forest, |_, _| (String::new(), 0, 4));
        assert_eq!(children[0].direction, "Sort first");
        assert!(["left", "right", "up"].contains(&children[1].direction.as_str()));
        // A model that names none: all are the recipe's.
        toy.round(&mut forest, |_, _| (String::new(), 0, 0));
        let children = toy.round(&mut forest, |_, _| (String::new(), 0, 4));
        assert_eq!(children.len(), 2);
    }

    proptest! {
        #[test]
        fn every_program_has_its_place_and_no_quality_leaves_its_range(shares in prop::collection::vec(0..5usize, 40)) {
            let (mut toy, mut forest) = (Toy::new(), ScatteredForest::new(config("")));
            while toy.nodes.len() < 30 {
                toy.round(&mut forest, |_, place| (String::new(), shares[place], 4));
            }
            let so_far = SoFar { task: &toy.task, nodes: &toy.nodes, spent: 0.0 };
            forest.absorb(&so_far);
            prop_assert_eq!(forest.branches.len(), toy.nodes.len());
            for branch in &forest.branches {
                prop_assert!((0.0..=1.0).contains(&branch.quality));
                prop_assert!(branch.quality >= toy.nodes[branch.node].share(), "a child takes nothing away");
                let below: f64 = branch.below.iter().map(|child| forest.branches[*child].visits).sum();
                prop_assert_eq!(branch.visits, 1.0 + below);
            }
        }

        #[test]
        fn backing_up_never_takes_away_and_never_overshoots(quality in 0.0..1.0f64, child in 0.0..1.0f64, share in 0.0..1.0f64) {
            let new = backed_up(quality, child, share);
            prop_assert!(new >= quality - 1e-12 && new <= quality.max(child) + 1e-12);
        }
    }
}
