//! The evaluations of a run: what `evaluations.json` holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rltrain_checkpoints::replace_file;
use serde::{Deserialize, Serialize};

use super::bootstrap::{PairedDifference, PassAtK, RESAMPLES, measure, paired_difference};
use super::pass_at_k::TaskCounts;
use super::search::Found;
use crate::critic::accept::Acceptance;
use crate::critic::quality::Selection;
use crate::error::TrainError;
use crate::recipe::Recipe;
use crate::rng::{Stream, uniform};
use crate::telemetry::{Line, Metrics};

/// Name of the file inside a run folder.
pub const EVALUATIONS_FILE: &str = "evaluations.json";

/// Version of the file's keys that this build writes. Those before, which it reads too: format 1 does not name the tasks, format
/// 2 has no selection, format 3 neither tokens, acceptance nor searches, format 4 no programs, budgets and `unaided` of searches.
const FORMAT: u64 = 5;

/// One evaluation of the policy on the held-out tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Updates behind the policy.
    pub step: u64,
    /// Mean pass@k with intervals, one per k of the recipe.
    pub pass_at_k: Vec<PassAtK>,
    /// Samples and successes of each task, in the order of the task file.
    pub tasks: Vec<TaskCounts>,
    /// Choosing one attempt of each task by the verifier, if the run has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<Selection>,
    /// Accepting the chosen attempts from the verifier's threshold on, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acceptance: Option<Acceptance>,
    /// Tokens sampled for a task, on average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_task: Option<f64>,
    /// What the recipe's searches found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub searches: Vec<Found>,
}

impl Evaluation {
    /// Mean pass@`k`, if it was measured.
    pub fn score(&self, k: usize) -> Option<f64> {
        self.pass_at_k.iter().find(|found| found.k == k).map(|found| found.mean)
    }

    /// The same as metrics, by the names that users know.
    pub fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new();
        for found in &self.pass_at_k {
            metrics.push(&format!("eval/pass@{}", found.k), found.mean);
            metrics.push(&format!("eval/pass@{}_low", found.k), found.low);
            metrics.push(&format!("eval/pass@{}_high", found.k), found.high);
        }
        if let Some(tokens) = self.tokens_per_task {
            metrics.push("eval/tokens_per_task", tokens);
        }
        if let Some(selection) = &self.selection {
            metrics.push("eval/ranked@1", selection.ranked);
            metrics.push("eval/selection_gap", selection.gap());
        }
        if let Some(acceptance) = &self.acceptance {
            metrics.push("eval/accepted", acceptance.accepted);
            metrics.push("eval/accepted_wrong", acceptance.error.unwrap_or(f64::NAN));
        }
        for found in &self.searches {
            let search = found.search.name();
            for of in &found.pass_at_k {
                metrics.push(&format!("eval/{search}/pass@{}", of.k), of.mean);
                metrics.push(&format!("eval/{search}/pass@{}_low", of.k), of.low);
                metrics.push(&format!("eval/{search}/pass@{}_high", of.k), of.high);
            }
            metrics.push(&format!("eval/{search}/tokens_per_task"), found.tokens_per_task);
            if let Some(programs) = found.programs_per_task {
                metrics.push(&format!("eval/{search}/programs_per_task"), programs);
            }
            if let Some(unaided) = found.unaided {
                metrics.push(&format!("eval/{search}/unaided"), unaided);
            }
        }
        metrics
    }
}

/// pass@k before and after training, and the paired difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Before the first update.
    pub before: PassAtK,
    /// After the last one.
    pub after: PassAtK,
    /// After − before, over the same tasks.
    pub difference: PairedDifference,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u64,
    /// BLAKE3 of the file of held-out tasks. Counts of other tasks cannot be compared.
    #[serde(default)]
    heldout_tasks_blake3: Option<String>,
    evaluations: Vec<Evaluation>,
}

/// Every evaluation of a run so far, in the order of steps, kept on disk.
pub struct Evaluations {
    path: PathBuf,
    heldout_tasks_blake3: String,
    all: Vec<Evaluation>,
    /// Whether this process writes the file.
    writes: bool,
}

impl Evaluations {
    /// The same for a process that keeps them in memory, because another writes them.
    pub fn in_memory(self) -> Evaluations {
        Evaluations { writes: false, ..self }
    }

    /// Reads the evaluations of the run folder `run` up to `step`; none if there are none yet, or if they are of other tasks
    /// than those of the file with hash `heldout_tasks_blake3`.
    ///
    /// # Errors
    ///
    /// If the file is damaged or the disk refuses.
    pub fn open(run: &Path, step: u64, heldout_tasks_blake3: &str) -> Result<Evaluations, TrainError> {
        let path = run.join(EVALUATIONS_FILE);
        let mut all = match read(&path)? {
            Content { heldout_tasks_blake3: Some(known), .. } if known != heldout_tasks_blake3 => Vec::new(),
            content => content.evaluations,
        };
        all.retain(|evaluation| evaluation.step <= step);
        Ok(Evaluations { path, heldout_tasks_blake3: heldout_tasks_blake3.to_owned(), all, writes: true })
    }

    /// Mean pass@`k` by step, of whatever tasks, as the run folder `run` has it.
    ///
    /// # Errors
    ///
    /// If the file is damaged or the disk refuses.
    pub fn scores(run: &Path, k: usize) -> Result<BTreeMap<u64, f64>, TrainError> {
        let all = read(&run.join(EVALUATIONS_FILE))?.evaluations;
        Ok(all.iter().filter_map(|evaluation| Some((evaluation.step, evaluation.score(k)?))).collect())
    }

