//! `rltrain serve`, and training by samples from there.

#[path = "../rltrain.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod rltrain;
#[path = "../tiny.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod tiny;

mod api;
mod openai_client;
mod refusals;
mod server;
mod training;
mod weights;
