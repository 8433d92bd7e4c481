//! The event files of a run as they lie on the disk: cut where a resumed run goes on.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use fs_err::OpenOptions;
use tensorboard_rs::masked_crc32c::masked_crc32c;

use super::event::{self, Said};
use super::lines::Until;

/// How the names of event files begin, by which TensorBoard knows them.
const PREFIX: &str = "events.out.tfevents.";

/// How the names of those end that a run wrote: others in the folder are left alone.
const SUFFIX: &str = ".rltrain";

/// A point of a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Updates done when it was written.
    pub step: u64,
    /// The number.
    pub value: f32,
}

/// The name of a file that TensorBoard reads after `files`, which are in order: by the seconds since 1970, and after a clock that was
/// set back, by a name behind the last one's.
pub(super) fn next_name(files: &[PathBuf], now: f64) -> String {
    let last = files.last().and_then(|file| seconds(file)).map_or(0.0, |seconds| seconds + 1e-6);
    format!("{PREFIX}{:020.9}{SUFFIX}", now.max(last))
}

/// The time in the name of an event file of ours.
fn seconds(file: &Path) -> Option<f64> {
    file.file_name()?.to_str()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
}

/// The event files in `folder` that runs wrote, in the order in which TensorBoard reads them. A folder that is not there has none.
pub(super) fn event_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs_err::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if seconds(&path).is_some() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Cuts off what the event files `files`, in their order, say beyond `until`, and whatever a killed process left torn. Files without any
/// point are removed.
///
/// Returns the last step of every curve in what is left.
pub(super) fn cut(files: &[PathBuf], mut until: Until) -> io::Result<BTreeMap<String, u64>> {
    let mut last = BTreeMap::new();
    // What a file says of the steps after its start counts, and not what files before it say of them.
    for file in files.iter().rev() {
        let bytes = fs_err::read(file)?;
        let kept = scan(&bytes, until);
        if kept.last.is_empty() {
            fs_err::remove_file(file)?;
            continue;
        }
        if kept.bytes < bytes.len() {
            OpenOptions::new().write(true).open(file)?.set_len(kept.bytes as u64)?;
        }
        for (tag, step) in kept.last {
            let known = last.entry(tag).or_insert(step);
            *known = step.max(*known);
        }
        if let Some(start) = kept.start {
            until = until.at_most(start.saturating_sub(1));
        }
    }
    Ok(last)
}

/// The beginning of an event file that counts.
#[derive(Default)]
struct Kept {
    bytes: usize,
    /// The last step of every curve.
    last: BTreeMap<String, u64>,
    /// The step at which the process that wrote the file started.
    start: Option<u64>,
}

fn scan(bytes: &[u8], until: Until) -> Kept {
    let mut kept = Kept::default();
    for (end, record) in records(bytes) {
        let Some(event::Record { step, said }) = event::parse(record) else { break };
        match said {
            Said::Scalar { tag, .. } if until.admits(step, &tag) => {
                kept.last.insert(tag, step);
            }
            Said::Scalar { .. } => break,
            Said::Start => kept.start = Some(kept.start.map_or(step, |known| known.min(step))),
            Said::Other => {}
        }
        kept.bytes = end;
    }
    kept
}

/// The whole records of an event file, each with the place of its end; what is torn or damaged, and all behind it, is left out.
///
/// A record is the length of its data (8 bytes), a checksum of that (4), the data, and a checksum of the data (4).
fn records(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<8>()?;
        let (checksum, after) = after.split_first_chunk::<4>()?;
        let data = after.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let (of_data, after) = after[data.len()..].split_first_chunk::<4>()?;
        let is_whole =
            masked_crc32c(length).to_le_bytes() == *checksum && masked_crc32c(data).to_le_bytes() == *of_data;
        rest = after;
        is_whole.then_some((bytes.len() - after.len(), data))
    })
}

