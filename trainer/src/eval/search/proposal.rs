//! What a search asks for, and what it is told.

use rltrain_executor::{Ending, Verdict};

use crate::rng::{Stream, uniform};
use crate::tasks::Task;

/// A way to spend tokens on a task: it proposes what is sampled next, is told what came of it, and ranks what it ends with.
///
/// It knows nothing of budgets, batches and other tasks: whoever drives it samples its proposals, executes what are programs, and asks
/// again, for as long as the budget lasts. So what it does derives from the task's own nodes and its own draws alone.
pub(super) trait Search {
    /// What to sample next, given everything so far; all proposals of the last call are among it, in their order, with what came of
    /// them. Nothing ends the search.
    fn next(&mut self, so_far: &SoFar<'_>, draws: &mut Draws) -> Vec<Proposal>;

    /// How good the program at a place is as the answer; the highest comes first, number by number.
    fn rank(&self, so_far: &SoFar<'_>, place: usize) -> [f64; 3] {
        [so_far.nodes[place].share(), 0.0, 0.0]
    }
}

/// A task, and all that was written for it.
#[derive(Clone, Copy)]
pub(super) struct SoFar<'a> {
    pub(super) task: &'a Task,
    /// In the order of the proposals.
    pub(super) nodes: &'a [Node],
    /// Share of the budget that is spent.
    pub(super) spent: f64,
}

impl SoFar<'_> {
    /// The places of programs.
    pub(super) fn programs(&self) -> impl DoubleEndedIterator<Item = usize> {
        self.programs_from(0)
    }

    /// The places of programs from `first` on.
    pub(super) fn programs_from(&self, first: usize) -> impl DoubleEndedIterator<Item = usize> {
        (first..self.nodes.len()).filter(|place| self.nodes[*place].is_program())
    }

    /// The places of the `count` best of some programs, by the share of public tests that they pass; the first of equal ones.
    pub(super) fn best(&self, mut places: Vec<usize>, count: usize) -> Vec<usize> {
        places.sort_by(|one, other| self.nodes[*other].share().total_cmp(&self.nodes[*one].share()));
        places.truncate(count);
        places
    }
}

/// What is to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ask {
    /// A program, which the public tests judge.
    #[default]
    Program,
    /// A critique of a program, in words.
    Critique,
    /// Directions in which a program could be improved, a line each.
    Directions,
}

/// Something to be written. Made by a search; read by whoever samples it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Proposal {
    pub(super) ask: Ask,
    /// The node that it goes on from. It is shown.
    pub(super) parent: Option<usize>,
    /// What is said beside the task: a style, or a direction.
    pub(super) direction: String,
    /// Pieces of programs that may be of use.
    pub(super) modules: Vec<String>,
    /// What earlier directions have led to.
    pub(super) lessons: Vec<String>,
    /// How many of the public tests are shown, and told of; all if nothing is said.
    pub(super) revealed: Option<usize>,
}

impl Proposal {
    /// A program that goes on from nothing.
    pub(super) fn fresh() -> Proposal {
        Proposal::default()
    }

    /// A program that goes on from a node.
    pub(super) fn from(parent: usize) -> Proposal {
        Proposal { parent: Some(parent), ..Proposal::default() }
    }

    /// Whether no program of before, nor a part of one, is shown.
    pub(super) fn goes_on_from_nothing(&self) -> bool {
        self.parent.is_none() && self.modules.is_empty()
    }

    /// Whether nothing is said but the task, as to any attempt.
    pub(super) fn is_plain(&self) -> bool {
        let silent = self.direction.is_empty() && self.lessons.is_empty();
        self.ask == Ask::Program && self.goes_on_from_nothing() && silent
    }
}

/// What was written, and what came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Node {
    /// What was asked for.
    pub(super) proposal: Proposal,
    /// What was written.
    pub(super) text: String,
    /// The whole program, if it is one.
    pub(super) program: String,
    /// Tokens that it took.
    pub(super) tokens: usize,
    /// What the public tests say of a program; `None` where there are none, or the sandbox has lost it.
    pub(super) verdict: Option<Verdict>,
}

impl Node {
    pub(super) fn is_program(&self) -> bool {
        self.proposal.ask == Ask::Program
    }

    /// The share of public tests that it passes, of all that there are.
    pub(super) fn share(&self) -> f64 {
        self.verdict.as_ref().map_or(0.0, |verdict| verdict.passed() as f64 / verdict.total().max(1) as f64)
    }

