//! Programs that are WebAssembly modules: WASI commands, which are run with stdin and judged by what they print.
//!
//! The module is the program, so it is not trusted and has to be compiled by the worker, which has given up making memory
//! executable. So it is compiled to Pulley, wasmtime's portable bytecode, and interpreted.

mod compile;
mod judge;

pub(crate) use compile::engine;
pub use compile::module_as_text;
pub(crate) use judge::{Judge, never_ended};
