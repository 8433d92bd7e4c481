//! The statements of a Python program: which lines each takes, what it stands in, and which names it reads and binds.

use std::ops::Range;

use super::{Language, Node, Syntax};

/// A statement with all that stands in it, or one of its clauses (`else:`, `except ValueError:`).
///
/// What shares a line with another statement is part of that one: lines are what a program can be taken apart into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its lines, counted from 0, those of what stands in it among them.
    pub rows: Range<usize>,
    /// The statement or clause that it stands in, which comes before it; `None` at the top of the program.
    pub within: Option<usize>,
    /// Whether it is a clause.
    pub is_clause: bool,
    /// Whether something has to stand in it, clauses aside.
    pub has_body: bool,
    /// Names that it reads by itself, without what stands in it.
    pub reads: Vec<String>,
    /// Names that it binds by itself: variables, parameters, functions, classes, modules.
    pub binds: Vec<String>,
}

impl Syntax {
    /// The statements of a program in the order of the text; `None` where it is not in Python, or something in it is not of the language.
    pub fn statements(&self) -> Option<Vec<Statement>> {
        if self.language() != Language::Python || self.broken() {
            return None;
        }
        let mut reader = Reader { syntax: self, statements: Vec::new() };
        reader.body(self.root(), None);
        Some(reader.statements)
    }
}

/// Clauses of statements: parts with a body of their own.
const CLAUSES: [&str; 5] =
    ["elif_clause", "else_clause", "except_clause", "except_group_clause", "finally_clause"];

/// Whether a name is read or bound where it stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Reads,
    Binds,
}

struct Reader<'a> {
    syntax: &'a Syntax,
    statements: Vec<Statement>,
}

impl<'a> Reader<'a> {
    /// Every statement of a block or of the program.
    fn body(&mut self, block: Node<'a>, within: Option<usize>) {
        for child in block.all_children().filter(|child| child.is_named() && child.kind() != "comment") {
            self.statement(child, within, false);
        }
    }

    fn statement(&mut self, node: Node<'a>, within: Option<usize>, is_clause: bool) {
        let rows = node.first_row()..node.last_row() + 1;
        // What begins on the line of the one before, or of the head that it stands in, goes with that.
        let before = self.statements.len().checked_sub(1);
        let shares = |at: &usize| {
            let other = &self.statements[*at].rows;
            if Some(*at) == within { other.start == rows.start } else { other.end > rows.start }
        };
        let at = match before.filter(shares).or_else(|| within.filter(shares)) {
            Some(at) => {
                let mut above = Some(at);
                while let Some(one) = above {
                    let known = &mut self.statements[one];
                    known.rows.end = known.rows.end.max(rows.end);
                    above = known.within;
                }
                at
            }
            None => {
                let (reads, binds) = (Vec::new(), Vec::new());
                self.statements.push(Statement { rows, within, is_clause, has_body: false, reads, binds });
                self.statements.len() - 1
            }
        };
        if is_clause {
            let parts = node.all_children().filter(|child| child.is_named());
            parts.for_each(|part| self.names(part, at, Place::Reads));
        } else {
            self.names(node, at, Place::Reads);
        }
    }

