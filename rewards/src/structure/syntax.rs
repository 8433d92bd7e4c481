//! A program as a tree, parsed once and shared between rewards.

use std::sync::OnceLock;

use super::bleu::Grams;
use super::counts::Counts;
use super::dataflow::{self, Item};
use super::grammar::Grammar;
use super::tree::{Node, Nodes};
use super::{Complexity, Language};

/// Longest program that is parsed, in bytes. Nothing that a model writes in one go is longer.
const MOST_BYTES: usize = 256 * 1024;

/// Kinds of nodes that define a function, in any of the grammars.
const FUNCTIONS: [&str; 7] = [
    "function_definition",
    "function_declaration",
    "function_item",
    "method_definition",
    "method_declaration",
    "method",
    "singleton_method",
];

/// A tree that is made when somebody first asks for it.
#[derive(Debug, Default)]
pub struct ParseOnce(OnceLock<Option<Syntax>>);

impl ParseOnce {
    /// The syntax of `text`; `None` if it is too long or too deep to look at. Always ask with the same text.
    pub fn get(&self, text: &str, language: Language) -> Option<&Syntax> {
        self.0.get_or_init(|| Syntax::parse(text, language)).as_ref()
    }
}

/// The syntax tree of a program, and what is derived from it, once for all rewards that want it.
#[derive(Debug)]
pub struct Syntax {
    source: String,
    language: Language,
    nodes: Nodes,
    subtrees: OnceLock<Counts<u64>>,
    dataflow: OnceLock<Option<Counts<Item>>>,
    complexity: OnceLock<Complexity>,
    grams: OnceLock<Grams>,
}

impl Syntax {
    /// Parses a program. What is not of the language still has a tree; it is then [broken](Self::broken).
    pub fn parse(text: &str, language: Language) -> Option<Self> {
        if text.len() > MOST_BYTES {
            return None;
        }
        let nodes = Nodes::of(&language.parse(text)?, Grammar::of(language))?;
        Some(Self {
            source: text.to_owned(),
            language,
            nodes,
            subtrees: OnceLock::new(),
            dataflow: OnceLock::new(),
            complexity: OnceLock::new(),
            grams: OnceLock::new(),
        })
    }

    /// Whether something in the program is not of its language.
    pub fn broken(&self) -> bool {
        self.nodes.broken()
    }

    /// The language it was parsed as.
    pub fn language(&self) -> Language {
        self.language
    }

    /// The texts of the functions and methods that are defined in the program, in their order; those within others are part of these.
    pub fn functions(&self) -> Vec<&str> {
        fn step<'a>(syntax: &'a Syntax, node: Node<'a>, found: &mut Vec<&'a str>) {
            match FUNCTIONS.contains(&node.kind()) {
                true => found.push(syntax.text(node)),
                false => node.children().for_each(|child| step(syntax, child, found)),
            }
        }
        let mut found = Vec::new();
        step(self, self.root(), &mut found);
        found
    }

    /// The shapes of the program's syntax subtrees, as numbers, and how often each occurs. Names and literals are no part of a shape.
    pub fn shapes(&self) -> impl Iterator<Item = (u64, u32)> {
        self.subtrees().iter().map(|(shape, count)| (*shape, count))
    }

    pub(crate) fn root(&self) -> Node<'_> {
        self.nodes.root()
    }

    /// The text of a node.
    pub(crate) fn text(&self, node: Node<'_>) -> &str {
        self.source.get(node.start_byte()..node.end_byte()).unwrap_or_default()
    }

    /// Every node in the order of the text, without comments and docstrings.
    pub(crate) fn walk<'a>(&'a self, mut visit: impl FnMut(Node<'a>)) {
        fn step<'a>(node: Node<'a>, visit: &mut impl FnMut(Node<'a>)) {
            visit(node);
            node.children().for_each(|child| step(child, visit));
        }
        step(self.root(), &mut visit);
    }

    /// How large and how twisted the program is.
    pub(crate) fn complexity(&self) -> Complexity {
        *self.complexity.get_or_init(|| Complexity::of(self))
    }

    /// The n-grams of its words.
    pub(super) fn grams(&self) -> &Grams {
        self.grams.get_or_init(|| Grams::of(&self.source))
    }

    /// How often each subtree occurs, by its shape: the kinds and fields of its named nodes, whatever their text. A subtree is a
    /// node with children; the whole program is one, whether it has any or not.
    pub(crate) fn subtrees(&self) -> &Counts<u64> {
        self.subtrees.get_or_init(|| {
            let mut shapes = Vec::new();
            let (shape, has_children) = shape(self.root(), &mut shapes);
            if !has_children {
                shapes.push(shape);
            }
            Counts::of(shapes)
        })
    }

    /// How often each item of the data-flow graph occurs; `None` if following it would take too long, or if the language has no
    /// variables.
    pub(crate) fn dataflow(&self) -> Option<&Counts<Item>> {
        self.dataflow.get_or_init(|| dataflow::items(self)).as_ref()
    }
}

