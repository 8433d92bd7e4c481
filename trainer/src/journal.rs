//! What the model wrote: every sampled program of a step with its outcome, for people to read.

use std::path::{Path, PathBuf};

use rltrain_executor::{Ending, OutcomeClass, Verdict};
use serde::Serialize;

use crate::attempts::Attempts;
use crate::error::TrainError;
use crate::execution::program;
use crate::rollout::{Completion, Finish};
use crate::tasks::{Task, TaskSet};

/// Writes `samples/step-N.jsonl` into a run folder, one line per attempt.
pub struct Journal {
    folder: PathBuf,
}

#[derive(Serialize)]
struct Line<'a> {
    task: &'a str,
    sample: usize,
    program: String,
    tokens: usize,
    truncated: bool,
    /// `null` if the infrastructure lost the attempt.
    reward: Option<f64>,
    passed: Option<usize>,
    tests: Option<usize>,
    fuel: Option<u64>,
    /// Why the program did not load, or why the first test that did not pass did not; the outcome where no more is known.
    failure: Option<String>,
    /// The verdict in one word, and how the first thing ended that did not pass: what a verifier learns from.
    class: Option<OutcomeClass>,
    ending: Option<&'a Ending>,
    /// What failed in the infrastructure.
    error: Option<String>,
    /// The turns before the last one, which is all the above.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<Earlier<'a>>,
}

#[derive(Serialize)]
struct Earlier<'a> {
    program: String,
    feedback: &'a str,
}

fn earlier<'a>(task: &Task, completion: &'a Completion) -> Vec<Earlier<'a>> {
    let turns = completion.earlier.iter();
    turns.map(|turn| Earlier { program: program(task, &turn.text), feedback: &turn.feedback }).collect()
}

/// The first thing that kept a program from passing all tests.
fn not_passed(verdict: &Verdict) -> Option<&Ending> {
    verdict.endings().find(|ending| !ending.passed())
}

impl Journal {
    /// A journal in `run`/samples.
    ///
    /// # Errors
    ///
    /// If the folder cannot be made.
    pub fn open(run: &Path) -> Result<Journal, TrainError> {
        let folder = run.join("samples");
        fs_err::create_dir_all(&folder)?;
        Ok(Journal { folder })
    }

    /// Writes one step, replacing what an interrupted attempt at the same step left.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write(&self, step: u64, tasks: &TaskSet, attempts: &Attempts) -> Result<(), TrainError> {
        let Attempts { groups, verdicts, scores, .. } = attempts;
        let mut text = String::new();
        for ((group, verdicts), rewards) in groups.iter().zip(&verdicts.groups).zip(&scores.rewards) {
            let task = &tasks[group.task];
            for ((completion, verdict), reward) in group.completions.iter().zip(verdicts).zip(rewards) {
                let judged = verdict.as_ref().ok();
                let line = Line {
                    task: &task.id,
                    sample: completion.sample,
                    program: program(task, &completion.text),
                    tokens: completion.tokens.len(),
                    truncated: completion.finish == Finish::Length,
                    reward: *reward,
                    passed: judged.map(|verdict| verdict.passed()),
                    tests: judged.map(|verdict| verdict.total()),
                    fuel: judged.map(|verdict| verdict.fuel),
                    failure: judged.and_then(not_passed).map(Ending::reason),
                    class: judged.map(Verdict::class),
                    ending: judged.and_then(not_passed),
                    error: verdict.as_ref().err().map(ToString::to_string),
                    earlier: earlier(task, completion),
                };
                text.push_str(&serde_json::to_string(&line).expect("a line of plain values is JSON"));
                text.push('\n');
            }
        }
        let path = self.folder.join(format!("step-{step:08}.jsonl"));
        Ok(fs_err::write(path, text)?)
    }
}