    /// Reads what stands in a part of a statement, and its names.
    fn names(&mut self, node: Node<'a>, at: usize, place: Place) {
        let children = || node.all_children().filter(|child| child.is_named());
        match node.kind() {
            "identifier" => {
                let name = self.syntax.text(node).to_owned();
                let statement = &mut self.statements[at];
                let names = if place == Place::Binds { &mut statement.binds } else { &mut statement.reads };
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            "block" => {
                let before = self.statements.len();
                self.body(node, Some(at));
                self.statements[at].has_body |= self.statements.len() > before;
            }
            kind if CLAUSES.contains(&kind) => self.statement(node, Some(at), true),
            // What stands behind the dot belongs to the value, and not to the program.
            "attribute" => self.part(node, "object", at, Place::Reads),
            "keyword_argument" => self.part(node, "value", at, Place::Reads),
            "subscript" => children().for_each(|child| self.names(child, at, Place::Reads)),
            "function_definition" | "class_definition" => children().for_each(|child| {
                let is_bound = matches!(child.field(), Some("name" | "parameters" | "type_parameters"));
                self.names(child, at, if is_bound { Place::Binds } else { Place::Reads });
            }),
            "lambda" => children().for_each(|child| {
                let is_bound = child.field() == Some("parameters");
                self.names(child, at, if is_bound { Place::Binds } else { Place::Reads });
            }),
            "default_parameter" | "typed_default_parameter" | "named_expression" => {
                children().for_each(|child| {
                    let is_bound = child.field() == Some("name");
                    self.names(child, at, if is_bound { Place::Binds } else { Place::Reads });
                });
            }
            "assignment" | "for_statement" | "for_in_clause" => children().for_each(|child| {
                let is_bound = child.field() == Some("left");
                self.names(child, at, if is_bound { Place::Binds } else { Place::Reads });
            }),
            "type" => children().for_each(|child| self.names(child, at, Place::Reads)),
            "as_pattern_target" | "case_pattern" => {
                children().for_each(|child| self.names(child, at, Place::Binds));
            }
            "import_statement" | "import_from_statement" | "future_import_statement" => {
                children()
                    .filter(|child| child.field() != Some("module_name"))
                    .for_each(|child| self.imported(child, at));
            }
            "global_statement" | "nonlocal_statement" => {}
            _ => children().for_each(|child| self.names(child, at, place)),
        }
    }

    fn part(&mut self, node: Node<'a>, field: &str, at: usize, place: Place) {
        if let Some(child) = node.child_by_field_name(field) {
            self.names(child, at, place);
        }
    }

    /// What an import binds: the last name of an alias, the first one of a dotted name.
    fn imported(&mut self, node: Node<'a>, at: usize) {
        match node.kind() {
            "aliased_import" => self.part(node, "alias", at, Place::Binds),
            _ => {
                if let Some(first) = node.first_named_child().filter(|child| child.kind() == "identifier") {
                    self.names(first, at, Place::Binds);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn statements(text: &str) -> Vec<Statement> {
        Syntax::parse(text, Language::Python).unwrap().statements().unwrap()
    }

    /// Lines, what it stands in, whether it is a clause, whether it has a body.
    fn shape(text: &str) -> Vec<(Range<usize>, Option<usize>, bool, bool)> {
        let of = |one: Statement| (one.rows, one.within, one.is_clause, one.has_body);
        statements(text).into_iter().map(of).collect()
    }

    #[test]
    fn statements_stand_in_what_they_are_indented_under() {
        let text = "import re\n\ndef f(x):\n    if x:\n        y = 1\n    else:\n        y = [\n            2,\n        ]\n    return y\n";
        assert_eq!(
            shape(text),
            [
                (0..1, None, false, false),
                (2..10, None, false, true),
                (3..9, Some(1), false, true),
                (4..5, Some(2), false, false),
                (5..9, Some(2), true, true),
                (6..9, Some(4), false, false),
                (9..10, Some(1), false, false),
            ]
        );
    }

    #[test]
    fn what_shares_a_line_is_one_statement() {
        let text = "def f(x): return x\na = 1; b = 2\nif a: b = 3\nelse:\n    b = 4\n";
        assert_eq!(
            shape(text),
            [
                (0..1, None, false, false),
                (1..2, None, false, false),
                (2..5, None, false, false),
                (3..5, Some(2), true, true),
                (4..5, Some(3), false, false),
            ]
        );
        let all = statements(text);
        assert_eq!(
            (all[1].binds.clone(), all[2].binds.clone()),
            (vec!["a".into(), "b".into()], vec!["b".into()])
        );
    }

    #[test]
    fn names_are_read_or_bound() {
        let of = |text: &str| {
            let all = statements(text);
            let mut reads: Vec<String> = all.iter().flat_map(|one| one.reads.clone()).collect();
            let mut binds: Vec<String> = all.iter().flat_map(|one| one.binds.clone()).collect();
            reads.sort();
            binds.sort();
            (reads.join(" "), binds.join(" "))
        };
        let cases = [
            ("a, (b, *c) = d.e(f=g)", "d g", "a b c"),
            ("a.b = c[d]", "a c d", ""),
            ("a[b] += c", "a b c", ""),
            ("a: int = b", "b int", "a"),
            ("def f(a, b: int, c=d, e: str = g, *h, **i) -> j:\n    pass", "d g int j str", "a b c e f h i"),
            ("f = lambda a, b=c: a + b", "a b c", "a b f"),
            ("[a for b in c for a in b if d]", "a b c d", "a b"),
            ("import a.b, c as d\nfrom e import f, g as h", "", "a d f h"),
            ("with a as b, c:\n    d()", "a c d", "b"),
            ("try:\n    a()\nexcept b as c:\n    pass", "a b", "c"),
            ("if (a := b):\n    pass", "b", "a"),
            ("for a in b:\n    global c\n    print(f\"{d}\")", "b d print", "a"),
            ("@a\nclass B(C):\n    d = 1", "C a", "B d"),
        ];
        for (text, reads, binds) in cases {
            assert_eq!(of(text), (reads.to_owned(), binds.to_owned()), "{text}");
        }
    }

    #[test]
    fn there_are_none_of_what_is_no_python() {
        let of = |text: &str, language| Syntax::parse(text, language).unwrap().statements();
        assert_eq!(of("def f(:\n", Language::Python), None);
        assert_eq!(of("let a = 1;", Language::JavaScript), None);
    }

    proptest! {
        #[test]
        fn what_stands_in_a_statement_is_within_its_lines(
            lines in prop::collection::vec("( {4}){0,3}(if a:|else:|b = \\(1,|2\\)|for c in d: pass|e; f|try:|finally:)", 0..12),
        ) {
            let text = lines.join("\n");
            let Some(all) = Syntax::parse(&text, Language::Python).and_then(|syntax| syntax.statements()) else {
                return Ok(());
            };
            for (at, one) in all.iter().enumerate() {
                prop_assert!(!one.rows.is_empty() && one.rows.end <= lines.len().max(1));
                if let Some(within) = one.within {
                    let outer = &all[within].rows;
                    prop_assert!(within < at && outer.start <= one.rows.start && one.rows.end <= outer.end);
                }
            }
        }
    }
}
