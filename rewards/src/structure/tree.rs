//! A syntax tree in one piece of memory, in the order of the text: one walk over tree-sitter's tree makes it, and every signal reads
//! this one. Kinds and fields are looked up in tables, one per grammar.

use tree_sitter::{Tree, TreeCursor};

use super::grammar::{Grammar, Kind};

/// Deepest tree that is looked at. Walks over it are recursive, and a model may well write a thousand brackets.
const MOST_DEPTH: usize = 400;

/// What a node is, in the order of the text: a node's first child comes right after it.
#[derive(Clone, Copy, Debug)]
struct Record {
    kind: u16,
    /// The field of its parent that it fills; 0 for none.
    field: u16,
    begin: u32,
    end: u32,
    first_row: u32,
    last_row: u32,
    column: u32,
    children: u32,
    /// Where the first node stands that is not below it.
    after: u32,
    named: bool,
    /// A comment, or a docstring.
    remark: bool,
}

/// The nodes of a tree.
#[derive(Debug)]
pub(super) struct Nodes {
    records: Vec<Record>,
    grammar: &'static Grammar,
    broken: bool,
}

impl Nodes {
    /// Copies a tree; `None` if it is too deep to look at.
    pub(super) fn of(tree: &Tree, grammar: &'static Grammar) -> Option<Self> {
        let mut nodes =
            Self { records: Vec::with_capacity(256), grammar, broken: tree.root_node().has_error() };
        let mut cursor = tree.walk();
        let mut above: Vec<usize> = Vec::with_capacity(32);
        loop {
            let at = nodes.records.len();
            nodes.push(&cursor);
            if let Some(parent) = above.last() {
                nodes.records[*parent].children += 1;
            }
            if cursor.goto_first_child() {
                above.push(at);
                if above.len() > MOST_DEPTH {
                    return None;
                }
                continue;
            }
            nodes.records[at].after = at as u32 + 1;
            while !cursor.goto_next_sibling() {
                let Some(parent) = above.pop() else { return Some(nodes) };
                cursor.goto_parent();
                nodes.close(parent);
            }
        }
    }

    fn push(&mut self, cursor: &TreeCursor<'_>) {
        let node = cursor.node();
        let kind = node.kind_id();
        let (first, last) = (node.start_position(), node.end_position());
        self.records.push(Record {
            kind,
            field: cursor.field_id().map_or(0, Into::into),
            begin: node.start_byte() as u32,
            end: node.end_byte() as u32,
            first_row: first.row as u32,
            last_row: last.row as u32,
            column: first.column as u32,
            children: 0,
            after: 0,
            named: node.is_named(),
            remark: node.is_extra() && self.grammar.kind(kind).comment,
        });
    }

    /// A node whose children are all there.
    fn close(&mut self, at: usize) {
        let end = self.records.len() as u32;
        let only_child = (self.records[at].children == 1).then(|| self.records[at + 1]);
        let string = only_child.is_some_and(|child| self.grammar.kind(child.kind).string);
        let record = &mut self.records[at];
        record.after = end;
        // A statement that is nothing but a string: in Python a docstring or as good as one.
        record.remark |= string && self.grammar.kind(record.kind).expression_statement;
    }

    pub(super) fn broken(&self) -> bool {
        self.broken
    }

    pub(super) fn root(&self) -> Node<'_> {
        Node { nodes: self, at: 0 }
    }
}

/// One node of a tree.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    nodes: &'a Nodes,
    at: u32,
}

impl PartialEq for Node<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.nodes, other.nodes) && self.at == other.at
    }
}

