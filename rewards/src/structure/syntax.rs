//! A program as a tree, parsed once and shared between rewards.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

use tree_sitter::{Node, Tree};

use super::Language;
use super::dataflow::{self, Item};

/// Longest program that is parsed, in bytes. Nothing that a model writes in one go is longer.
const MOST_BYTES: usize = 256 * 1024;

/// Deepest tree that is looked at. Walks over it are recursive, and a model may well write a thousand brackets.
const MOST_DEPTH: usize = 400;

/// A tree that is made when somebody first asks for it.
#[derive(Debug, Default)]
pub struct ParseOnce(OnceLock<Option<Syntax>>);

impl ParseOnce {
    /// The syntax of `text`; `None` if it is too long or too deep to look at. Always ask with the same text.
    pub fn get(&self, text: &str, language: Language) -> Option<&Syntax> {
        self.0.get_or_init(|| Syntax::parse(text, language)).as_ref()
    }
}

/// The syntax tree of a program, and what is derived from it.
#[derive(Debug)]
pub struct Syntax {
    source: String,
    language: Language,
    tree: Tree,
    subtrees: OnceLock<HashMap<u64, u32>>,
    dataflow: OnceLock<Option<HashMap<Item, u32>>>,
}

impl Syntax {
    /// Parses a program. What is not of the language still has a tree; it is then [broken](Self::broken).
    pub fn parse(text: &str, language: Language) -> Option<Self> {
        if text.len() > MOST_BYTES {
            return None;
        }
        let tree = language.parse(text)?;
        (depth(&tree) <= MOST_DEPTH).then(|| Self {
            source: text.to_owned(),
            language,
            tree,
            subtrees: OnceLock::new(),
            dataflow: OnceLock::new(),
        })
    }

    /// Whether something in the program is not of its language.
    pub fn broken(&self) -> bool {
        self.tree.root_node().has_error()
    }

    /// The language it was parsed as.
    pub fn language(&self) -> Language {
        self.language
    }

    /// The text.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    pub(crate) fn root(&self) -> Node<'_> {
        self.tree.root_node()
    }

    /// The text of a node.
    pub(crate) fn text(&self, node: Node<'_>) -> &str {
        self.source.get(node.byte_range()).unwrap_or_default()
    }

    /// Every node in the order of the text, without comments and docstrings.
    pub(crate) fn walk(&self, mut visit: impl FnMut(Node<'_>, usize)) {
        fn step<'a>(
            syntax: &'a Syntax,
            node: Node<'a>,
            depth: usize,
            visit: &mut impl FnMut(Node<'_>, usize),
        ) {
            visit(node, depth);
            syntax.children(node, |child, _| step(syntax, child, depth + 1, visit));
        }
        step(self, self.root(), 0, &mut visit);
    }

    /// The children of a node with their field names, without comments and docstrings.
    pub(crate) fn children<'a>(&'a self, node: Node<'a>, mut each: impl FnMut(Node<'a>, Option<&'a str>)) {
        let mut cursor = node.walk();
        let mut more = cursor.goto_first_child();
        while more {
            let child = cursor.node();
            if !is_comment(child) && !self.is_docstring(child) {
                each(child, cursor.field_name());
            }
            more = cursor.goto_next_sibling();
        }
    }

    /// Children as a list, without comments and docstrings.
    pub(crate) fn child_list<'a>(&'a self, node: Node<'a>) -> Vec<Node<'a>> {
        let mut children = Vec::with_capacity(node.child_count() as usize);
        self.children(node, |child, _| children.push(child));
        children
    }

    /// A statement that is nothing but a string: in Python a docstring or as good as one.
    pub(crate) fn is_docstring(&self, node: Node<'_>) -> bool {
        self.language == Language::Python
            && node.kind() == "expression_statement"
            && node.child_count() == 1
            && node.child(0).is_some_and(|child| child.kind() == "string")
    }

    /// How often each subtree occurs, by its shape: the kinds and fields of its named nodes, whatever their text. A subtree is a
    /// node with children; the whole program is one, whether it has any or not.
    pub(crate) fn subtrees(&self) -> &HashMap<u64, u32> {
        self.subtrees.get_or_init(|| {
            let mut counts = HashMap::new();
            let (shape, has_children) = self.shape(self.root(), &mut counts);
            if !has_children {
                counts.insert(shape, 1);
            }
            counts
        })
    }

    /// The shape of a node, counting it and all below it.
    fn shape(&self, node: Node<'_>, counts: &mut HashMap<u64, u32>) -> (u64, bool) {
        let mut hasher = DefaultHasher::new();
        node.kind_id().hash(&mut hasher);
        let has_children = self.shape_of_children(node, &mut hasher, counts);
        let shape = hasher.finish();
        if has_children {
            *counts.entry(shape).or_default() += 1;
        }
        (shape, has_children)
    }

    fn shape_of_children(
        &self,
        node: Node<'_>,
        hasher: &mut DefaultHasher,
        counts: &mut HashMap<u64, u32>,
    ) -> bool {
        let mut any = false;
        self.children(node, |child, field| {
            any = true;
            if child.is_named() || child.child_count() > 0 {
                field.hash(hasher);
                self.shape(child, counts).0.hash(hasher);
            }
        });
        // The end of the list, so that a shape cannot run on into the next.
        u64::MAX.hash(hasher);
        any
    }

    /// How often each item of the data-flow graph occurs; `None` if following it would take too long, or if the language has no
    /// variables.
    pub(crate) fn dataflow(&self) -> Option<&HashMap<Item, u32>> {
        self.dataflow.get_or_init(|| dataflow::items(self)).as_ref()
    }
}

fn is_comment(node: Node<'_>) -> bool {
    node.is_extra() && node.kind().contains("comment")
}

fn depth(tree: &Tree) -> usize {
    let mut cursor = tree.walk();
    let (mut depth, mut deepest) = (0, 0);
    loop {
        if cursor.goto_first_child() {
            depth += 1;
            deepest = deepest.max(depth);
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return deepest;
            }
            depth -= 1;
        }
    }
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
            assert!(syntax.subtrees().len() > 1, "{language:?}");
        }
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
