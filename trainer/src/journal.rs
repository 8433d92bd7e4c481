//! What the model wrote: every sampled program of a step with its outcome, for people to read and for `rltrain rescore` to score
//! again.

use std::path::{Path, PathBuf};

use rltrain_checkpoints::replace_file;
use rltrain_executor::{Ending, Verdict, WallTime};
use rltrain_rewards::Part;
use serde::{Deserialize, Serialize};

use crate::attempts::Attempts;
use crate::error::TrainError;
use crate::execution::program;
use crate::facts::AttemptFacts;
use crate::learn::LearnReport;
use crate::recipe::Recipe;
use crate::record::write_record;
use crate::rollout::{Completion, Finish, Group};
use crate::session::Session;
use crate::tasks::Task;

/// Version of the lines that this build writes and reads.
pub const FORMAT: u64 = 2;

/// Writes `samples/step-N.jsonl` into a run folder, one [`Line`] per attempt; nothing where another process does.
pub struct Journal {
    folder: Option<PathBuf>,
}

/// One attempt. The attempts of a group follow each other, in the order of their numbers; a greedy attempt that they are compared
/// with stands before them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Version of this line's keys.
    pub format: u64,
    /// Id of the task.
    pub task: String,
    /// Number of the attempt in its group, from 0.
    pub sample: usize,
    /// Version of the weights that sampled it: rollouts that they had learnt from.
    #[serde(default)]
    pub weights: u64,
    /// Whether it was decoded greedily, as what others are compared with: it is not learnt from, and has no reward here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub greedy: bool,
    /// The program, as it was run.
    pub program: String,
    /// Tokens of the completion.
    pub tokens: usize,
    /// Tokens that it could have had.
    pub most_tokens: usize,
    /// Whether it was cut off there.
    pub truncated: bool,
    /// The total reward; `null` if the infrastructure lost the attempt.
    pub reward: Option<f64>,
    /// The parts of the reward; empty where there is none.
    pub parts: Vec<LinePart>,
    /// Hidden tests that passed.
    pub passed: Option<usize>,
    /// Hidden tests there are.
    pub tests: Option<usize>,
    /// Fuel of the program and all its tests.
    pub fuel: Option<u64>,
    /// Why the program did not load, or why the first test that did not pass did not; the outcome where no more is known.
    pub failure: Option<String>,
    /// What failed in the infrastructure.
    pub error: Option<String>,
    /// The text that the model was given.
    pub prompt: String,
    /// The text that the model wrote.
    pub completion: String,
    /// All that the hidden tests said, without the time it took, which is another one at every run.
    pub verdict: Option<Verdict>,
    /// What else is known of the attempt.
    pub facts: AttemptFacts,
    /// The turns before the last one, which is all the above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Earlier>,
}

/// One part of a reward, at all its stages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinePart {
    /// Name of the reward.
    pub name: String,
    /// The reward's own score.
    pub raw: Option<f64>,
    /// The score within the bounds of the recipe, where its gate is open.
    pub shaped: Option<f64>,
    /// What the part adds to the total.
    pub effective: f64,
}

impl From<&Part> for LinePart {
    fn from(part: &Part) -> LinePart {
        let (raw, shaped, effective) = (part.raw, part.shaped, part.effective);
        LinePart { name: part.name.to_string(), raw, shaped, effective }
    }
}

/// A turn of an attempt before its last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Earlier {
    /// The program of that turn.
    pub program: String,
    /// What the model was told about it.
    pub feedback: String,
}

fn earlier(task: &Task, completion: &Completion) -> Vec<Earlier> {
    let turn = |program, feedback: &String| Earlier { program, feedback: feedback.clone() };
    completion.earlier.iter().map(|earlier| turn(program(task, &earlier.text), &earlier.feedback)).collect()
}

/// The first thing that kept a program from passing all tests.
pub fn not_passed(verdict: &Verdict) -> Option<&Ending> {
    verdict.endings().find(|ending| !ending.passed())
}

impl Journal {
    /// A journal in `run`/samples of a run that has done `step` steps. Files of later steps are removed, as the lines of other
    /// files are: those steps will be done again, and nothing is to be read of steps that are not in `metrics.jsonl`.
    ///
    /// # Errors
    ///
    /// If the folder cannot be made or read, or a file not be removed.
    pub fn open(run: &Path, step: u64) -> Result<Journal, TrainError> {
        let folder = run.join("samples");
        fs_err::create_dir_all(&folder)?;
        for entry in fs_err::read_dir(&folder)? {
            let path = entry?.path();
            if step_of(&path).is_some_and(|of| of > step) {
                fs_err::remove_file(path)?;
            }
        }
        Ok(Journal { folder: Some(folder) })
    }

