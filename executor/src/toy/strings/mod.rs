//! Programs that make a text out of a text: pieces put one behind the other, each cut out of the input or constant, and changed.
//!
//! ```text
//! tok word 0 upper | '-' | sub -3 -1        "ada lovelace 1815" gives "ADA-815"
//! ```
//!
//! A piece is a source with filters behind it. Positions count from 0, or from the end below 0. The language has thirty tokens
//! ([`TOKENS`]), with single spaces between them; a program has at most [`MOST_TOKENS`].

mod parse;
mod run;

use std::fmt;

use super::{Fault, Meter, SyntaxError, write_joined};

/// Most tokens of a program.
pub const MOST_TOKENS: usize = 24;

/// Every token of the language.
pub const TOKENS: [&str; 30] = [
    "|", "all", "sub", "tok", "upto", "from", "word", "num", "caps", "chunk", "upper", "lower", "title",
    "trim", "head", "0", "1", "2", "3", "4", "-1", "-2", "-3", "' '", "'-'", "'.'", "','", "'/'", "'@'",
    "'_'",
];

/// Positions that can be written.
pub const POSITIONS: [i8; 8] = [0, 1, 2, 3, 4, -1, -2, -3];

/// Characters that can be written.
pub const CONSTANTS: [char; 7] = [' ', '-', '.', ',', '/', '@', '_'];

/// A program.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    /// What its output is put together from. At least one.
    pub pieces: Vec<Piece>,
}

/// A part of the output.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Piece {
    /// Where it comes from.
    pub source: Source,
    /// What is done to it, in this order.
    pub filters: Vec<Filter>,
}

/// Where a piece comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A character of [`CONSTANTS`].
    Constant(char),
    /// The whole input.
    All,
    /// From one position to another, both included.
    Between(i8, i8),
    /// A run of characters of a class, by its number.
    Token(Class, i8),
    /// What comes before such a run.
    UpTo(Class, i8),
    /// Such a run and what comes behind it.
    From(Class, i8),
}

/// Kinds of characters whose longest runs are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Letters.
    Word,
    /// Digits.
    Number,
    /// Capitals.
    Capitals,
    /// Everything but spaces.
    Chunk,
}

/// A change of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// All letters are capitals.
    Upper,
    /// No letter is a capital.
    Lower,
    /// The first letter of every word is a capital, and no other.
    Title,
    /// Without the spaces at both ends.
    Trim,
    /// The first character; a piece without one has none to give.
    Head,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 4] = [Self::Word, Self::Number, Self::Capitals, Self::Chunk];

    /// Its token.
    pub fn name(self) -> &'static str {
        match self {
            Self::Word => "word",
            Self::Number => "num",
            Self::Capitals => "caps",
            Self::Chunk => "chunk",
        }
    }

    fn has(self, character: char) -> bool {
        match self {
            Self::Word => character.is_ascii_alphabetic(),
            Self::Number => character.is_ascii_digit(),
            Self::Capitals => character.is_ascii_uppercase(),
            Self::Chunk => character != ' ',
        }
    }
}

impl Filter {
    /// Every filter.
    pub const ALL: [Self; 5] = [Self::Upper, Self::Lower, Self::Title, Self::Trim, Self::Head];

    /// Its token.
    pub fn name(self) -> &'static str {
        match self {
            Self::Upper => "upper",
            Self::Lower => "lower",
            Self::Title => "title",
            Self::Trim => "trim",
            Self::Head => "head",
        }
    }
}

impl Program {
    /// Reads a program.
    ///
    /// # Errors
    ///
    /// If the text is none.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        parse::program(text)
    }

    /// What the program makes of `input`.
    ///
    /// # Errors
    ///
    /// If a position or a run is not there, or the steps run out.
    pub fn run(&self, input: &str, meter: &mut Meter) -> Result<String, Fault> {
        run::program(self, input, meter)
    }

    /// Tokens that it is written with.
    pub fn tokens(&self) -> usize {
        let source = |source: Source| match source {
            Source::Constant(_) | Source::All => 1,
            _ => 3,
        };
        let pieces = self.pieces.iter().map(|piece| source(piece.source) + piece.filters.len());
        pieces.sum::<usize>() + self.pieces.len().saturating_sub(1)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_joined(formatter, &self.pieces, " | ")
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.source)?;
        self.filters.iter().try_for_each(|filter| write!(formatter, " {}", filter.name()))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(character) => write!(formatter, "'{character}'"),
            Self::All => formatter.write_str("all"),
            Self::Between(from, to) => write!(formatter, "sub {from} {to}"),
            Self::Token(class, place) => write!(formatter, "tok {} {place}", class.name()),
            Self::UpTo(class, place) => write!(formatter, "upto {} {place}", class.name()),
            Self::From(class, place) => write!(formatter, "from {} {place}", class.name()),
        }
    }
}
