//! The languages whose structure rewards can read.

use std::cell::RefCell;
use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tree_sitter::{Parser, Tree};

/// A language with a grammar.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Python.
    #[default]
    Python,
    /// JavaScript.
    JavaScript,
    /// Java.
    Java,
    /// C.
    C,
    /// C++.
    Cpp,
    /// Rust.
    Rust,
    /// Go.
    Go,
    /// Ruby.
    Ruby,
    /// SQL.
    Sql,
}

impl Language {
    /// Every language.
    pub const ALL: [Language; 9] = [
        Language::Python,
        Language::JavaScript,
        Language::Java,
        Language::C,
        Language::Cpp,
        Language::Rust,
        Language::Go,
        Language::Ruby,
        Language::Sql,
    ];

    /// The name that task files and fences use.
    pub const fn name(self) -> &'static str {
        match self {
            Language::Python => "python",
            Language::JavaScript => "javascript",
            Language::Java => "java",
            Language::C => "c",
            Language::Cpp => "cpp",
            Language::Rust => "rust",
            Language::Go => "go",
            Language::Ruby => "ruby",
            Language::Sql => "sql",
        }
    }

    /// The language that a fence such as `` ```py `` names.
    pub fn named(name: &str) -> Option<Language> {
        Some(match name.to_ascii_lowercase().as_str() {
            "python" | "py" | "python3" => Language::Python,
            "javascript" | "js" => Language::JavaScript,
            "java" => Language::Java,
            "c" => Language::C,
            "cpp" | "c++" => Language::Cpp,
            "rust" | "rs" => Language::Rust,
            "go" | "golang" => Language::Go,
            "ruby" | "rb" => Language::Ruby,
            "sql" => Language::Sql,
            _ => return None,
        })
    }

    pub(super) fn grammar(self) -> tree_sitter::Language {
        match self {
            Language::Python => tree_sitter_python::LANGUAGE.into(),
            Language::JavaScript => tree_sitter_javascript::LANGUAGE.into(),
            Language::Java => tree_sitter_java::LANGUAGE.into(),
            Language::C => tree_sitter_c::LANGUAGE.into(),
            Language::Cpp => tree_sitter_cpp::LANGUAGE.into(),
            Language::Rust => tree_sitter_rust::LANGUAGE.into(),
            Language::Go => tree_sitter_go::LANGUAGE.into(),
            Language::Ruby => tree_sitter_ruby::LANGUAGE.into(),
            Language::Sql => arborium_sql::language().into(),
        }
    }

    /// Parses a text. Any text has a tree; where it is not of the language, the tree has errors in it.
    pub(super) fn parse(self, text: &str) -> Option<Tree> {
        thread_local! {
            static PARSERS: RefCell<HashMap<Language, Parser>> = RefCell::new(HashMap::new());
        }
        PARSERS.with_borrow_mut(|parsers| {
            let parser = parsers.entry(self).or_insert_with(|| {
                let mut parser = Parser::new();
                parser
                    .set_language(&self.grammar())
                    .expect("the grammars and tree-sitter fit together by contract: a test parses each");
                parser
            });
            parser.parse(text, None)
        })
    }

    /// Words that CodeBLEU's weighted n-grams count in full.
    pub(super) fn keywords(self) -> &'static str {
        match self {
            Language::Python => {
                "False None True and as assert async await break case class continue def del elif else except finally for from \
                 global if import in is lambda match nonlocal not or pass raise return try type while with yield"
            }
            Language::JavaScript => {
                "True await break case catch class const continue debugger default delete do else enum export extends false \
                 finally for function if implements import in instanceof interface let new null package private protected \
                 public return static super switch this throw try typeof var void while with yield"
            }
            Language::Java => {
                "abstract assert boolean break byte case catch char class const continue default do double else enum extends \
                 final finally float for goto if implements import instanceof int interface long native new package private \
                 protected public return short static strictfp super switch synchronized this throw throws transient try void \
                 volatile while"
            }
            Language::C => {
                "_Packed auto break case char const continue default do double else enum extern float for goto if int long \
                 register return short signed sizeof static struct switch typedef union unsigned void volatile while"
            }
            Language::Cpp => {
                "INT_MAX INT_MIN MAX_RAND NULL and and_eq asm auto bitand bitor bool break case catch char cin class compl const \
                 const_cast continue cout default delete do double dynamic_cast else endl enum explicit extern false float for \
                 friend goto if include inline int iomanip iostream long main mutable namespace new not not_eq npos operator or \
                 or_eq private protected public register reinterpret_cast return short signed sizeof static static_cast std \
                 string struct switch template this throw true try typedef typeid typename union unsigned using virtual void \
                 volatile wchar_t while xor xor_eq"
            }
            Language::Rust => {
                "as async await block bool break char const continue crate default dyn else enum expr extern f32 f64 false fn \
                 for i128 i16 i32 i64 i8 ident if impl in isize item let lifetime literal loop macro_rules! match meta mod move \
                 mut pat path pub ref return self static stmt str struct super trait true tt ty type u128 u16 u32 u64 u8 union \
                 unsafe use usize vis where while yield"
            }
            Language::Go => {
                "break case chan const continue default defer else fallthrough false for func go goto if import interface map \
                 package range return select struct switch true type var"
            }
            Language::Ruby => {
                "BEGIN END __ENCODING__ __FILE__ __LINE__ alias and begin break case class def defined? do else elsif end ensure \
                 false for if in module next nil not or redo rescue retry return self super then true undef unless until when \
                 while yield"
            }
            Language::Sql => {
                "ALL ALTER AND AS ASC BETWEEN BY CASE CREATE CROSS DELETE DESC DISTINCT DROP ELSE END EXCEPT EXISTS FROM FULL \
                 GROUP HAVING IN INNER INSERT INTERSECT INTO IS JOIN LEFT LIKE LIMIT NOT NULL ON OR ORDER OUTER RIGHT SELECT SET \
                 TABLE THEN UNION UPDATE VALUES WHEN WHERE WITH"
            }
        }
    }
}
