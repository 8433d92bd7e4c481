//! Rewards that compare the structure of the program with that of the reference.

mod ast_match;
mod bleu;
mod codebleu;
mod complexity;
mod counts;
mod dataflow;
mod dataflow_match;
mod grammar;
mod language;
mod statements;
mod syntax;
mod syntax_roles;
mod tree;

pub use ast_match::{AstMatch, AstMatchConfig, AstMatchForm};
pub use codebleu::{CodeBleu, CodeBleuConfig};
pub(crate) use complexity::{Complexity, nests};
pub use dataflow_match::{DataflowMatch, DataflowMatchConfig};
pub use language::Language;
pub use statements::Statement;
pub(crate) use syntax::mixed;
pub use syntax::{ParseOnce, Syntax};
pub(crate) use tree::Node;

use crate::Attempt;

/// The syntax of the reference and of the program; `None` without a reference that can be compared with.
///
/// The reference is cut nowhere: a short program must not meet a short reference (PPOCoder cuts both at the end of the sample).
pub(crate) fn both<'a>(attempt: &'a Attempt<'_>) -> Option<(&'a Syntax, Option<&'a Syntax>)> {
    let language = attempt.task.language;
    let reference = attempt.task.parsed.get(attempt.task.reference?, language)?;
    Some((reference, attempt.parsed.get(attempt.program, language)))
}
