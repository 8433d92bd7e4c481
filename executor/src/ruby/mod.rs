//! Ruby: CRuby in WebAssembly, with its standard library.
//!
//! The module is a library that is made for a browser: it is started and driven through its exports, and what it imports
//! of JavaScript is refused. A program is run as a script, and judged by what it prints.

mod guest;
mod judge;
pub(crate) mod snapshot;

pub(crate) use guest::linker;
pub(crate) use judge::Judge;
