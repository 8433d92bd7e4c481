//! Self-Edit: each program is edited once, with a comment on what came of it.
//!
//! Zhang et al. 2023 (arXiv:2305.04087). As differences: the editor is the policy itself, and fresh programs and their edits follow each
//! other for as long as the budget lasts.

use rltrain_executor::{Cause, Ending, Outcome, Verdict};

use super::config::SelfEditConfig;
use super::proposal::{Draws, Proposal, Search, SoFar};

/// Some fresh programs, an edit of each, and again.
pub(super) struct SelfEdit {
    config: SelfEditConfig,
    /// Nodes whose edits were asked for, or that are edits.
    before: usize,
    edits: bool,
}

impl SelfEdit {
    pub(super) fn new(config: SelfEditConfig) -> SelfEdit {
        SelfEdit { config, before: 0, edits: false }
    }
}

impl Search for SelfEdit {
    fn next(&mut self, so_far: &SoFar<'_>, _: &mut Draws) -> Vec<Proposal> {
        let wanted = |place: &usize| !(self.config.skip_passing && so_far.nodes[*place].passes());
        let programs: Vec<usize> = so_far.programs_from(self.before).filter(wanted).collect();
        self.before = so_far.nodes.len();
        self.edits = !self.edits && !programs.is_empty();
        match self.edits {
            true => programs.into_iter().map(Proposal::from).collect(),
            false => vec![Proposal::fresh(); self.config.samples.get()],
        }
    }
}

/// What an editor is told of a program: that it passes, what it gives instead of what was wanted, or the line at which it stops.
pub(super) fn comment(verdict: &Verdict, program: &str) -> String {
    let endings = || std::iter::once(&verdict.load).chain(verdict.public_tests());
    let Some(ending) = endings().find(|ending| !ending.passed()) else {
        return "Pass the example test case.".to_owned();
    };
    match &ending.cause {
        Some(Cause::WrongAnswer { actual, expected }) => {
            format!("Wrong Answer. Expected {expected}, and got {actual}. Rewrite the code.")
        }
        Some(Cause::Exception { kind, message, line }) => {
            let line = line.and_then(|line| {
                let source = program.lines().nth((line as usize).checked_sub(1)?)?.trim();
                Some(format!("Line {line}, {source}, "))
            });
            let colon = if message.is_empty() { "" } else { ": " };
            format!("{}{kind}{colon}{message}. Fix the bug.", line.unwrap_or_default())
        }
        _ if ending.outcome == Outcome::Failed => "Wrong Answer. Rewrite the code.".to_owned(),
        _ => format!("{}. Fix the bug.", ended(ending)),
    }
}

/// How it ended, as the beginning of a sentence.
fn ended(ending: &Ending) -> String {
    let text = ending.outcome.to_string();
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::super::proposal::tests::{Toy, verdict};
    use super::*;

    #[test]
    fn a_comment_says_what_came_of_a_program() {
        let of = |ending: Ending| {
            let judged = Verdict { tests: vec![Ending::PASSED, ending], public: 2, ..verdict(0, 0) };
            comment(&judged, "def f(x):\n    return x / 0\n")
        };
        assert_eq!(of(Ending::PASSED), "Pass the example test case.");
        let wrong = Cause::WrongAnswer { actual: "3".to_owned(), expected: "2".to_owned() };
        assert_eq!(
            of(Ending::because(Outcome::Failed, wrong)),
            "Wrong Answer. Expected 2, and got 3. Rewrite the code."
        );
        let kind = "ZeroDivisionError".to_owned();
        let raised = Cause::Exception { kind, message: "division by zero".to_owned(), line: Some(2) };
        assert_eq!(
            of(Ending::because(Outcome::Raised, raised)),
            "Line 2, return x / 0, ZeroDivisionError: division by zero. Fix the bug."
        );
        assert_eq!(of(Outcome::OutOfFuel.into()), "Out of fuel. Fix the bug.");
    }

    #[test]
    fn every_program_is_edited_once_and_then_there_are_fresh_ones() {
        for (skip_passing, edited) in [(false, vec![0, 1, 2]), (true, vec![0, 2])] {
            let samples = NonZeroUsize::new(3).unwrap();
            let mut search = SelfEdit::new(SelfEditConfig { samples, skip_passing });
            let mut toy = Toy::new();
            let mut round = || {
                let round =
                    toy.round(&mut search, |_, place| (String::new(), if place == 1 { 2 } else { 0 }, 2));
                round.iter().map(|proposal| proposal.parent).collect::<Vec<_>>()
            };
            assert_eq!(round(), [None; 3]);
            assert_eq!(round(), edited.into_iter().map(Some).collect::<Vec<_>>());
            assert_eq!(round(), [None; 3]);
        }
    }
}