impl<'a> Node<'a> {
    fn record(self) -> &'a Record {
        &self.nodes.records[self.at as usize]
    }

    /// What is known of nodes of its kind.
    pub(super) fn known(self) -> &'static Kind {
        self.nodes.grammar.kind(self.record().kind)
    }

    pub(crate) fn kind(self) -> &'static str {
        self.known().name
    }

    pub(crate) fn kind_id(self) -> u16 {
        self.record().kind
    }

    pub(crate) fn is_named(self) -> bool {
        self.record().named
    }

    /// A comment or a docstring, which is no part of the structure.
    pub(crate) fn is_remark(self) -> bool {
        self.record().remark
    }

    pub(crate) fn start_byte(self) -> usize {
        self.record().begin as usize
    }

    pub(crate) fn end_byte(self) -> usize {
        self.record().end as usize
    }

    /// The line on which it begins, from 0.
    pub(crate) fn first_row(self) -> usize {
        self.record().first_row as usize
    }

    /// The line on which it ends, from 0.
    pub(crate) fn last_row(self) -> usize {
        self.record().last_row as usize
    }

    /// Bytes between the beginning of its line and its own.
    pub(crate) fn column(self) -> usize {
        self.record().column as usize
    }

    /// The number of the field of its parent that it fills; 0 for none.
    pub(crate) fn field_id(self) -> u16 {
        self.record().field
    }

    /// The name of the field of its parent that it fills.
    pub(crate) fn field(self) -> Option<&'static str> {
        self.nodes.grammar.field(self.record().field)
    }

    /// How many children it has, remarks among them.
    pub(crate) fn child_count(self) -> usize {
        self.record().children as usize
    }

    /// Its children, remarks among them.
    pub(crate) fn all_children(self) -> impl Iterator<Item = Node<'a>> {
        let (mut next, left) = (self.at + 1, self.record().children);
        (0..left).map(move |_| {
            let child = Node { nodes: self.nodes, at: next };
            next = child.record().after;
            child
        })
    }

    /// Its children, without remarks.
    pub(crate) fn children(self) -> impl Iterator<Item = Node<'a>> {
        self.all_children().filter(|child| !child.is_remark())
    }

    /// Itself and every node below, in the order of the text, remarks among them.
    #[cfg(test)]
    pub(super) fn all_below(self) -> impl Iterator<Item = Node<'a>> {
        (self.at..self.record().after).map(move |at| Node { nodes: self.nodes, at })
    }

    pub(crate) fn last_child(self) -> Option<Node<'a>> {
        self.all_children().last()
    }

    /// The first child that has a name of its own, remarks among them.
    pub(crate) fn first_named_child(self) -> Option<Node<'a>> {
        self.all_children().find(|child| child.is_named())
    }

    pub(crate) fn child_by_field_name(self, name: &str) -> Option<Node<'a>> {
        self.all_children().find(|child| child.field() == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::grammar::Grammar;
    use super::*;
    use crate::structure::Language;

    /// Fields that somebody asks for.
    const FIELDS: [&str; 9] =
        ["left", "right", "name", "value", "pattern", "declarator", "body", "parameters", "function"];

    /// That a copy says of every node what tree-sitter says of it.
    fn same(node: Node<'_>, theirs: tree_sitter::Node<'_>) {
        let (first, last) = (theirs.start_position(), theirs.end_position());
        assert_eq!((node.kind(), node.kind_id()), (theirs.kind(), theirs.kind_id()));
        assert_eq!((node.is_named(), node.child_count()), (theirs.is_named(), theirs.child_count() as usize));
        assert_eq!((node.start_byte(), node.end_byte()), (theirs.start_byte(), theirs.end_byte()));
        assert_eq!((node.first_row(), node.column(), node.last_row()), (first.row, first.column, last.row));
        // Where the text is not of the language, a field may be on one of several children, and they count in another order.
        let fields = if theirs.has_error() { &[][..] } else { &FIELDS };
        for field in fields {
            let (ours, theirs) = (node.child_by_field_name(field), theirs.child_by_field_name(field));
            assert_eq!(ours.map(Node::start_byte), theirs.map(|node| node.start_byte()), "{field}");
        }
        let mut cursor = theirs.walk();
        for (ours, theirs) in node.all_children().zip(theirs.children(&mut cursor)) {
            same(ours, theirs);
        }
    }

    fn check(text: &str, language: Language) {
        let tree = language.parse(text).unwrap();
        if let Some(nodes) = Nodes::of(&tree, Grammar::of(language)) {
            same(nodes.root(), tree.root_node());
            assert_eq!(nodes.root().all_below().count(), nodes.records.len());
        }
    }

    #[test]
    fn a_copy_is_what_tree_sitter_says() {
        #[derive(serde::Deserialize)]
        struct Pair {
            language: Language,
            reference: String,
            candidate: String,
        }
        let golden = include_str!("../../golden/codebleu.json");
        let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
        let pairs = golden.as_array().or_else(|| golden.get("pairs")?.as_array()).unwrap();
        for pair in pairs {
            let pair: Pair = serde_json::from_value(pair.clone()).unwrap();
            check(&pair.reference, pair.language);
            check(&pair.candidate, pair.language);
        }
    }

    proptest! {
        #[test]
        fn a_copy_of_anything_is_what_tree_sitter_says(
            text in "[a-z0-9 +*()={}'#:;,.\n\t]{0,120}", language in 0..Language::ALL.len(),
        ) {
            check(&text, Language::ALL[language]);
        }
    }
}
