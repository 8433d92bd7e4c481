//! JavaScript: QuickJS in WebAssembly, driven by the host through its C interface as CPython is.
//!
//! The program is evaluated as a script (or, if it has imports or exports, as a module); then each test is evaluated in the same
//! interpreter. Nothing but the host is above either.

mod abi;
mod assertion;
mod callbacks;
mod functions;
mod guest;
mod judge;
mod plan;
mod reading;
pub(crate) mod snapshot;
mod trial;
mod value;

pub(crate) use callbacks::linker;
pub(crate) use judge::Judge;
