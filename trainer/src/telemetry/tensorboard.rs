//! TensorBoard event files, written by a thread of their own: a full or slow disk costs a warning, never the run.
//!
//! Of `tensorboard-rs` only the record format is used. Its `SummaryWriter` panics when the disk fails, and again in its
//! destructor while the first panic unwinds, which ends the process and cannot be caught.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use fs_err::File;
use tensorboard_rs::record_writer::RecordWriter;

use super::event::{What, event};
use super::lines::Line;

/// Lines that may wait for a slow disk; what comes on top is left out of TensorBoard.
const WAITING: usize = 256;

/// The scalars of a run, on their way to an event file.
pub(super) struct TensorBoard {
    /// `None` once something failed, or when the thread is to end.
    lines: Option<SyncSender<Line>>,
    warnings: Receiver<String>,
    thread: Option<JoinHandle<()>>,
}

impl TensorBoard {
    /// Starts a new event file in `folder`, which voids what older files there say about steps after `step`.
    pub(super) fn open(folder: &Path, step: u64) -> TensorBoard {
        let folder = folder.to_owned();
        TensorBoard::start(move |waiting| {
            let file = File::create(new_file(&folder)?)?;
            write(BufWriter::new(file), step, waiting)
        })
    }

    /// Runs `work` on a thread of its own.
    fn start(work: impl FnOnce(&Receiver<Line>) -> io::Result<()> + Send + 'static) -> TensorBoard {
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
    pub(super) fn log(&mut self, line: Line) -> Option<String> {
        match self.lines.as_ref()?.try_send(line) {
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

/// The body of the thread: until nobody sends any more. A live TensorBoard sees each line at once.
fn write(to: impl Write, step: u64, waiting: &Receiver<Line>) -> io::Result<()> {
    let mut file = RecordWriter::new(to);
    file.write(&event(now(), 0, What::Version))?;
    file.write(&event(now(), step + 1, What::Start))?;
    file.flush()?;
    for line in waiting {
        let time = now();
        for (tag, value) in line.metrics.iter() {
            file.write(&event(time, line.step, What::Scalar { tag, value: value as f32 }))?;
        }
        file.flush()?;
    }
    Ok(())
}

/// Makes the folder and names a new event file in it. TensorBoard reads files in the order of their names.
fn new_file(folder: &Path) -> io::Result<PathBuf> {
    fs_err::create_dir_all(folder)?;
    Ok(folder.join(format!("events.out.tfevents.{:020.9}.rltrain", now())))
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use tensorboard_rs::masked_crc32c::masked_crc32c;

    use super::super::Metrics;
    use super::*;

    fn line(step: u64) -> Line {
        let mut metrics = Metrics::new();
        metrics.push("reward", 0.25 * step as f64);
        metrics.push("eval/pass@1", 0.5);
        Line { step, metrics }
    }

    /// The records of an event file, their checksums checked.
    fn records(file: &Path) -> Vec<Vec<u8>> {
        let bytes = std::fs::read(file).unwrap();
        let (mut rest, mut records) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let (header, after) = rest.split_at(12);
            let length = u64::from_le_bytes(header[..8].try_into().unwrap()) as usize;
            let (data, after) = after.split_at(length);
            let (footer, after) = after.split_at(4);
            assert_eq!(masked_crc32c(&header[..8]).to_le_bytes(), header[8..12]);
            assert_eq!(masked_crc32c(data).to_le_bytes(), *footer);
            records.push(data.to_vec());
            rest = after;
        }
        records
    }

    fn holds(record: &[u8], wanted: &[u8]) -> bool {
        record.windows(wanted.len()).any(|window| window == wanted)
    }

    #[test]
    fn every_start_writes_a_file_with_its_scalars() {
        let folder = tempfile::tempdir().unwrap();
        for (step, steps) in [(0, 1..=4), (2, 3..=5)] {
            let mut board = TensorBoard::open(folder.path(), step);
            steps.for_each(|step| assert_eq!(board.log(line(step)), None));
            assert_eq!(board.close(), None);
        }
        let mut files: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let [first, second] = &files[..] else { panic!("{files:?}") };
        // Version and start, then one record per scalar.
        assert_eq!(records(first).len(), 2 + 4 * 2);
        let records = records(second);
        assert_eq!(records.len(), 2 + 3 * 2);
        assert!(holds(&records[0], b"brain.Event:2"));
        // Step 3, as a varint, and START.
        assert!(holds(&records[1], &[0x10, 3, 0x3a, 2, 0x08, 1]));
        assert!(holds(&records[2], b"reward") && holds(&records[2], &0.75f32.to_le_bytes()));
        assert!(holds(&records[3], b"eval/pass@1"));
    }

    /// Whatever fails, and whenever: one warning.
    #[track_caller]
    fn warns_once(mut board: TensorBoard, wanted: &str) {
        let mut warnings: Vec<String> = (1..=50).filter_map(|step| board.log(line(step))).collect();
        warnings.extend(board.close());
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].starts_with("TensorBoard shows nothing from here on: ")
                && warnings[0].contains(wanted)
        );
    }

    #[test]
    fn a_full_disk_costs_one_warning() {
        let full = |waiting: &Receiver<Line>| write(BufWriter::new(File::create("/dev/full")?), 0, waiting);
        warns_once(TensorBoard::start(full), "No space left on device");
    }

    #[test]
    fn a_folder_that_cannot_be_made_costs_one_warning() {
        let file = tempfile::NamedTempFile::new().unwrap();
        warns_once(TensorBoard::open(&file.path().join("tensorboard"), 0), "failed to create directory");
    }

    #[test]
    fn a_panic_costs_one_warning() {
        warns_once(TensorBoard::start(|_| panic!("on purpose, in a test")), "its thread panicked");
    }
}
