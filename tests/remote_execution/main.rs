//! Programs that run on other machines: `rltrain executor` and its client, as processes that are killed, full, and refused.

mod access;
mod fusion;
mod jobs;
mod loss;
mod server;
#[path = "../tiny.rs"]
#[expect(dead_code, reason = "this target wants one of its models")]
mod tiny;
mod training;
mod verdicts;
