//! Rollout: prompts in, sampled completions with their logprobs out.

mod allotment;
mod config;
mod engine;
pub mod grammar;
mod histories;
mod job;
mod kv_room;
mod open_engine;
mod prefill;
mod prompt;
mod radix_tree;
mod repetition_guard;
mod request;
mod sampler;
mod shaping;
mod stop;
mod transcript;
mod waiting;

pub use allotment::{GroupSizes, allot};
pub use config::*;
pub use engine::{generate, generate_from};
pub use histories::{Histories, PrefillTokens};
pub use job::Audience;
pub use kv_room::{KvRoom, Wanted};
pub use open_engine::{OpenEngine, Room};
pub use prefill::TOKENS as PREFILL_TOKENS;
pub use prompt::Prompter;
pub use request::{Completion, EarlierTurn, Finish, Request, Sampling};
pub use sampler::{Draw, Drawn, draw};
use serde::{Deserialize, Serialize};
pub use shaping::Shaping;
pub(crate) use transcript::Transcript;

/// The attempts at one task. Made by [`collect`]; read by rewards and the update.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Group {
    /// Index of the task in its task set.
    pub task: usize,
    /// Prompt token ids.
    pub prompt: Vec<i64>,
    /// Completions in the order of their sample numbers.
    pub completions: Vec<Completion>,
}

/// Sorts finished completions into groups, one per request, in order.
///
/// `tasks` holds the task index of each request.
///
/// # Panics
///
/// If a completion is missing. The engine returns every sample of every request, so that is a bug.
pub fn collect(tasks: &[usize], requests: Vec<Request>, mut completions: Vec<Completion>) -> Vec<Group> {
    completions.sort_by_key(|completion| (completion.request, completion.sample));
    let mut completions = completions.into_iter();
    let groups: Vec<Group> = tasks
        .iter()
        .zip(requests)
        .map(|(task, request)| Group {
            task: *task,
            prompt: request.prompt,
            completions: completions.by_ref().take(request.samples).collect(),
        })
        .collect();
    assert!(completions.next().is_none(), "more completions than samples asked for");
    groups
}
