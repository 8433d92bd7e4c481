//! TensorBoard event files, written by a thread of their own: a full or slow disk costs a warning, never the run.
//!
//! A run waits for that thread at its end only, so a killed one may leave less on the disk than its checkpoints know, and also
//! more, or half a record. Hence a run that goes on cuts the files where it stands, and adds the points that are missing from
//! what it has in its other files.
//!
//! Of `tensorboard-rs` only the record format is used. Its `SummaryWriter` panics when the disk fails, and again in its
//! destructor while the first panic unwinds, which ends the process and cannot be caught.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use fs_err::File;
use tensorboard_rs::record_writer::RecordWriter;

use super::config::TelemetryConfig;
use super::event::{Parameter, What, event};
use super::event_files::{cut, event_files, next_name};
use super::lines::{Line, Until};

/// Lines that may wait for a slow disk; what comes on top is left out of TensorBoard.
const WAITING: usize = 256;

/// What a step shows beside its curves.
#[derive(Clone, Debug, PartialEq)]
pub enum Extra {
    /// How many of some numbers are where; what is not finite is left out.
    Histogram(&'static str, Vec<f64>),
    /// Words, as Markdown.
    Text(&'static str, String),
}

/// What a run was told, for the page of hyperparameters.
pub type Parameters = Vec<(String, Parameter)>;

/// What waits for the disk.
struct Shown {
    line: Line,
    extras: Vec<Extra>,
}

/// What a run shows, on its way to an event file.
pub(super) struct TensorBoard {
    /// `None` once something failed, or when the thread is to end.
    lines: Option<SyncSender<Shown>>,
    warnings: Receiver<String>,
    thread: Option<JoinHandle<()>>,
}

impl TensorBoard {
    /// Starts a new event file in `folder` and cuts older ones at `until`. `lines` is all that the run has shown up to there, in
    /// the order of steps for each curve; what the older files lack of it begins the new one.
    pub(super) fn open(
        folder: &Path,
        until: Until,
        lines: Vec<Line>,
        (config, parameters): (TelemetryConfig, Parameters),
    ) -> TensorBoard {
        let folder = folder.to_owned();
        TensorBoard::start(move |waiting| {
            fs_err::create_dir_all(&folder)?;
            let files = event_files(&folder)?;
            let last = cut(&files, until)?;
            let file = File::create(folder.join(next_name(&files, now())))?;
            let mut board = Board::start(BufWriter::new(file), until.step, config)?;
            board.tell(&parameters)?;
            lines.iter().try_for_each(|line| board.add(line, &last))?;
            board.add_all(waiting)
        })
    }

    /// Shows nothing.
    pub(super) fn nowhere() -> TensorBoard {
        TensorBoard { lines: None, warnings: channel().1, thread: None }
    }

    /// Runs `work` on a thread of its own.
    fn start(work: impl FnOnce(&Receiver<Shown>) -> io::Result<()> + Send + 'static) -> TensorBoard {
        let (lines, waiting) = sync_channel(WAITING);
        let (warn, warnings) = channel();
        let work = move || {
            if let Err(error) = work(&waiting) {
                // Nobody listens once the run has ended.
                let _ = warn.send(format!("TensorBoard shows nothing from here on: {error}"));
            }
        };
        let thread = std::thread::Builder::new().name("tensorboard".to_owned()).spawn(work).ok();
        TensorBoard { lines: Some(lines), warnings, thread }
    }

    /// Hands a line over; returns a warning where something has failed.
    pub(super) fn log(&mut self, line: Line, extras: Vec<Extra>) -> Option<String> {
        match self.lines.as_ref()?.try_send(Shown { line, extras }) {
            Ok(()) => None,
            Err(TrySendError::Full(_)) => Some("TensorBoard misses a step: its disk is too slow".to_owned()),
            Err(TrySendError::Disconnected(_)) => self.close(),
        }
    }

    /// Waits until everything is written; returns a warning if something failed.
    pub(super) fn close(&mut self) -> Option<String> {
        self.lines = None;
        let ended = self.thread.take().map(JoinHandle::join);
        match (self.warnings.try_recv(), ended) {
            (Ok(warning), _) => Some(warning),
            (Err(TryRecvError::Empty | TryRecvError::Disconnected), Some(Err(_))) => {
                Some("TensorBoard shows nothing from here on: its thread panicked".to_owned())
            }
            _ => None,
        }
    }
}

/// An event file while it is being written.
struct Board<W: Write> {
    file: RecordWriter<W>,
    config: TelemetryConfig,
}

impl<W: Write> Board<W> {
    /// Begins the file of a process that starts after `step` steps; points of later ones in older files are void.
    fn start(to: W, step: u64, config: TelemetryConfig) -> io::Result<Board<W>> {
        let mut file = RecordWriter::new(to);
        file.write(&event(now(), 0, What::Version))?;
        file.write(&event(now(), step + 1, What::Start))?;
        file.flush()?;
        Ok(Board { file, config })
    }

    /// Tells what the run was told.
    fn tell(&mut self, values: &[(String, Parameter)]) -> io::Result<()> {
        if !values.is_empty() {
            self.file.write(&event(now(), 0, What::Parameters { values }))?;
        }
        self.file.flush()
    }

    /// Adds the points of a line whose curves are not as far: `last` has the last step of each.
    fn add(&mut self, line: &Line, last: &BTreeMap<String, u64>) -> io::Result<()> {
        let time = now();
        for (tag, value) in line.metrics.iter() {
            // Other files have `null` for all that is not finite.
            let value = if value.is_finite() { value as f32 } else { f32::NAN };
            let mut names = vec![tag];
            self.config.aliases_of(tag).for_each(|alias| names.push(alias));
            for tag in names {
                if last.get(tag).is_none_or(|last| *last < line.step) {
                    self.file.write(&event(time, line.step, What::Scalar { tag, value }))?;
                }
            }
        }
        self.file.flush()
    }

    /// Adds what a step shows beside its curves, behind them, so that whoever cuts the file at a curve cuts this as well.
    fn add_extras(&mut self, step: u64, extras: &[Extra]) -> io::Result<()> {
        let time = now();
        for extra in extras {
            match extra {
                Extra::Histogram(tag, values) => {
                    let values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
                    if !values.is_empty() {
                        self.file.write(&event(time, step, What::Histogram { tag, values: &values }))?;
                    }
                }
                Extra::Text(tag, text) => {
                    self.file.write(&event(time, step, What::Text { tag, text }))?;
                }
            }
        }
        self.file.flush()
    }

    /// The rest of the thread: until nobody sends any more. A live TensorBoard sees each line at once.
    fn add_all(mut self, waiting: &Receiver<Shown>) -> io::Result<()> {
        waiting.iter().try_for_each(|Shown { line, extras }| {
            self.add(&line, &BTreeMap::new())?;
            self.add_extras(line.step, &extras)
        })
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::super::event_files::{Point, read_curves};
    use super::*;

    fn line(step: u64) -> Line {
        let mut metrics = Metrics::new();
        metrics.push("reward", 0.25 * step as f64);
        metrics.push("eval/pass@1", 0.5);
        Line { step, metrics }
    }

    fn open(folder: &Path, step: u64, lines: Vec<Line>) -> TensorBoard {
        TensorBoard::open(folder, Until { step, evaluated: true }, lines, Default::default())
    }

    fn write(folder: &Path, step: u64, before: Vec<Line>, steps: std::ops::RangeInclusive<u64>) {
        let mut board = open(folder, step, before);
        steps.for_each(|step| assert_eq!(board.log(line(step), Vec::new()), None));
        assert_eq!(board.close(), None);
    }

    #[test]
    fn a_run_that_goes_on_shows_every_step_once() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 0, Vec::new(), 1..=4);
        write(folder.path(), 2, vec![line(1), line(2)], 3..=5);
        let curves = read_curves(folder.path()).unwrap();
        let wanted = |value: fn(u64) -> f32| -> Vec<Point> {
            (1..=5).map(|step| Point { step, value: value(step) }).collect()
        };
        assert_eq!(curves["reward"], wanted(|step| 0.25 * step as f32));
        assert_eq!(curves["eval/pass@1"], wanted(|_| 0.5));
        assert_eq!(event_files(folder.path()).unwrap().len(), 2);
    }

    /// The thread that writes them does not keep up with checkpoints, nor does it write a line at once.
    #[test]
    fn points_that_a_killed_run_had_not_written_yet_are_added() {
        let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(whole.path(), 0, Vec::new(), 1..=6);
        let first = event_files(whole.path()).unwrap().remove(0);
        let bytes = std::fs::read(&first).unwrap();
        for end in 0..bytes.len() {
            std::fs::write(cut.path().join(first.file_name().unwrap()), &bytes[..end]).unwrap();
            write(cut.path(), 4, (1..=4).map(line).collect(), 5..=6);
            assert_eq!(read_curves(cut.path()).unwrap(), read_curves(whole.path()).unwrap(), "{end}");
            for file in event_files(cut.path()).unwrap() {
                std::fs::remove_file(file).unwrap();
            }
        }
    }

    /// Whatever fails, and whenever: one warning.
    #[track_caller]
    fn warns_once(mut board: TensorBoard, wanted: &str) {
        let mut warnings: Vec<String> =
            (1..=50).filter_map(|step| board.log(line(step), Vec::new())).collect();
        warnings.extend(board.close());
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].starts_with("TensorBoard shows nothing from here on: ")
                && warnings[0].contains(wanted)
        );
    }

    #[test]
    fn a_full_disk_costs_one_warning() {
        let full = |waiting: &Receiver<Shown>| {
            Board::start(BufWriter::new(File::create("/dev/full")?), 0, TelemetryConfig::default())?
                .add_all(waiting)
        };
        warns_once(TensorBoard::start(full), "No space left on device");
    }

    #[test]
    fn a_folder_that_cannot_be_made_costs_one_warning() {
        let file = tempfile::NamedTempFile::new().unwrap();
        warns_once(open(&file.path().join("tensorboard"), 0, Vec::new()), "failed to create directory");
    }

    #[test]
    fn a_panic_costs_one_warning() {
        warns_once(TensorBoard::start(|_| panic!("on purpose, in a test")), "its thread panicked");
    }
}
