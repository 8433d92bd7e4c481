//! A run's logged attempts, scored again: without a model, and without executing anything that is in the log.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, NamedSource, SourceSpan};
use rltrain_executor::{Executor, InfraError, Limits};
use rltrain_rewards::{History, Input, Language, Length, RewardError, RewardSet, Scored};
use serde::Serialize;
use thiserror::Error;

use crate::facts::{Bench, Closer, Facts, Wanted};
use crate::journal::{FORMAT, Line, LinePart};
use crate::scoring::{Asked, Judged};
use crate::tasks::{Task, TaskSet};

/// Why a run cannot be scored again.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum RescoreError {
    /// There is no log.
    #[error("`{}` has no logged attempts, wanted files such as `samples/step-00000001.jsonl`", run.display())]
    #[diagnostic(help("name the folder that the recipe of a run calls `run`"))]
    NoSamples {
        /// The run folder.
        run: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line of the log is not what this build writes.
    #[error("line {line}: {message}")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
        /// The line.
        #[source_code]
        text: NamedSource<String>,
        /// Where in it.
        #[label]
        place: SourceSpan,
    },
    /// The log is of another version.
    #[error("`{}` has lines of format {found}, and this build reads format {FORMAT}", path.display())]
    #[diagnostic(help(
        "a log of format 1 has no verdicts in it, which is what rewards look at: run the recipe again"
    ))]
    Format {
        /// The file.
        path: PathBuf,
        /// The version of its first line.
        found: u64,
    },
    /// The tasks are others than those of the run.
    #[error("the task `{task}`, of which `{}` has attempts, is not in `{}`", path.display(), tasks.display())]
    #[diagnostic(help("restore the task file that the run was started with"))]
    NoTask {
        /// The task.
        task: String,
        /// The file of the log.
        path: PathBuf,
        /// The task file.
        tasks: PathBuf,
    },
    /// A reward looks at something that was not logged.
    #[error("`{reward}` compares with greedy attempts, and none were made in this run")]
    #[diagnostic(help("greedy attempts are logged if a reward of the run's own recipe asks for them"))]
    NoGreedy {
        /// The reward.
        reward: String,
    },
    /// A reward broke its contract.
    #[error("the attempts cannot be scored")]
    Reward(#[from] RewardError),
    /// The sandbox failed.
    #[error("the sandbox cannot be used")]
    Sandbox(#[from] InfraError),
}

/// What a run is scored with.
pub struct Rescore<'a> {
    /// The rewards.
    pub rewards: &'a RewardSet,
    /// The tasks of the run.
    pub tasks: &'a TaskSet,
    /// The language of its programs.
    pub language: Language,
    /// The limits of its programs.
    pub limits: Limits,
}

/// Old and new score of one attempt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rescored {
    /// Step of the run.
    pub step: u64,
    /// Id of the task.
    pub task: String,
    /// Number of the attempt in its group.
    pub sample: usize,
    /// The reward that it had; `null` if it was lost.
    pub old: Option<f64>,
    /// The reward that it has now; `null` if it has no verdict, or a plug-in gave no score.
    pub new: Option<f64>,
    /// The parts of the new reward.
    pub parts: Vec<LinePart>,
}

/// The files of a run's log with their steps, in order.
///
/// # Errors
///
/// If there are none.
pub fn logged_steps(run: &Path) -> Result<Vec<(u64, PathBuf)>, RescoreError> {
    let folder = run.join("samples");
    let step =
        |path: &Path| path.file_name()?.to_str()?.strip_prefix("step-")?.strip_suffix(".jsonl")?.parse().ok();
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut steps: Vec<(u64, PathBuf)> =
        entries.map(|entry| entry.path()).filter_map(|path| Some((step(&path)?, path))).collect();
    steps.sort();
    if steps.is_empty() { Err(RescoreError::NoSamples { run: run.to_owned() }) } else { Ok(steps) }
}

/// Reads one step of the log.
///
/// # Errors
///
/// If the file cannot be read, or a line is not what this build writes.
pub fn read_step(path: &Path) -> Result<Vec<Line>, RescoreError> {
    let unreadable = |source| RescoreError::Unreadable { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let version = serde_json::from_str::<serde_json::Value>(line).ok();
        if let Some(version) = version.as_ref().filter(|line| line["format"] != FORMAT) {
            let found = version["format"].as_u64().unwrap_or(1);
            return Err(RescoreError::Format { path: path.to_owned(), found });
        }
        lines.push(serde_json::from_str(line).map_err(|error| RescoreError::Line {
            line: index + 1,
            message: error.to_string().split(" at line ").next().unwrap_or_default().to_owned(),
            text: NamedSource::new(path.display().to_string(), line.to_owned()),
            place: (error.column().saturating_sub(1).min(line.len()), 0).into(),
        })?);
    }
    Ok(lines)
}

