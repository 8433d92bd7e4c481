//! What is known of a grammar's nodes by their kind, looked up once.

use std::sync::OnceLock;

use super::Language;
use super::complexity::Branching;
use super::syntax_roles::{Role, role};

/// What is known of the nodes of one kind.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(super) name: &'static str,
    /// What they do to variables.
    pub(super) role: Role,
    /// What they do to the ways through a program.
    pub(super) branching: Branching,
    pub(super) comment: bool,
    /// A string of a language that has docstrings.
    pub(super) string: bool,
    /// A statement of a language that has docstrings, which may be one.
    pub(super) expression_statement: bool,
    /// A token that is one piece, although the grammar cuts it into several.
    pub(super) literal: bool,
}

/// The kinds and fields of a grammar, by their numbers.
#[derive(Debug)]
pub(crate) struct Grammar {
    kinds: Vec<Kind>,
    /// What is no part of the language.
    error: Kind,
    fields: Vec<Option<&'static str>>,
}

impl Grammar {
    pub(super) fn of(language: Language) -> &'static Grammar {
        static GRAMMARS: [OnceLock<Grammar>; Language::ALL.len()] =
            [const { OnceLock::new() }; Language::ALL.len()];
        GRAMMARS[language as usize].get_or_init(|| Grammar::new(language))
    }

    fn new(language: Language) -> Grammar {
        // One for each language of the program, and for as long as it runs.
        let grammar: &'static tree_sitter::Language = Box::leak(Box::new(language.grammar()));
        let kind = |id: usize| {
            let id = id as u16;
            Kind::new(
                language,
                grammar.node_kind_for_id(id).unwrap_or_default(),
                grammar.node_kind_is_named(id),
            )
        };
        Grammar {
            kinds: (0..grammar.node_kind_count()).map(kind).collect(),
            error: Kind::new(language, "ERROR", true),
            fields: (0..=grammar.field_count()).map(|id| grammar.field_name_for_id(id as u16)).collect(),
        }
    }

    pub(super) fn kind(&self, id: u16) -> &Kind {
        self.kinds.get(usize::from(id)).unwrap_or(&self.error)
    }

    pub(super) fn field(&self, id: u16) -> Option<&'static str> {
        self.fields.get(usize::from(id)).copied().flatten()
    }
}

impl Kind {
    fn new(language: Language, name: &'static str, named: bool) -> Kind {
        let python = language == Language::Python;
        Kind {
            name,
            role: role(language, name, named),
            branching: Branching::of(name, named),
            comment: name.contains("comment"),
            string: python && name == "string",
            expression_statement: python && name == "expression_statement",
            literal: matches!(name, "string_literal" | "string" | "character_literal"),
        }
    }
}
