//! JSON Lines files with one line per step, which a resumed run continues where its checkpoint is.

use std::io::{self, ErrorKind, Write};
use std::path::Path;

use fs_err::{File, OpenOptions};
use serde_json::{Map, Number, Value};

use super::{EVALUATION_SECONDS, Metrics};

/// How the names of an evaluation's results begin.
const EVALUATIONS: &str = "eval/";

/// The key of a line's step.
const STEP: &str = "step";

/// One line of `metrics.jsonl` or `timings.jsonl`.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Updates done when it was written.
    pub step: u64,
    /// Its numbers in their order; what was not finite was written as `null` and comes back as NaN.
    pub metrics: Metrics,
}

/// How far what is on the disk counts when a run goes on: up to a step, and up to its evaluation only if that was finished. What is
/// beyond will be done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Until {
    /// Updates done.
    pub(super) step: u64,
    /// Whether the policy after them has been evaluated. The evaluations of earlier steps were finished before those steps were.
    pub(super) evaluated: bool,
}

impl Until {
    /// Whether the number `name` of `step` counts.
    pub(super) fn admits(self, step: u64, name: &str) -> bool {
        let is_evaluation = name == EVALUATION_SECONDS || name.starts_with(EVALUATIONS);
        step < self.step || step == self.step && (self.evaluated || !is_evaluation)
    }

    /// The same, but not beyond `step`.
    pub(super) fn at_most(self, step: u64) -> Until {
        if step < self.step { Until { step, evaluated: true } } else { self }
    }

    fn admits_line(self, line: &Line) -> bool {
        line.step <= self.step && line.metrics.iter().all(|(name, _)| self.admits(line.step, name))
    }
}

/// Reads back what a run has written so far. No file is no lines; a last line that was torn in writing is left out.
///
/// # Errors
///
/// If the file cannot be read, or a line before the last is not what rltrain wrote; the message names file and line.
pub fn read_lines(path: &Path) -> io::Result<Vec<Line>> {
    let all = Until { step: u64::MAX, evaluated: true };
    Ok(scan(&read(path)?, path, all)?.lines)
}

/// A file that lines are added to, or none, where another process writes it.
pub(super) struct Lines {
    file: Option<File>,
}

impl Lines {
    /// Lines that nobody keeps.
    pub(super) fn nowhere() -> Lines {
        Lines { file: None }
    }

    /// Opens or makes a file and cuts off what is beyond `until`: that will be done again.
    ///
    /// Returns what is left as well. Nothing after the last line that counts is looked at, so that damage there does not
    /// matter.
    pub(super) fn open(path: &Path, until: Until) -> io::Result<(Lines, Vec<Line>)> {
        let bytes = read(path)?;
        let kept = scan(&bytes, path, until)?;
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.set_len(kept.bytes as u64)?;
        // A line may have lost nothing but its end.
        if kept.bytes > 0 && bytes[kept.bytes - 1] != b'\n' {
            file.write_all(b"\n")?;
        }
        Ok((Lines { file: Some(file) }, kept.lines))
    }

    /// Adds a line, and hands it to the operating system.
    pub(super) fn append(&mut self, step: u64, metrics: &Metrics) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut text = format(step, metrics);
        text.push('\n');
        file.write_all(text.as_bytes())
    }

    /// Waits until every line is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    match fs_err::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        result => result,
    }
}

/// A line as text, without its end. Numbers are the shortest that read back as the same `f64`.
fn format(step: u64, metrics: &Metrics) -> String {
    let mut object = Map::new();
    object.insert(STEP.to_owned(), step.into());
    for (name, value) in metrics.iter() {
        object.insert(name.to_owned(), Number::from_f64(value).map_or(Value::Null, Value::Number));
    }
    Value::Object(object).to_string()
}

/// The lines that count, and the bytes that they take.
struct Kept {
    lines: Vec<Line>,
    bytes: usize,
}

fn scan(bytes: &[u8], path: &Path, until: Until) -> io::Result<Kept> {
    let mut kept = Kept { lines: Vec::new(), bytes: 0 };
    for (index, text) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let before = kept.lines.last().map_or(0, |line| line.step);
        match parse(text, before) {
            Ok(line) if !until.admits_line(&line) => break,
            Ok(line) => {
                kept.lines.push(line);
                kept.bytes += text.len();
            }
            Err(_) if kept.bytes + text.len() == bytes.len() => break,
            Err(_) if !kept.lines.is_empty() && before == until.step => break,
            Err(cause) => {
                let message = format!("`{}`, line {}: {cause}", path.display(), index + 1);
                return Err(io::Error::new(ErrorKind::InvalidData, message));
            }
        }
    }
    Ok(kept)
}