/// The points of every curve in the event files that runs wrote into `folder`, as TensorBoard shows them: a file that starts at a
/// step voids what files before it say of that step and of later ones, and a torn record ends its file.
///
/// # Errors
///
/// If a file cannot be read.
pub fn read_curves(folder: &Path) -> io::Result<BTreeMap<String, Vec<Point>>> {
    let mut curves: BTreeMap<String, Vec<Point>> = BTreeMap::new();
    for file in event_files(folder)? {
        let bytes = fs_err::read(file)?;
        for record in records(&bytes).filter_map(|(_, record)| event::parse(record)) {
            let step = record.step;
            match record.said {
                Said::Start => {
                    curves.values_mut().for_each(|points| points.retain(|point| point.step < step))
                }
                Said::Scalar { tag, value } => curves.entry(tag).or_default().push(Point { step, value }),
                Said::Other => {}
            }
        }
    }
    curves.retain(|_, points| !points.is_empty());
    Ok(curves)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tensorboard_rs::record_writer::RecordWriter;

    use super::super::event::{What, event};
    use super::*;

    /// The bytes of an event file of a process that started at `start` and wrote two points at each of `steps`.
    fn file(start: u64, steps: std::ops::Range<u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = RecordWriter::new(&mut bytes);
        let mut write = |record: Vec<u8>| writer.write(&record).unwrap();
        write(event(1.0, 0, What::Version));
        write(event(1.0, start, What::Start));
        for step in steps {
            write(event(1.0, step, What::Scalar { tag: "reward", value: step as f32 }));
            write(event(1.0, step, What::Scalar { tag: "eval/pass@1", value: 0.5 }));
        }
        bytes
    }

    fn place(folder: &Path, number: u64, bytes: &[u8]) {
        std::fs::write(folder.join(format!("{PREFIX}{number:020}{SUFFIX}")), bytes).unwrap();
    }

    fn steps(folder: &Path, tag: &str) -> Vec<u64> {
        let curves = read_curves(folder).unwrap();
        curves.get(tag).map_or(Vec::new(), |points| points.iter().map(|point| point.step).collect())
    }

    fn cut_at(folder: &Path, step: u64, evaluated: bool) -> BTreeMap<String, u64> {
        cut(&event_files(folder).unwrap(), Until { step, evaluated }).unwrap()
    }

    #[test]
    fn later_steps_an_unfinished_evaluation_and_empty_files_go() {
        let folder = tempfile::tempdir().unwrap();
        place(folder.path(), 1, &file(1, 1..5));
        place(folder.path(), 2, &file(4, 4..9));
        place(folder.path(), 3, &file(9, 9..9));
        std::fs::write(folder.path().join("events.out.tfevents.5.other"), b"of another program").unwrap();
        let last = cut_at(folder.path(), 6, false);
        assert_eq!((last["reward"], last["eval/pass@1"]), (6, 5));
        assert_eq!(steps(folder.path(), "reward"), [1, 2, 3, 4, 5, 6]);
        assert_eq!(steps(folder.path(), "eval/pass@1"), [1, 2, 3, 4, 5]);
        let files = event_files(folder.path()).unwrap();
        assert_eq!(files.len(), 2, "{files:?}");
        // What the second file voids is gone from the first, so that a reader that knows nothing of starts finds no step twice.
        let first = scan(&std::fs::read(&files[0]).unwrap(), Until { step: 99, evaluated: true });
        assert_eq!(first.last["reward"], 3);
        assert!(folder.path().join("events.out.tfevents.5.other").exists());

        assert_eq!(cut_at(folder.path(), 0, true), BTreeMap::new());
        assert_eq!(event_files(folder.path()).unwrap().len(), 0);
    }

    #[test]
    fn names_follow_each_other_even_if_the_clock_is_set_back() {
        let first = PathBuf::from("x").join(next_name(&[], 5.5));
        assert_eq!(first, PathBuf::from("x/events.out.tfevents.0000000005.500000000.rltrain"));
        let second = PathBuf::from("x").join(next_name(std::slice::from_ref(&first), 3.0));
        assert!(second > first, "{second:?}");
        assert_eq!(next_name(&[first, second], 9.0), next_name(&[], 9.0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_file_that_is_cut_or_damaged_anywhere_keeps_its_whole_records_up_to_there(at: prop::sample::Index, flips: bool) {
            let folder = tempfile::tempdir().unwrap();
            let whole = file(1, 1..7);
            let at = at.index(whole.len());
            let mut bytes = whole.clone();
            if flips { bytes[at] ^= 0x10 } else { bytes.truncate(at) }
            place(folder.path(), 1, &bytes);
            let last = cut_at(folder.path(), 5, true);
            let points = read_curves(folder.path()).unwrap().get("reward").map_or(0, Vec::len) as u64;
            prop_assert_eq!(last.get("reward").copied().unwrap_or(0), points);
            let ends: Vec<usize> = records(&whole).map(|(end, _)| end).collect();
            // Two records begin the file, and each step has two.
            let wanted = ends.iter().filter(|end| **end <= at).count().saturating_sub(1) / 2;
            prop_assert_eq!(points, wanted.min(5) as u64);
            if let Some(file) = event_files(folder.path()).unwrap().first() {
                prop_assert!(whole.starts_with(&std::fs::read(file).unwrap()));
            }
        }
    }
}
