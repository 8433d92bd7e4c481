//! `repetition`: a program that ends in copies of the same lines.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;

use crate::structure::{Node, Syntax, mixed};
use crate::term::reward_config;
use crate::{Attempt, Input, Reward};

reward_config! {
    /// `[rewards.repetition]`: minus the share of the program's lines that repeat, at its end, the structure of the lines before them;
    /// from -1 to 0.
    pub struct RepetitionConfig for "repetition" {
        /// Copies of a block of lines from which on they count as repetition, at least 2. Default 4.
        pub copies: usize = 4,
    }
}

/// Structural repetition (Dong et al. 2025, arXiv 2504.12608, section 3): lines are compared by the kinds of their tokens, so that
/// names and numbers may differ. Of the blocks of lines whose copies end the program, the one that repeats most lines counts:
/// `−(copies − 1) · block / lines`.
#[derive(Clone, Copy, Debug)]
pub struct Repetition {
    copies: usize,
}

/// Longest block of lines that is looked for.
const LONGEST_BLOCK: usize = 50;

impl Repetition {
    pub(crate) fn new(config: &RepetitionConfig) -> Result<Self, String> {
        if config.copies < 2 {
            return Err(format!("`copies` is {}, wanted at least 2", config.copies));
        }
        Ok(Self { copies: config.copies })
    }

    /// Lines repeated at the end, of how many lines.
    fn repeated(&self, attempt: &Attempt<'_>) -> (usize, usize) {
        let Some(syntax) = attempt.parsed.get(attempt.program, attempt.task.language) else {
            return (0, 0);
        };
        let lines = line_structures(syntax);
        let of_block = |block: usize| {
            let copies = copies_at_end(&lines, block);
            if copies >= self.copies { (copies - 1) * block } else { 0 }
        };
        ((1..=LONGEST_BLOCK.min(lines.len())).map(of_block).max().unwrap_or(0), lines.len())
    }
}

/// How many copies of the last `block` lines end the list, in a row.
fn copies_at_end(lines: &[u64], block: usize) -> usize {
    let last = &lines[lines.len() - block..];
    lines.rchunks_exact(block).take_while(|copy| *copy == last).count()
}

/// One number per line with tokens: the kinds of its tokens and where the first of them stands.
fn line_structures(syntax: &Syntax) -> Vec<u64> {
    fn visit(node: Node<'_>, lines: &mut Vec<(usize, u64)>) {
        if node.child_count() > 0 {
            return node.children().for_each(|child| visit(child, lines));
        }
        if lines.last().is_none_or(|(row, _)| *row != node.first_row()) {
            lines.push((node.first_row(), node.column() as u64));
        }
        if let Some((_, line)) = lines.last_mut() {
            *line = mixed(*line, u64::from(node.kind_id()));
        }
    }
    let mut lines = Vec::new();
    visit(syntax.root(), &mut lines);
    lines.into_iter().map(|(_, line)| line).collect()
}

impl Reward for Repetition {
    fn name(&self) -> &str {
        "repetition"
    }

    fn inputs(&self) -> &'static [Input] {
        &[Input::Grammar]
    }

    fn range(&self) -> RangeInclusive<f64> {
        -1.0..=0.0
    }

    fn score(&self, attempt: &Attempt<'_>) -> Option<f64> {
        let (repeated, lines) = self.repeated(attempt);
        Some(-(repeated as f64 / NonZeroUsize::new(lines).map_or(1, NonZeroUsize::get) as f64))
    }

    fn explain(&self, attempt: &Attempt<'_>) -> String {
        let (repeated, lines) = self.repeated(attempt);
        format!("{repeated} of {lines} lines repeat those before them")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{task, verdict};

    fn score(program: &str) -> f64 {
        let (task, verdict) = (task(), verdict(vec![]));
        Repetition { copies: 3 }.score(&Attempt::new(&task, "", program, &verdict)).unwrap()
    }

    #[test]
    fn copies_at_the_end_cost_whatever_their_names() {
        assert_eq!(score("def f(x):\n    y = x\n    return y\n"), 0.0);
        assert_eq!(score("a = 1\nb = 2\n"), 0.0);
        assert_eq!(score("import x\na = 1\nb = 2\nc = 3\n"), -0.5);
        assert_eq!(score(&format!("import x\n{}", "print(a)\nb = 1\n".repeat(3))), -4.0 / 7.0);
        assert_eq!(score(&format!("{}import x\n", "a = 1\n".repeat(9))), 0.0);
        assert_eq!(score(""), 0.0);
    }

    #[test]
    fn two_copies_are_none() {
        assert!(Repetition::new(&RepetitionConfig { copies: 1, ..RepetitionConfig::default() }).is_err());
    }
}
