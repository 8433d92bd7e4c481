//! The records of `rewards/wit/reward.wit`. Loading a component checks that its own are the same.

use serde::Serialize;
use wasmtime::component::{ComponentType, Lower};

use crate::Attempt;

/// `record attempt`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct SeenAttempt {
    task: SeenTask,
    prompt: String,
    completion: String,
    program: String,
    verdict: SeenVerdict,
    tokens: Option<u64>,
}

/// `record task`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct SeenTask {
    id: String,
    prompt: String,
    signature: String,
    #[component(name = "entry-point")]
    entry_point: String,
    language: String,
    reference: Option<String>,
}

/// `record verdict`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct SeenVerdict {
    load: String,
    tests: Vec<String>,
    passed: u32,
    total: u32,
    fuel: u64,
    #[component(name = "peak-memory-bytes")]
    peak_memory_bytes: u64,
    stdout: String,
    stderr: String,
}

impl SeenAttempt {
    /// Copies an attempt; wasmtime's calls take nothing that is borrowed.
    pub(super) fn of(attempt: &Attempt<'_>) -> Self {
        let (task, verdict) = (attempt.task, attempt.verdict);
        Self {
            task: SeenTask {
                id: task.id.to_owned(),
                prompt: task.prompt.to_owned(),
                signature: task.signature.to_owned(),
                entry_point: task.entry_point.to_owned(),
                language: name(&task.language),
                reference: task.reference.map(str::to_owned),
            },
            prompt: attempt.prompt.to_owned(),
            completion: attempt.completion.to_owned(),
            program: attempt.program.to_owned(),
            verdict: SeenVerdict {
                load: name(&verdict.load.outcome),
                tests: verdict.tests.iter().map(|test| name(&test.outcome)).collect(),
                passed: verdict.passed() as u32,
                total: verdict.total() as u32,
                fuel: verdict.fuel,
                peak_memory_bytes: verdict.peak_memory_bytes,
                stdout: verdict.stdout.clone(),
                stderr: verdict.stderr.clone(),
            },
            tokens: attempt.length.map(|length| length.tokens as u64),
        }
    }
}

/// The name of a variant, as JSON has it.
fn name(variant: &impl Serialize) -> String {
    match serde_json::to_value(variant) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}