/// A line from its text, or what is wrong with it; `before` is the step of the line above.
fn parse(text: &[u8], before: u64) -> Result<Line, String> {
    let object: Map<String, Value> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let step = object.get(STEP).and_then(Value::as_u64).ok_or("`step` is missing or not a whole number")?;
    if step < before {
        return Err(format!("step {step} comes after step {before}"));
    }
    let mut metrics = Metrics::new();
    for (name, value) in object.iter().filter(|(name, _)| *name != STEP) {
        let number = if value.is_null() { Some(f64::NAN) } else { value.as_f64() };
        metrics.push(name, number.ok_or_else(|| format!("`{name}` is {value}, wanted a number or null"))?);
    }
    Ok(Line { step, metrics })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    fn numbers(step: u64) -> Metrics {
        let mut metrics = Metrics::new();
        metrics.push("reward", step as f64 / 3.0);
        metrics.push("loss", -1e-7 * step as f64);
        metrics
    }

    fn until(step: u64) -> Until {
        Until { step, evaluated: true }
    }

    fn write(path: &Path, steps: std::ops::RangeInclusive<u64>) {
        let (mut lines, _) = Lines::open(path, until(*steps.start() - 1)).unwrap();
        steps.for_each(|step| lines.append(step, &numbers(step)).unwrap());
    }

    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        (folder, path)
    }

    #[test]
    fn numbers_are_written_in_order_and_in_their_shortest_form() {
        let (_folder, path) = scratch();
        let mut metrics = Metrics::new();
        for (name, value) in
            [("z/a", 0.1), ("a/b", 3.0), ("a/a", f64::NAN), ("a/c", f64::INFINITY), ("t/t", 1e-9)]
        {
            metrics.push(name, value);
        }
        Lines::open(&path, until(0)).unwrap().0.append(7, &metrics).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        insta::assert_snapshot!(text.trim_end(), @r#"{"step":7,"z/a":0.1,"a/b":3.0,"a/a":null,"a/c":null,"t/t":1e-9}"#);
        let read = read_lines(&path).unwrap();
        assert_eq!((read[0].step, read[0].metrics.get("z/a")), (7, Some(0.1)));
        assert!(read[0].metrics.get("a/a").unwrap().is_nan());
    }

    #[test]
    fn a_bad_line_in_the_middle_is_named() {
        let (_folder, path) = scratch();
        let cases = [
            ("{\"step\":1}\nnonsense\n{\"step\":3}\n", "line 2: expected ident at line 1 column 2"),
            ("{\"step\":2}\n{\"step\":1}\n{\"step\":3}\n", "line 2: step 1 comes after step 2"),
            ("{\"x\":2}\n{\"step\":1}\n", "line 1: `step` is missing or not a whole number"),
            ("{\"step\":1,\"x\":\"y\"}\n{\"step\":2}\n", "line 1: `x` is \"y\", wanted a number or null"),
        ];
        for (text, wanted) in cases {
            std::fs::write(&path, text).unwrap();
            let error = Lines::open(&path, until(9)).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert_eq!(error.to_string(), format!("`{}`, {wanted}", path.display()));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "a damaged file is left as it is");
        }
    }

    #[test]
    fn damage_after_the_last_line_to_keep_does_not_matter() {
        let (_folder, path) = scratch();
        std::fs::write(&path, b"{\"step\":1}\n{\"step\":2}\n\0\0\0\n{\"step\":4}\n").unwrap();
        let (_, kept) = Lines::open(&path, until(2)).unwrap();
        assert_eq!(kept.len(), 2);
        assert_eq!(std::fs::read(&path).unwrap(), b"{\"step\":1}\n{\"step\":2}\n");
    }

    #[test]
    fn the_line_of_an_evaluation_that_was_not_finished_goes() {
        let (_folder, path) = scratch();
        let text = format!("{{\"step\":1}}\n{{\"step\":1,\"{EVALUATION_SECONDS}\":2.0}}\n{{\"step\":2}}\n");
        for (step, evaluated, wanted) in [(1, true, 2), (1, false, 1), (2, false, 3)] {
            std::fs::write(&path, &text).unwrap();
            let (_, kept) = Lines::open(&path, Until { step, evaluated }).unwrap();
            assert_eq!(kept.len(), wanted, "step {step}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_file_cut_anywhere_keeps_the_whole_lines_up_to_the_step(n in 1..12u64, step in 0..14u64, cut: prop::sample::Index) {
            let (_folder, path) = scratch();
            write(&path, 1..=n);
            let whole = std::fs::read(&path).unwrap();
            let cut = cut.index(whole.len() + 1);
            std::fs::write(&path, &whole[..cut]).unwrap();

            let (_, kept) = Lines::open(&path, until(step)).unwrap();

            // A line is whole once its closing brace is there.
            let mut wanted = Vec::new();
            let mut end = 0;
            for (index, line) in whole.split_inclusive(|byte| *byte == b'\n').enumerate() {
                end += line.len();
                if (index as u64) < step && end - 1 <= cut {
                    wanted.extend_from_slice(line);
                }
            }
            let found = std::fs::read(&path).unwrap();
            prop_assert_eq!(&found, &wanted);
            prop_assert_eq!(kept.len(), found.iter().filter(|byte| **byte == b'\n').count());
            prop_assert_eq!(read_lines(&path).unwrap(), kept);
        }

        #[test]
        fn an_interrupted_file_ends_equal_to_an_uninterrupted_one(n in 2..12u64, at: prop::sample::Index, cut: prop::sample::Index) {
            let (_folder, path) = scratch();
            write(&path, 1..=n);
            let whole = std::fs::read(&path).unwrap();
            // The checkpoint is of a step that is whole in the file.
            let step = at.index(n as usize) as u64;
            let safe: usize = whole.split_inclusive(|byte| *byte == b'\n').take(step as usize).map(<[u8]>::len).sum();
            std::fs::write(&path, &whole[..safe + cut.index(whole.len() - safe + 1)]).unwrap();
            write(&path, step + 1..=n);
            prop_assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
    }
}
