//! `rltrain serve`: the rollout engine behind HTTP, for trainers and for people.
//!
//! ```text
//! HTTP request ─▶ openai | sglang | vllm ─▶ Ask ─▶ one engine thread ─▶ Event… ─▶ reply, or a stream of pieces
//! ```
//!
//! `Desk` says what may be asked; `worker` owns the model and the engine, and is the only thread that touches a tensor.

mod ask;
mod chat;
mod desk;
mod listen;
mod openai;
mod refusal;
mod sglang;
mod streaming;
mod vllm;
mod worker;

pub use ask::DRAWS_HEADER;
pub use listen::{Notice, ServeError, Settings, serve};
