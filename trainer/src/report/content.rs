//! What a report shows.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::advantages::Advantages;
use super::programs::{Programs, ProgramsDraft};
use super::tallies::{Outcomes, Tallies, TaskTally};
use super::{MOST_POINTS, ReportError};
use crate::eval::{PassAtK, read_evaluations};
use crate::rescore::{RescoreError, logged_steps, read_step};
use crate::telemetry::{Line, METRICS_FILE, TIMINGS_FILE, read_lines};

/// Everything that a page is made of.
#[derive(Debug, Serialize)]
pub struct Content {
    /// Name of the run's folder.
    pub name: String,
    /// The resolved recipe.
    pub recipe: String,
    /// Steps that are done.
    pub steps: u64,
    /// Metrics of steps, a function of the recipe alone.
    pub metrics: Series,
    /// Timings of steps.
    pub timings: Series,
    /// Evaluations of held-out tasks.
    pub evaluations: Vec<EvaluationPoint>,
    /// How attempts ended, step by step.
    pub outcomes: Outcomes,
    /// Pass rates of tasks and of their hidden tests over time.
    pub tasks: Vec<TaskTally>,
    /// The first step of each column of the tasks' pass rates.
    pub buckets: Vec<u64>,
    /// Programs with what came of them.
    pub programs: Programs,
}

/// Numbers of steps, by name.
#[derive(Debug, Default, Serialize)]
pub struct Series {
    /// The steps.
    pub steps: Vec<u64>,
    /// For each name one number a step; `null` where there is none.
    pub columns: BTreeMap<String, Vec<Option<f64>>>,
}

/// pass@k of one evaluation.
#[derive(Debug, Serialize)]
pub struct EvaluationPoint {
    /// Updates behind the policy.
    pub step: u64,
    /// Means with intervals.
    pub pass_at_k: Vec<PassAtK>,
}

impl Content {
    /// Reads a run's folder, as it is now: a run that goes on may have written a part of a step.
    ///
    /// # Errors
    ///
    /// If it is not a run's folder, or a file of it is damaged.
    pub fn read(run: &Path) -> Result<Content, ReportError> {
        let recipe = match fs_err::read_to_string(run.join("recipe.toml")) {
            Ok(recipe) => recipe,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ReportError::NoRun { run: run.to_owned() });
            }
            Err(error) => return Err(error.into()),
        };
        let metrics = read_lines(&run.join(METRICS_FILE))?;
        let timings = read_lines(&run.join(TIMINGS_FILE))?;
        let steps = metrics.last().map_or(0, |line| line.step);
        // Steps that a killed run had sampled and not recorded will be done again.
        let logged = match logged_steps(run) {
            Ok(logged) => logged.into_iter().filter(|(step, _)| *step <= steps).collect(),
            Err(RescoreError::NoSamples { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let mut tallies = Tallies::over(logged.iter().map(|(step, _)| *step));
        let mut programs = ProgramsDraft::of(&logged, Advantages::of(run, &recipe))?;
        for (step, path) in &logged {
            let lines = read_step(path)?;
            tallies.add(*step, &lines);
            programs.add(*step, &lines)?;
        }
        let (outcomes, tasks, buckets) = tallies.finish();
        Ok(Content {
            name: name(run),
            recipe,
            steps,
            metrics: Series::of(&metrics),
            timings: Series::of(&steps_of(&timings)),
            evaluations: read_evaluations(run)
                .map_err(Box::new)?
                .into_iter()
                .map(|evaluation| EvaluationPoint { step: evaluation.step, pass_at_k: evaluation.pass_at_k })
                .collect(),
            outcomes,
            tasks,
            buckets,
            programs: programs.finish(),
        })
    }
}

/// The last part of the path, as the user would say it.
fn name(run: &Path) -> String {
    let absolute = std::path::absolute(run).unwrap_or_else(|_| run.to_owned());
    absolute.file_name().map_or_else(|| run.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// The lines of steps, without those of evaluations.
fn steps_of(timings: &[Line]) -> Vec<Line> {
    let of_step = |line: &&Line| line.metrics.get("time/step_seconds").is_some();
    timings.iter().filter(of_step).cloned().collect()
}

/// Indices of at most `most` of `count` things, evenly spread, the first and the last among them.
pub(super) fn thinned(count: usize, most: usize) -> Vec<usize> {
    if count <= most {
        return (0..count).collect();
    }
    let last = most.max(2) - 1;
    (0..=last).map(|place| place * (count - 1) / last).collect()
}

impl Series {
    /// At most [`MOST_POINTS`] of the lines.
    pub(super) fn of(lines: &[Line]) -> Series {
        let kept: Vec<&Line> =
            thinned(lines.len(), MOST_POINTS).into_iter().map(|index| &lines[index]).collect();
        let mut series = Series { steps: kept.iter().map(|line| line.step).collect(), ..Series::default() };
        for (place, line) in kept.iter().enumerate() {
            for (name, value) in line.metrics.iter() {
                let column = series.columns.entry(name.to_owned()).or_insert_with(|| vec![None; kept.len()]);
                // Six digits are more than a screen has points.
                column[place] = value.is_finite().then(|| rounded(value));
            }
        }
        series
    }
}

/// To six digits.
pub(super) fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}