/// The shape of a node, and whether it has children; those of all subtrees at and below it are added to `shapes`.
fn shape(node: Node<'_>, shapes: &mut Vec<u64>) -> (u64, bool) {
    let mut all = u64::from(node.kind_id());
    let mut any = false;
    for child in node.children() {
        any = true;
        if child.is_named() || child.child_count() > 0 {
            all = mixed(all, u64::from(child.field_id()));
            all = mixed(all, shape(child, shapes).0);
        }
    }
    // The end of the list, so that a shape cannot run on into the next.
    all = mixed(all, u64::MAX);
    if any {
        shapes.push(all);
    }
    (all, any)
}

/// Mixes a number into others: the two halves of a product, as in wyhash. The constants are those of wyhash, odd and with as many
/// ones as zeros.
pub(crate) fn mixed(all: u64, next: u64) -> u64 {
    let product = u128::from(all ^ 0xa076_1d64_78bd_642f) * u128::from(next ^ 0xe703_7ed1_a0b4_28db);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_grammar_parses_its_language() {
        let programs = [
            (Language::Python, "def f(x):\n    return x\n"),
            (Language::JavaScript, "function f(x) { return x; }"),
            (Language::Java, "class A { int f(int x) { return x; } }"),
            (Language::C, "int f(int x) { return x; }"),
            (Language::Cpp, "auto f(int x) -> int { return x; }"),
            (Language::Rust, "fn f(x: i32) -> i32 { x }"),
            (Language::Go, "package a\nfunc f(x int) int { return x }\n"),
            (Language::Ruby, "def f(x)\n  x\nend\n"),
            (Language::Sql, "SELECT a FROM b WHERE c = 1;"),
        ];
        assert_eq!(programs.map(|(language, _)| language), Language::ALL);
        for (language, program) in programs {
            let syntax = Syntax::parse(program, language).unwrap();
            assert!(!syntax.broken(), "{language:?}");
            assert!(Syntax::parse("(]", language).unwrap().broken(), "{language:?}");
            assert!(syntax.subtrees().total() > 1, "{language:?}");
        }
    }

    #[test]
    fn functions_are_found_in_every_language_that_has_some() {
        let count = |text: &str, language| Syntax::parse(text, language).unwrap().functions().len();
        for (language, program, wanted) in [
            (
                Language::Python,
                "def f(x):\n    def g(): pass\n    return x\nclass A:\n    def h(self): pass\n",
                2,
            ),
            (Language::JavaScript, "function f(x) { return x; }\nclass A { g() { return 1; } }", 2),
            (Language::Java, "class A { int f(int x) { return x; } }", 1),
            (Language::C, "int f(int x) { return x; }", 1),
            (Language::Cpp, "auto f(int x) -> int { return x; }", 1),
            (Language::Rust, "fn f(x: i32) -> i32 { x }\nstruct A;\nimpl A { fn g() {} }", 2),
            (Language::Go, "package a\nfunc f(x int) int { return x }\nfunc (a A) g() {}\n", 2),
            (Language::Ruby, "def f(x)\n  x\nend\ndef self.g\nend\n", 2),
        ] {
            assert_eq!(count(program, language), wanted, "{language:?}");
        }
        let syntax = Syntax::parse("x = 1\ndef f(x):\n    return x\n", Language::Python).unwrap();
        assert_eq!(syntax.functions(), ["def f(x):\n    return x"]);
        assert_eq!(syntax.shapes().map(|(_, count)| count).sum::<u32>(), syntax.subtrees().total());
    }

    #[test]
    fn comments_and_docstrings_are_not_part_of_the_structure() {
        let subtrees = |text: &str| Syntax::parse(text, Language::Python).unwrap().subtrees().clone();
        let bare = subtrees("def f(x):\n    y = 1\n    return x + y\n");
        assert_eq!(
            subtrees("# a\ndef f(x):\n    \"\"\"Doc.\"\"\"\n    y = 1  # b\n    return x + y\n"),
            bare
        );
        assert_ne!(subtrees("def f(x):\n    y = \"s\"\n    return x + y\n"), bare);
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_not_looked_at() {
        assert!(
            Syntax::parse(&format!("{}1{}", "[".repeat(5000), "]".repeat(5000)), Language::Python).is_none()
        );
        assert!(Syntax::parse(&"x = 1\n".repeat(50_000), Language::Python).is_none());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in any::<String>(), language in 0..Language::ALL.len()) {
            if let Some(syntax) = Syntax::parse(&text, Language::ALL[language]) {
                syntax.subtrees();
                syntax.dataflow();
            }
        }
    }
}
