//! From a text to a program.

use super::super::{MOST_SOURCE_BYTES, SyntaxError};
use super::{CONSTANTS, Class, Filter, MOST_TOKENS, POSITIONS, Piece, Program, Source};

/// One token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Constant(char),
}

/// What is left to read. A program is one line, so that is where every mistake is.
struct Reader<'a> {
    rest: &'a str,
    read: usize,
}

pub(super) fn program(text: &str) -> Result<Program, SyntaxError> {
    if text.len() > MOST_SOURCE_BYTES {
        return Err(wrong("the program is too long"));
    }
    let mut reader = Reader { rest: text, read: 0 };
    let mut pieces = Vec::new();
    let mut piece = begin(reader.next()?)?.source(&mut reader)?;
    loop {
        match reader.next()? {
            None => {
                pieces.push(piece);
                return Ok(Program { pieces });
            }
            Some(Token::Word("|")) => {
                pieces.push(piece);
                piece = begin(reader.next()?)?.source(&mut reader)?;
            }
            Some(Token::Word(name)) => match Filter::ALL.into_iter().find(|filter| filter.name() == name) {
                Some(filter) => piece.filters.push(filter),
                None => return Err(wrong(format!("wanted a filter or `|`, found `{name}`"))),
            },
            Some(Token::Constant(_)) => return Err(wrong("wanted `|` before a constant")),
        }
    }
}

/// The first token of a piece.
enum Begin {
    Whole(Source),
    Between,
    Run(fn(Class, i8) -> Source),
}

fn begin(token: Option<Token<'_>>) -> Result<Begin, SyntaxError> {
    Ok(match token {
        Some(Token::Constant(character)) => Begin::Whole(Source::Constant(character)),
        Some(Token::Word("all")) => Begin::Whole(Source::All),
        Some(Token::Word("sub")) => Begin::Between,
        Some(Token::Word("tok")) => Begin::Run(Source::Token),
        Some(Token::Word("upto")) => Begin::Run(Source::UpTo),
        Some(Token::Word("from")) => Begin::Run(Source::From),
        Some(Token::Word(other)) => return Err(wrong(format!("wanted a source, found `{other}`"))),
        None => return Err(wrong("wanted a source, found the end")),
    })
}

impl Begin {
    /// The piece that begins so, without filters.
    fn source(self, reader: &mut Reader<'_>) -> Result<Piece, SyntaxError> {
        let source = match self {
            Self::Whole(source) => source,
            Self::Between => Source::Between(reader.position()?, reader.position()?),
            Self::Run(make) => make(reader.class()?, reader.position()?),
        };
        Ok(Piece { source, filters: Vec::new() })
    }
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<Token<'a>>, SyntaxError> {
        self.rest = self.rest.trim_start_matches([' ', '\n']);
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.read += 1;
        if self.read > MOST_TOKENS {
            return Err(wrong(format!("a program has at most {MOST_TOKENS} tokens")));
        }
        if let Some(quoted) = self.rest.strip_prefix('\'') {
            let mut characters = quoted.chars();
            let (Some(character), Some('\'')) = (characters.next(), characters.next()) else {
                return Err(wrong("wanted one character between quotation marks"));
            };
            if !CONSTANTS.contains(&character) {
                return Err(wrong(format!("`{character}` cannot be a constant")));
            }
            self.rest = characters.as_str();
            return Ok(Some(Token::Constant(character)));
        }
        let end = self.rest.find([' ', '\n', '\'']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(Some(Token::Word(word)))
    }

    fn position(&mut self) -> Result<i8, SyntaxError> {
        let Some(Token::Word(word)) = self.next()? else { return Err(wrong("wanted a position")) };
        // Only as they are printed: neither `+1` nor `01`.
        let found = POSITIONS.into_iter().find(|position| position.to_string() == word);
        found.ok_or_else(|| wrong(format!("wanted a position from -3 to 4, found `{word}`")))
    }

    fn class(&mut self) -> Result<Class, SyntaxError> {
        let Some(Token::Word(word)) = self.next()? else { return Err(wrong("wanted a class")) };
        let found = Class::ALL.into_iter().find(|class| class.name() == word);
        found.ok_or_else(|| wrong(format!("wanted a class, found `{word}`")))
    }
}

fn wrong(message: impl Into<String>) -> SyntaxError {
    SyntaxError::new(message, 1)
}