    /// That of a process that writes nothing.
    pub fn silent() -> Journal {
        Journal { folder: None }
    }

    /// Writes what the update of the step that `session` has just done read and did, where the recipe records steps.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn record(
        &self,
        session: &Session,
        recipe: &Recipe,
        attempts: &Attempts,
        learnt: &LearnReport,
    ) -> Result<(), TrainError> {
        if self.folder.is_none() {
            return Ok(());
        }
        let id = |group: &Group| session.environment.tasks[group.task].id.clone();
        let tasks = attempts.groups.iter().map(id).collect();
        write_record(&recipe.run, (session.step, recipe.telemetry.record), tasks, attempts, learnt)
    }

    /// Writes the step that `session` has just done. It is on the disk when this returns, so that a checkpoint never knows
    /// more steps than there are samples of.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, or a prompt not be rendered again.
    pub fn write(&self, session: &Session, recipe: &Recipe, attempts: &Attempts) -> Result<(), TrainError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut text = String::new();
        let mut add = |line: Line| {
            text.push_str(&serde_json::to_string(&line).expect("a line of plain values is JSON"));
            text.push('\n');
        };
        let (scores, greedy) = (&attempts.scores, &attempts.greedy);
        for (place, group) in attempts.groups.iter().enumerate() {
            let task = &session.environment.tasks[group.task];
            let prompt = session.environment.prompter.text(task, &session.learner.policy.tokenizer)?;
            let begin = |completion: &Completion| Line {
                most_tokens: recipe.longest_attempt(),
                prompt: prompt.clone(),
                weights: completion.weights.unwrap_or(attempts.weights),
                ..Line::of(task, completion)
            };
            if let (Some(greedy), Some(verdicts)) =
                (greedy.groups.get(place), greedy.verdicts.groups.get(place))
            {
                for (completion, verdict) in greedy.completions.iter().zip(verdicts) {
                    add(Line { greedy: true, ..begin(completion).judged(verdict) });
                }
            }
            for (index, completion) in group.completions.iter().enumerate() {
                add(Line {
                    reward: scores.rewards[place][index],
                    parts: scores.parts[place][index].iter().map(LinePart::from).collect(),
                    facts: attempts.facts[place][index].clone(),
                    ..begin(completion).judged(&attempts.verdicts.groups[place][index])
                });
            }
        }
        Ok(replace_file(&step_file(folder, session.step), text.as_bytes())?)
    }
}

/// The file of one step in a folder of samples.
fn step_file(folder: &Path, step: u64) -> PathBuf {
    folder.join(format!("step-{step:08}.jsonl"))
}

/// The step that a file in a folder of samples is of, be it whole or not; `None` for other files.
fn step_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_prefix("step-")?;
    let (step, rest) = name.split_once('.')?;
    ["jsonl", "record"].iter().any(|kind| rest.starts_with(kind)).then(|| step.parse().ok())?
}

impl Line {
    /// What the completion itself says; the rest is empty.
    fn of(task: &Task, completion: &Completion) -> Line {
        Line {
            format: FORMAT,
            task: task.id.clone(),
            sample: completion.sample,
            weights: 0,
            greedy: false,
            program: program(task, &completion.text),
            tokens: completion.tokens.len(),
            most_tokens: 0,
            truncated: completion.finish == Finish::Length,
            reward: None,
            parts: Vec::new(),
            passed: None,
            tests: None,
            fuel: None,
            failure: None,
            error: None,
            prompt: String::new(),
            completion: completion.text.clone(),
            verdict: None,
            facts: AttemptFacts::default(),
            earlier: earlier(task, completion),
        }
    }

    /// The same with what came of its execution.
    fn judged<E: ToString>(self, verdict: &Result<Verdict, E>) -> Line {
        match verdict {
            Ok(verdict) => Line {
                passed: Some(verdict.passed()),
                tests: Some(verdict.total()),
                fuel: Some(verdict.fuel),
                failure: not_passed(verdict).map(Ending::reason),
                verdict: Some(Verdict { wall: WallTime::default(), ..verdict.clone() }),
                ..self
            },
            Err(error) => Line { error: Some(error.to_string()), ..self },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_steps_that_will_be_done_again_go() {
        let run = tempfile::tempdir().unwrap();
        let folder = run.path().join("samples");
        std::fs::create_dir(&folder).unwrap();
        let names = [
            "step-00000002.jsonl",
            "step-00000003.jsonl",
            "step-00000003.record.gz",
            "step-00000003.jsonl.partial",
            "notes.txt",
        ];
        names.iter().for_each(|name| std::fs::write(folder.join(name), "").unwrap());
        Journal::open(run.path(), 2).unwrap();
        let left = names.map(|name| folder.join(name).exists());
        assert_eq!(left, [true, false, false, false, true]);
    }
}
