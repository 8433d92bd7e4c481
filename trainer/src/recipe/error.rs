//! What is wrong with a recipe.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use thiserror::Error;

/// Why a recipe could not be used.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum RecipeError {
    /// The file could not be read.
    #[error("cannot read the recipe `{}`", path.display())]
    #[diagnostic(
        code(recipe::unreadable),
        help(
            "name a recipe, as in `rltrain recipes/quickstart.toml`; recipes/README.md tells what each is for"
        )
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is a recipe that cannot work, or none.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Invalid(#[from] Box<InvalidRecipe>),
}

/// Every problem of one recipe.
#[derive(Debug, Error, Diagnostic)]
#[error("{}", headline(.problems.len()))]
#[diagnostic(code(recipe::invalid))]
pub struct InvalidRecipe {
    /// What the user wrote.
    #[source_code]
    pub(super) text: NamedSource<String>,
    /// What is wrong with it, in the order of the text; at least one.
    #[related]
    pub problems: Vec<Problem>,
}

/// One problem: what was found and wanted, where, and the way out.
#[derive(Clone, Debug, Error)]
#[error("{message}")]
pub struct Problem {
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// Bytes of the recipe to point at; `None` for what is nowhere in it.
    pub(super) place: Option<Range<usize>>,
    /// The text that these are bytes of; `None` for the recipe's own.
    pub(super) text: Option<NamedSource<String>>,
}

impl Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.text.as_ref().map(|text| text as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.place.clone()?;
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(None, place))))
    }
}

fn headline(problems: usize) -> String {
    match problems {
        1 => "the recipe has a problem".to_owned(),
        several => format!("the recipe has {several} problems"),
    }
}
