//! How large and how twisted a program is.

use super::{Node, Syntax};

/// Measures of a program, without its comments and docstrings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Complexity {
    /// Named nodes of the syntax tree.
    pub(crate) nodes: u32,
    /// Ways through the program: 1, and one more for each branch, loop, handler, case and short-circuit operator (McCabe 1976).
    pub(crate) cyclomatic: u32,
    /// Cognitive complexity (Campbell 2018): each branch, loop and handler counts one more for each of them around it.
    pub(crate) cognitive: u32,
    /// Lines that are neither empty nor part of a comment or docstring.
    pub(crate) lines: u32,
}

/// Kinds of nodes that open another way and nest.
const NESTING: [&str; 17] = [
    "if_statement",
    "if_expression",
    "if",
    "unless",
    "for_statement",
    "for_in_statement",
    "for_expression",
    "for_range_loop",
    "enhanced_for_statement",
    "for",
    "while_statement",
    "while_expression",
    "while",
    "do_statement",
    "except_clause",
    "catch_clause",
    "conditional_expression",
];

/// Kinds of nodes that open another way and do not nest.
const FLAT: [&str; 11] = [
    "elif_clause",
    "elsif",
    "case_clause",
    "switch_case",
    "match_arm",
    "expression_case",
    "case_statement",
    "boolean_operator",
    "if_clause",
    "for_in_clause",
    "ternary_expression",
];

/// What a node does to the ways through a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Branching {
    /// Opens another one, and nests.
    Nests,
    /// Opens another one.
    Flat,
    /// Nothing.
    None,
}

impl Branching {
    pub(super) fn of(kind: &str, named: bool) -> Branching {
        match kind {
            kind if named && NESTING.contains(&kind) => Branching::Nests,
            kind if named && FLAT.contains(&kind) => Branching::Flat,
            _ => Branching::None,
        }
    }
}

pub(crate) fn nests(node: Node<'_>) -> bool {
    node.known().branching == Branching::Nests
}

impl Complexity {
    pub(crate) fn of(syntax: &Syntax) -> Self {
        let mut measured = Self { nodes: 0, cyclomatic: 1, cognitive: 0, lines: 0 };
        measured.visit(syntax.root(), 0, &mut None);
        measured
    }

    fn visit(&mut self, node: Node<'_>, nesting: u32, last_line: &mut Option<usize>) {
        self.nodes += u32::from(node.is_named());
        let branching = node.known().branching;
        self.cyclomatic += u32::from(branching != Branching::None);
        self.cognitive += match branching {
            Branching::Nests => 1 + nesting,
            Branching::Flat => 1,
            Branching::None => 0,
        };
        if node.child_count() == 0 && node.start_byte() < node.end_byte() {
            for row in node.first_row()..=node.last_row() {
                if last_line.is_none_or(|last| row > last) {
                    self.lines += 1;
                    *last_line = Some(row);
                }
            }
        }
        let nesting = nesting + u32::from(branching == Branching::Nests);
        node.children().for_each(|child| self.visit(child, nesting, last_line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structure::Language;

    fn of(program: &str) -> Complexity {
        Complexity::of(&Syntax::parse(program, Language::Python).unwrap())
    }

    #[test]
    fn branches_count_once_and_nested_ones_cost_more() {
        let flat = of("def f(x):\n    \"\"\"Doc.\"\"\"\n\n    # Why.\n    return x\n");
        assert_eq!((flat.cyclomatic, flat.cognitive, flat.lines), (1, 0, 2));
        let nested = of(
            "for x in y:\n    while x:\n        if x and y:\n            pass\n        elif y:\n            pass\n",
        );
        // for 1, while 2, if 3, and 1, elif 1.
        assert_eq!((nested.cyclomatic, nested.cognitive, nested.lines), (6, 8, 6));
    }
}
