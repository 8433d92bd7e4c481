//! Programs that are written as a sequence of insertions, each of which leaves a program without errors behind (LintSeq, Piterbarg et al.
//! 2024, arXiv:2410.02749).
//!
//! ```text
//! signature   def total(xs):
//! answer      @ 1                        behind line 1 of what is there
//!             +    return sum(xs)        goes this line
//!             @ 1
//!             +    if not xs:
//!             +        return 0
//! ```
//!
//! A task whose [`answer`](super::Answer) is of this form is answered so by the model, and taught so by supervised learning, which draws another
//! sequence for its reference every time.

mod insertion;
mod sequence;

pub use insertion::{Insertion, apply, text};
pub use sequence::sequence;
