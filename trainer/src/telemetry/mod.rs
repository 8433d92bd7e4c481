//! What a run tells: `metrics.jsonl` and `timings.jsonl`, TensorBoard, the progress line, and the table at the end.
//!
//! `metrics.jsonl` is a function of the recipe alone, so that an interrupted and resumed run writes the same bytes as
//! one that was not; everything that depends on the machine is in `timings.jsonl`.

mod config;
mod event;
mod event_files;
mod format;
mod history;
mod lines;
mod metrics;
mod progress;
mod sparkline;
mod summary;
mod tensorboard;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

pub use config::{Aliases, TelemetryConfig};
pub use event::Parameter;
pub use event_files::{Point, read_curves};
pub(crate) use format::shell_word;
pub use history::{History, TimeTotals};
pub use lines::{Line, read_lines};
use lines::{Lines, Until};
pub use metrics::Metrics;
use progress::Progress;
pub use progress::{Phases, ProgressMode};
pub use sparkline::sparkline;
pub use summary::RunSummary;
use tensorboard::TensorBoard;
pub use tensorboard::{Extra, Parameters};

/// Deterministic metrics of every step, in a run folder.
pub const METRICS_FILE: &str = "metrics.jsonl";

/// Machine-dependent timings of every step and evaluation, in a run folder.
pub const TIMINGS_FILE: &str = "timings.jsonl";

/// Folder of the event files, in a run folder.
pub const TENSORBOARD_FOLDER: &str = "tensorboard";

/// Seconds that an evaluation took; the mark of an evaluation's line in `timings.jsonl`.
const EVALUATION_SECONDS: &str = "time/evaluation_seconds";

/// Seconds since the line before, or since the run was started or resumed: these add up to the whole run.
const WALL_SECONDS: &str = "time/wall_seconds";

/// Everything that a run records. Made and used by the session.
pub struct Telemetry {
    metrics: Lines,
    timings: Lines,
    board: TensorBoard,
    progress: Progress,
    history: History,
    steps: u64,
    /// When the last line of timings was written.
    last: Instant,
}

/// What a run has behind it when its telemetry is opened.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Steps done.
    pub step: u64,
    /// The results of the evaluations that were finished, by the names that they have in TensorBoard.
    pub evaluations: Vec<Line>,
    /// What the run is told to tell.
    pub config: TelemetryConfig,
    /// What it was told itself, by key.
    pub parameters: Parameters,
}

impl Past {
    fn until(&self) -> Until {
        let evaluated = self.evaluations.iter().any(|line| line.step == self.step);
        Until { step: self.step, evaluated }
    }
}

impl Telemetry {
    /// Opens the files of the run folder `run` (which exists) for a run of `steps` steps that has `past` behind it.
    ///
    /// What they say beyond that is removed: it will be done again. What TensorBoard lacks up to there is added. A TensorBoard
    /// that cannot be written costs a warning, now or later, never the run.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or written, or has a line that rltrain did not write.
    pub fn open(run: &Path, past: Past, steps: u64, mode: ProgressMode) -> io::Result<Telemetry> {
        let (step, until) = (past.step, past.until());
        let (metrics, metric_lines) = Lines::open(&run.join(METRICS_FILE), until)?;
        let (timings, timing_lines) = Lines::open(&run.join(TIMINGS_FILE), until)?;
        let progress = Progress::new(mode, step, steps);
        let found = metric_lines.len() as u64;
        if found < step {
            let name = METRICS_FILE;
            progress.message(&format!("warning: {name} has {found} of {step} steps; the others were lost"));
        }
        let mut history = History::default();
        metric_lines.iter().for_each(|line| history.add_metrics(line));
        timing_lines.iter().for_each(|line| history.add_timings(line));
        let timing_lines = timing_lines.into_iter().map(of_board);
        let told = (past.config, past.parameters);
        let shown = metric_lines.into_iter().chain(timing_lines).chain(past.evaluations).collect();
        let board = TensorBoard::open(&run.join(TENSORBOARD_FOLDER), until, shown, told);
        Ok(Telemetry { metrics, timings, board, progress, history, steps, last: Instant::now() })
    }