/// Scores a run step by step: what rewards know of earlier steps grows as it did in the run.
pub struct Rescorer<'a> {
    with: Rescore<'a>,
    /// Runs what the log does not have, if there is such a thing.
    executor: Option<&'a Executor>,
    history: History,
    facts: Facts,
    greedy: BTreeSet<String>,
}

impl<'a> Rescorer<'a> {
    /// Nothing scored yet. `executor` is there if [`needs_sandbox`] says so.
    pub fn new(with: Rescore<'a>, executor: Option<&'a Executor>) -> Rescorer<'a> {
        let (history, facts, greedy) = Default::default();
        Rescorer { with, executor, history, facts, greedy }
    }

    /// Scores the attempts of the next step; `path` is the file that `lines` were read from.
    ///
    /// # Errors
    ///
    /// If a task is not there any more, a reward breaks its contract, or the sandbox fails.
    pub fn step(&mut self, step: u64, path: &Path, lines: &[Line]) -> Result<Vec<Rescored>, RescoreError> {
        let mut rescored = Vec::with_capacity(lines.len());
        for line in lines.iter().filter(|line| line.greedy) {
            if let Some(verdict) = &line.verdict {
                self.history.observe_greedy(&line.task, verdict);
                self.greedy.insert(line.task.clone());
            }
        }
        let sampled: Vec<&Line> = lines.iter().filter(|line| !line.greedy).collect();
        for group in sampled.chunk_by(|one, next| one.task == next.task && one.sample < next.sample) {
            let scored = self.group(path, group)?;
            rescored.extend(group.iter().zip(scored).map(|(line, scored)| Rescored {
                step,
                task: line.task.clone(),
                sample: line.sample,
                old: line.reward,
                new: scored.as_ref().map(|scored| scored.total),
                parts: scored.iter().flat_map(|scored| &scored.parts).map(LinePart::from).collect(),
            }));
        }
        for line in sampled {
            if let Some(verdict) = &line.verdict {
                self.history.observe(&line.task, verdict);
            }
        }
        Ok(rescored)
    }

    /// The scores of the attempts of one group, in order; none for those without a verdict or an answer of a plug-in.
    fn group(&mut self, path: &Path, group: &[&Line]) -> Result<Vec<Option<Scored>>, RescoreError> {
        let Rescore { rewards, tasks, language, .. } = self.with;
        let id = &group[0].task;
        let Some(task) = tasks.iter().find(|task| task.id == *id) else {
            let (task, path, tasks) = (id.clone(), path.to_owned(), tasks.path().to_owned());
            return Err(RescoreError::NoTask { task, path, tasks });
        };
        let asking = rewards.inputs().find(|(_, input)| *input == Input::Greedy);
        if let Some((reward, _)) = asking.filter(|_| !self.greedy.contains(id)) {
            return Err(RescoreError::NoGreedy { reward: reward.to_owned() });
        }
        let closer = self.learn(task, group)?;
        let asked = Asked {
            task,
            language,
            facts: self.facts.of(task),
            history: self.history.task(id),
            prompt: &group[0].prompt,
        };
        let judged: Vec<Judged<'_>> = group
            .iter()
            .zip(&closer)
            .filter_map(|(line, facts)| {
                let length =
                    Length { tokens: line.tokens, most: line.most_tokens, truncated: line.truncated };
                Some(Judged {
                    completion: &line.completion,
                    program: &line.program,
                    verdict: line.verdict.as_ref()?,
                    length: Some(length),
                    facts,
                })
            })
            .collect();
        let mut scored = asked.score(rewards, &judged).into_iter();
        let one = |line: &&Line| match line.verdict.as_ref().and_then(|_| scored.next()) {
            None | Some(Err(RewardError::PlugIn { .. })) => Ok(None),
            Some(Ok(scored)) => Ok(Some(scored)),
            Some(Err(error)) => Err(error.into()),
        };
        group.iter().map(one).collect()
    }

    /// What else is known of each attempt of a group: from the log, or from the sandbox where these rewards ask for more.
    fn learn(
        &mut self,
        task: &Task,
        group: &[&Line],
    ) -> Result<Vec<crate::facts::AttemptFacts>, RescoreError> {
        let logged = || group.iter().map(|line| line.facts.clone()).collect();
        let Some(executor) = self.executor else { return Ok(logged()) };
        let bench = Bench { executor, limits: self.with.limits };
        let wanted = Wanted::by(self.with.rewards);
        self.facts.learn(wanted, bench, [task])?;
        let look = |line: &&Line| match &line.verdict {
            Some(verdict) => Closer::look(wanted, bench, task, &line.program, verdict),
            None => Closer::default(),
        };
        let under_way: Vec<Closer> = group.iter().map(look).collect();
        under_way.into_iter().map(|closer| closer.wait().map_err(RescoreError::from)).collect()
    }
}

/// Whether these rewards look at something that has to be executed, because no log has it.
pub fn needs_sandbox(rewards: &RewardSet) -> bool {
    Wanted::by(rewards) != Wanted::default()
}
