//! What we say to plug-ins and what they answer, as JSON: one object a line for a process, one object a request for an endpoint.
//!
//! `docs/rewards.md` describes it for authors of plug-ins.

use std::ops::RangeInclusive;

use rltrain_executor::Ending;
use serde::{Deserialize, Serialize};

use super::PlugInError;
use crate::{Attempt, Language};

/// Name of the protocol, which both sides say first.
pub(super) const PROTOCOL: &str = "rltrain-reward";

/// Version of the protocol. A plug-in that speaks another one is refused.
pub(super) const VERSION: u64 = 1;

/// How much of a bad answer is shown.
const SHOWN: usize = 200;

/// The first line, in both directions.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello<'a> {
    protocol: &'a str,
    version: u64,
    /// Name of the reward in the recipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reward: Option<&'a str>,
}

impl<'a> Hello<'a> {
    pub(super) fn of(reward: &'a str) -> Self {
        Self { protocol: PROTOCOL, version: VERSION, reward: Some(reward) }
    }

    /// The greeting, without a line end.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("a greeting is JSON by contract")
    }

    /// Reads the plug-in's first line.
    pub(super) fn check(line: &str) -> Result<(), PlugInError> {
        let wanted =
            || format!("wanted {{\"protocol\": \"{PROTOCOL}\", \"version\": {VERSION}}} as its first answer");
        let garbage = || PlugInError::Garbage { answer: shown(line), wanted: wanted() };
        let hello: Hello<'_> = serde_json::from_str(line).map_err(|_| garbage())?;
        if hello.protocol != PROTOCOL {
            return Err(garbage());
        }
        if hello.version != VERSION {
            return Err(PlugInError::Version { found: hello.version, wanted: VERSION });
        }
        Ok(())
    }
}

/// A batch of attempts, written down once, whoever is asked and however often.
pub(super) struct Request {
    attempts: String,
    count: usize,
}

/// An attempt, as plug-ins and the templates of judges see it.
#[derive(Debug, Serialize)]
pub(crate) struct SeenAttempt<'a> {
    task: SeenTask<'a>,
    prompt: &'a str,
    completion: &'a str,
    program: &'a str,
    verdict: SeenVerdict<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<usize>,
}

#[derive(Debug, Serialize)]
struct SeenTask<'a> {
    id: &'a str,
    prompt: &'a str,
    signature: &'a str,
    entry_point: &'a str,
    language: Language,
    reference: Option<&'a str>,
}

/// A verdict without the time it took, which is another one at every run.
#[derive(Debug, Serialize)]
struct SeenVerdict<'a> {
    load: &'a Ending,
    tests: &'a [Ending],
    passed: usize,
    total: usize,
    fuel: u64,
    peak_memory_bytes: u64,
    stdout: &'a str,
    stderr: &'a str,
}

impl Request {
    pub(super) fn of(attempts: &[Attempt<'_>]) -> Self {
        let count = attempts.len();
        let attempts: Vec<SeenAttempt<'_>> = attempts.iter().map(SeenAttempt::of).collect();
        let attempts = serde_json::to_string(&attempts);
        Self { attempts: attempts.expect("attempts of texts and whole numbers are JSON by contract"), count }
    }

    /// How many attempts there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The request, without a line end.
    pub(super) fn text(&self, id: u64) -> String {
        format!("{{\"id\":{id},\"attempts\":{}}}", self.attempts)
    }
}

impl<'a> SeenAttempt<'a> {
    pub(crate) fn of(attempt: &'a Attempt<'_>) -> Self {
        let (task, verdict) = (attempt.task, attempt.verdict);
        Self {
            task: SeenTask {
                id: task.id,
                prompt: task.prompt,
                signature: task.signature,
                entry_point: task.entry_point,
                language: task.language,
                reference: task.reference,
            },
            prompt: attempt.prompt,
            completion: attempt.completion,
            program: attempt.program,
            verdict: SeenVerdict {
                load: &verdict.load,
                tests: &verdict.tests,
                passed: verdict.passed(),
                total: verdict.total(),
                fuel: verdict.fuel,
                peak_memory_bytes: verdict.peak_memory_bytes,
                stdout: &verdict.stdout,
                stderr: &verdict.stderr,
            },
            tokens: attempt.length.map(|length| length.tokens),
        }
    }
}

/// What a plug-in answers to a batch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    id: u64,
    #[serde(default)]
    scores: Option<Vec<Option<f64>>>,
    #[serde(default)]
    error: Option<String>,
}

/// Reads the answer to the request `id` with `count` attempts.
pub(super) fn scores(
    line: &str,
    id: u64,
    count: usize,
    range: &RangeInclusive<f64>,
) -> Result<Vec<Option<f64>>, PlugInError> {
    let wanted =
        || format!("wanted {{\"id\": {id}, \"scores\": [...]}} with a number or null for each attempt");
    let garbage = || PlugInError::Garbage { answer: shown(line), wanted: wanted() };
    let answer: Answer = serde_json::from_str(line).map_err(|_| garbage())?;
    if answer.id != id {
        return Err(garbage());
    }
    let scores = match (answer.scores, answer.error) {
        (Some(scores), None) => scores,
        (None, Some(error)) => return Err(PlugInError::Reported(shown(&error))),
        _ => return Err(garbage()),
    };
    if scores.len() != count {
        return Err(PlugInError::Count { found: scores.len(), wanted: count });
    }
    check_range(&scores, range)?;
    Ok(scores)
}

/// Refuses a score that is not a number of the range.
pub(super) fn check_range(scores: &[Option<f64>], range: &RangeInclusive<f64>) -> Result<(), PlugInError> {
    let outside = |score: &Option<f64>| score.is_some_and(|score| !range.contains(&score));
    match scores.iter().position(outside) {
        None => Ok(()),
        Some(index) => Err(PlugInError::Score {
            index,
            found: scores[index].unwrap_or_default().to_string(),
            least: *range.start(),
            greatest: *range.end(),
        }),
    }
}

/// The beginning of a text, on one line.
pub(crate) fn shown(text: &str) -> String {
    let text = text.trim();
    let short: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    let more = if text.chars().count() > SHOWN { "…" } else { "" };
    format!("`{short}{more}`")
}