    /// That of a process that shows and writes nothing, because another does.
    pub fn silent(step: u64, steps: u64) -> Telemetry {
        Telemetry {
            metrics: Lines::nowhere(),
            timings: Lines::nowhere(),
            board: TensorBoard::nowhere(),
            progress: Progress::new(ProgressMode::Hidden, step, steps),
            history: History::default(),
            steps,
            last: Instant::now(),
        }
    }

    /// Records step `step`; `extras` are for TensorBoard. The line of metrics has left the process when this returns.
    ///
    /// # Errors
    ///
    /// If a line cannot be written.
    pub fn log(
        &mut self,
        step: u64,
        metrics: &Metrics,
        timings: &Metrics,
        extras: Vec<Extra>,
    ) -> io::Result<()> {
        self.metrics.append(step, metrics)?;
        let timings = self.write_timings(step, timings)?;
        let line = Line { step, metrics: metrics.clone() };
        self.history.add_metrics(&line);
        if let Some(warning) = self.board.log(line, extras) {
            self.progress.message(&format!("warning: {warning}"));
        }
        self.progress.step(step, metrics, &timings.metrics, self.history.remaining(step, self.steps));
        self.show_on_board(timings);
        Ok(())
    }

    /// Records an evaluation of the policy after `step` steps, which took `took`: a line of timings, the curves
    /// `eval/…` of TensorBoard, and a line for the user: every metric that has `…_low` and `…_high` beside it. The
    /// results themselves are for the caller to keep, after this: an evaluation that is not kept was not finished, and a run that
    /// goes on does it again.
    ///
    /// # Errors
    ///
    /// If a line cannot be written.
    pub fn log_evaluation(&mut self, step: u64, metrics: &Metrics, took: Duration) -> io::Result<()> {
        let mut timings = Metrics::new();
        timings.push(EVALUATION_SECONDS, took.as_secs_f64());
        let timings = self.write_timings(step, &timings)?;
        self.timings.sync()?;
        self.show_on_board(of_board(timings));
        self.show_on_board(Line { step, metrics: metrics.clone() });
        self.progress.evaluation(step, metrics);
        Ok(())
    }

    /// Shows what goes on now, such as `rollout`, in the live line.
    pub fn phase(&self, name: &str) {
        self.phases().show(name);
    }

    /// Who shows what goes on now, apart from everything else here.
    pub fn phases(&self) -> Phases {
        self.progress.phases()
    }

    /// Shows a line above the live one.
    pub fn message(&self, text: &str) {
        self.progress.message(text);
    }

    /// Rewards and times since the run's first step.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Waits until every line is on the disk. Call it before a checkpoint is written, so that a checkpoint never knows
    /// more steps than `metrics.jsonl`, not even after a power cut.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn flush(&self) -> io::Result<()> {
        self.metrics.sync()?;
        self.timings.sync()
    }

    /// Writes a line of timings, the wall time added; returns it.
    fn write_timings(&mut self, step: u64, timings: &Metrics) -> io::Result<Line> {
        let now = Instant::now();
        let mut metrics = timings.clone();
        metrics.push(WALL_SECONDS, (now - self.last).as_secs_f64());
        self.last = now;
        self.timings.append(step, &metrics)?;
        let line = Line { step, metrics };
        self.history.add_timings(&line);
        Ok(line)
    }

    fn show_on_board(&mut self, line: Line) {
        if let Some(warning) = self.board.log(line, Vec::new()) {
            self.progress.message(&format!("warning: {warning}"));
        }
    }
}

/// What TensorBoard shows of a line of timings: of an evaluation not the wall time, whose curve is that of the steps and has one
/// point for each.
fn of_board(line: Line) -> Line {
    let Some(seconds) = line.metrics.get(EVALUATION_SECONDS) else { return line };
    let mut metrics = Metrics::new();
    metrics.push(EVALUATION_SECONDS, seconds);
    Line { step: line.step, metrics }
}

/// Writes what waits for TensorBoard, and takes the live line away.
impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(warning) = self.board.close() {
            self.progress.message(&format!("warning: {warning}"));
        }
        self.progress.close();
    }
}

#[cfg(test)]
mod tests;