    /// Whether the policy of `step` has been evaluated.
    pub fn has(&self, step: u64) -> bool {
        self.all.iter().any(|evaluation| evaluation.step == step)
    }

    /// Their results as the run told of them.
    pub fn lines(&self) -> Vec<Line> {
        self.all
            .iter()
            .map(|evaluation| Line { step: evaluation.step, metrics: evaluation.metrics() })
            .collect()
    }

    /// That of `step`, if there is one.
    pub fn at(&self, step: u64) -> Option<&Evaluation> {
        self.all.iter().find(|evaluation| evaluation.step == step)
    }

    /// All of them, in the order of steps.
    pub fn iter(&self) -> impl Iterator<Item = &Evaluation> {
        self.all.iter()
    }

    /// Adds one and writes the file.
    ///
    /// # Errors
    ///
    /// If the disk refuses; the file then keeps its content.
    pub fn push(&mut self, evaluation: Evaluation) -> Result<(), TrainError> {
        self.all.push(evaluation);
        if !self.writes {
            return Ok(());
        }
        let heldout_tasks_blake3 = Some(self.heldout_tasks_blake3.clone());
        let content = Content { format: FORMAT, heldout_tasks_blake3, evaluations: self.all.clone() };
        let mut text = serde_json::to_vec_pretty(&content)
            .map_err(|source| TrainError::Json { path: self.path.clone(), source })?;
        text.push(b'\n');
        Ok(replace_file(&self.path, &text)?)
    }

    /// The last evaluation against the first, for each k of the recipe. Empty if there are no two.
    pub fn comparisons(&self, recipe: &Recipe) -> Vec<Comparison> {
        let [first, .., last] = &self.all[..] else { return Vec::new() };
        let compare = |k: usize| Comparison {
            before: interval(&first.tasks, k, recipe.seed),
            after: interval(&last.tasks, k, recipe.seed),
            difference: paired_difference(&first.tasks, &last.tasks, k, RESAMPLES, resampler(recipe.seed)),
        };
        recipe.eval.k.iter().map(|k| compare(*k)).collect()
    }
}

/// Mean pass@k of `tasks` with its interval; the resamples derive from the seed.
pub(super) fn interval(tasks: &[TaskCounts], k: usize, seed: u64) -> PassAtK {
    measure(tasks, k, RESAMPLES, resampler(seed))
}

/// The random numbers of resamples.
pub(super) fn resampler(seed: u64) -> impl FnMut() -> f64 {
    let mut draw = 0;
    move || {
        draw += 1;
        uniform(seed, Stream::Bootstrap, &[draw])
    }
}

/// Every evaluation that the run in the folder `run` has made, whatever its tasks are now; none if there are none yet.
///
/// # Errors
///
/// If the file is damaged or the disk refuses.
pub fn read_evaluations(run: &Path) -> Result<Vec<Evaluation>, TrainError> {
    Ok(read(&run.join(EVALUATIONS_FILE))?.evaluations)
}

/// What the file at `path` holds; no evaluations if there is none.
fn read(path: &Path) -> Result<Content, TrainError> {
    let bytes = match fs_err::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Content { format: FORMAT, heldout_tasks_blake3: None, evaluations: Vec::new() });
        }
        Err(error) => return Err(error.into()),
    };
    let content: Content = serde_json::from_slice(&bytes)
        .map_err(|source| TrainError::Json { path: path.to_owned(), source })?;
    if !(1..=FORMAT).contains(&content.format) {
        let path = path.to_owned();
        return Err(
            rltrain_checkpoints::ReadError::Format { path, found: content.format, wanted: FORMAT }.into()
        );
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(step: u64) -> Evaluation {
        Evaluation {
            step,
            pass_at_k: Vec::new(),
            tasks: vec![TaskCounts { samples: 8, correct: 3 }],
            selection: None,
            acceptance: None,
            tokens_per_task: None,
            searches: Vec::new(),
        }
    }

    #[test]
    fn evaluations_of_other_tasks_or_of_later_steps_are_not_taken_over() {
        let run = tempfile::tempdir().unwrap();
        let mut evaluations = Evaluations::open(run.path(), 0, "these").unwrap();
        evaluations.push(evaluation(0)).unwrap();
        evaluations.push(evaluation(5)).unwrap();
        let steps = |step, tasks: &str| {
            let found = Evaluations::open(run.path(), step, tasks).unwrap();
            found.iter().map(|evaluation| evaluation.step).collect::<Vec<_>>()
        };
        assert_eq!(steps(9, "these"), [0, 5]);
        assert_eq!(steps(4, "these"), [0]);
        assert_eq!(steps(9, "others"), [0_u64; 0]);
    }

    #[test]
    fn a_file_of_format_1_is_read_and_one_of_a_later_format_is_refused() {
        let run = tempfile::tempdir().unwrap();
        let write = |format: u64| {
            let text = format!(
                r#"{{"format": {format}, "evaluations": [{{"step": 0, "pass_at_k": [], "tasks": []}}]}}"#
            );
            std::fs::write(run.path().join(EVALUATIONS_FILE), text).unwrap();
        };
        write(1);
        assert!(Evaluations::open(run.path(), 0, "any").unwrap().has(0));
        write(FORMAT + 1);
        assert!(Evaluations::open(run.path(), 0, "any").is_err());
    }
}
