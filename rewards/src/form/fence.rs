//! Fenced blocks in a text.

/// A block between two fences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    /// What the opening fence says after its backticks.
    pub(crate) label: &'a str,
    /// The lines between.
    pub(crate) text: &'a str,
}

const FENCE: &str = "```";

/// The blocks of a text, and whether every fence that opens is closed.
pub(crate) fn blocks(text: &str) -> (Vec<Block<'_>>, bool) {
    let (mut found, mut open, mut at) = (Vec::new(), None, 0);
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        if let Some(label) = line.trim().strip_prefix(FENCE) {
            open = match open {
                None => Some((label.trim(), end)),
                Some((opened, begin)) if label.is_empty() => {
                    found.push(Block { label: opened, text: &text[begin..at] });
                    None
                }
                // A fence with a label inside a block is text of the block.
                opened => opened,
            };
        }
        at = end;
    }
    (found, open.is_none())
}

/// The answer in a text: its last block, or all of it if there is none.
pub(crate) fn answer(text: &str) -> &str {
    blocks(text).0.last().map_or(text, |block| block.text).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_labels_and_may_be_left_open() {
        let text = "Look:\n```python\nx = 1\n```\nor\n```\ny\n```\n";
        let wanted = vec![Block { label: "python", text: "x = 1\n" }, Block { label: "", text: "y\n" }];
        assert_eq!(blocks(text), (wanted, true));
        assert_eq!(blocks("```\nx"), (vec![], false));
        assert_eq!(answer(text), "y");
        assert_eq!(answer("  42\n"), "42");
    }
}
