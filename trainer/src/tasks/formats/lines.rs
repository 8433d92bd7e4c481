//! Lines of a file that may be compressed.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::ConvertError;
use crate::telemetry::shell_word;

/// Longest line that is read: some rows of APPS and LiveCodeBench bring hundreds of megabytes of tests along. A longer one is no row
/// but a file without line ends.
const MAX_ROW_BYTES: u64 = 1 << 30;

/// Python that prints the rows of the Parquet file that it is given, a hundred at a time.
const PARQUET: &str = "import json, sys, pyarrow.parquet as p; [print(json.dumps(row, default=str)) \
    for part in p.ParquetFile(sys.argv[1]).iter_batches(100) for row in part.to_pylist()]";

/// Python that prints the items of a JSON array.
const ARRAY: &str = "import json, sys; [print(json.dumps(row)) for row in json.load(open(sys.argv[1]))]";

/// A command that has `program` read the file `path`, and writes a file beside it.
fn by_python(program: &str, path: &Path) -> String {
    let name = path.display().to_string();
    let (from, to) = (shell_word(&name), shell_word(&format!("{name}.jsonl")));
    format!("python3 -c \"{program}\" {from} > {to}")
}

/// A line and its number, from 1.
pub(super) struct Line<'a> {
    pub(super) number: usize,
    pub(super) text: &'a str,
}

/// The lines of a file that are not blank.
pub(super) struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    line: String,
    number: usize,
}

impl Lines {
    /// Opens a file of lines, compressed by gzip or not.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or begins like a format that has no lines.
    pub(super) fn open(path: &Path) -> Result<Lines, ConvertError> {
        let unreadable = |source| ConvertError::Read { path: path.to_owned(), source };
        let mut file = BufReader::new(fs_err::File::open(path).map_err(unreadable)?);
        let begin = file.fill_buf().map_err(unreadable)?;
        let not_lines =
            |found, why, command| Err(ConvertError::NotLines { path: path.to_owned(), found, why, command });
        let reader: Box<dyn BufRead> = match begin {
            [b'P', b'A', b'R', b'1', ..] => {
                return not_lines(
                    "a Parquet file",
                    "with pyarrow (pip install pyarrow), this writes lines of JSON:",
                    Some(by_python(PARQUET, path)),
                );
            }
            [b'P', b'K', 3, 4, ..] => {
                let command = format!("python3 -m zipfile -e {} .", shell_word(&path.display().to_string()));
                return not_lines("a ZIP archive", "this unpacks it:", Some(command));
            }
            [0x80, 2..=5, ..] => {
                return not_lines(
                    "a Python pickle",
                    "a pickle is a program, and not run; write JSON lines",
                    None,
                );
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                let command = format!("zstd -d {}", shell_word(&path.display().to_string()));
                return not_lines("compressed by Zstandard", "this decompresses it:", Some(command));
            }
            [b'[', ..] => {
                return not_lines(
                    "one JSON array",
                    "this writes its items as lines:",
                    Some(by_python(ARRAY, path)),
                );
            }
            [0x1f, 0x8b, ..] => Box::new(BufReader::new(MultiGzDecoder::new(file))),
            _ => Box::new(file),
        };
        Ok(Lines { path: path.to_owned(), reader, line: String::new(), number: 0 })
    }

    /// The next line that is not blank.
    ///
    /// # Errors
    ///
    /// If the file cannot be read on: it is damaged, not UTF-8, or one line has no end.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>, ConvertError> {
        loop {
            self.line.clear();
            self.number += 1;
            let mut limited = (&mut self.reader).take(MAX_ROW_BYTES);
            let read = limited.read_line(&mut self.line).and_then(|read| {
                let too_long = read as u64 == MAX_ROW_BYTES && !self.line.ends_with('\n');
                if too_long {
                    Err(io::Error::other(format!("longer than {MAX_ROW_BYTES} bytes")))
                } else {
                    Ok(read)
                }
            });
            let read = read.map_err(|source| {
                let source = io::Error::new(source.kind(), format!("line {}: {source}", self.number));
                ConvertError::Read { path: self.path.clone(), source }
            })?;
            if read == 0 {
                return Ok(None);
            }
            if !self.line.trim().is_empty() {
                let number = self.number;
                return Ok(Some(Line { number, text: self.line.trim_end_matches(['\n', '\r']) }));
            }
        }
    }
}