    /// Whether it passes all public tests, and there are some.
    pub(super) fn passes(&self) -> bool {
        self.verdict.as_ref().is_some_and(Verdict::all_passed)
    }

    /// Whether it passes the first `count` public tests.
    pub(super) fn passes_first(&self, count: usize) -> bool {
        let passes = |verdict: &Verdict| verdict.tests.iter().take(count).all(Ending::passed);
        self.verdict.as_ref().is_some_and(passes)
    }
}

/// A search's own random choices at one task: a function of the seed, the step, the task, which search it is and how many there were.
#[derive(Clone, Debug)]
pub(super) struct Draws {
    pub(super) seed: u64,
    pub(super) step: u64,
    pub(super) task: u64,
    pub(super) search: u64,
    pub(super) drawn: u64,
}

impl Draws {
    /// A number in `[0, 1)`.
    pub(super) fn uniform(&mut self) -> f64 {
        self.drawn += 1;
        let counters = [self.step, self.task, self.search, self.drawn];
        uniform(self.seed, Stream::SearchChoice, &counters)
    }

    /// A number below `bound`, which is above 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((self.uniform() * bound as f64) as usize).min(bound - 1)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rltrain_executor::{Outcome, WallTime};

    use super::*;

    /// A verdict with `passed` of `total` tests passed.
    pub(crate) fn verdict(passed: usize, total: usize) -> Verdict {
        let ending = |place| if place < passed { Ending::PASSED } else { Outcome::Failed.into() };
        Verdict {
            load: Ending::PASSED,
            tests: (0..total).map(ending).collect(),
            public: total,
            fuel: 1,
            peak_memory_bytes: 1,
            wall: WallTime::default(),
            stdout: String::new(),
            stderr: String::new(),
            denied: Default::default(),
        }
    }

    pub(crate) fn draws() -> Draws {
        Draws { seed: 3, step: 0, task: 0, search: 0, drawn: 0 }
    }

    /// A search that is driven without a model: what it proposes is answered by `answer`, given the proposal and its place.
    pub(crate) struct Toy {
        pub(crate) task: Task,
        pub(crate) nodes: Vec<Node>,
        pub(crate) draws: Draws,
    }

    impl Toy {
        pub(crate) fn new() -> Toy {
            Toy { task: Task::default(), nodes: Vec::new(), draws: draws() }
        }

        /// One round; returns what was proposed.
        pub(crate) fn round(
            &mut self,
            search: &mut dyn Search,
            answer: impl Fn(&Proposal, usize) -> (String, usize, usize),
        ) -> Vec<Proposal> {
            let so_far = SoFar { task: &self.task, nodes: &self.nodes, spent: 0.0 };
            let proposals = search.next(&so_far, &mut self.draws);
            for proposal in &proposals {
                let (text, passed, total) = answer(proposal, self.nodes.len());
                let is_program = proposal.ask == Ask::Program;
                self.nodes.push(Node {
                    proposal: proposal.clone(),
                    program: if is_program { text.clone() } else { String::new() },
                    text,
                    tokens: 1,
                    verdict: is_program.then(|| verdict(passed, total)),
                });
            }
            proposals
        }
    }

    #[test]
    fn a_proposal_that_says_nothing_is_plain() {
        assert!(Proposal::fresh().is_plain());
        assert!(Proposal { revealed: Some(1), ..Proposal::default() }.is_plain());
        assert!(!Proposal::from(0).is_plain());
        assert!(!Proposal { direction: "briefly".to_owned(), ..Proposal::default() }.is_plain());
        assert!(!Proposal { ask: Ask::Critique, ..Proposal::default() }.is_plain());
    }

    /// Section 9, defect 17 of the released code: a program that stops early must not look better than it is.
    #[test]
    fn shares_are_of_all_tests_and_not_of_those_that_were_run() {
        let mut stopped = verdict(1, 4);
        stopped.tests[2] = Outcome::NotRun.into();
        stopped.tests[3] = Outcome::NotRun.into();
        let node = Node { verdict: Some(stopped), ..Node::default() };
        assert_eq!((node.share(), node.passes(), node.passes_first(1)), (0.25, false, true));
        assert_eq!(Node::default().share(), 0.0, "a program that the sandbox lost");
    }
}
