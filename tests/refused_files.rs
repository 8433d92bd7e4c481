//! What `rltrain tasks convert` cannot read: the command that it says instead works as it stands.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::rltrain::expect;

/// Rows of a published format.
fn rows() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes/tasks/published/verl.jsonl");
    std::fs::read_to_string(path).unwrap()
}

fn shell(folder: &Path, command: &str) -> std::process::Output {
    Command::new("sh").args(["-c", command]).current_dir(folder).output().unwrap()
}

/// The command at the end of what is said of `file`, run, and the task files of both ways held against each other.
fn follow(folder: &Path, file: &str) {
    let (_, error) = expect(folder, &["tasks", "convert", file, "out.jsonl"], 2);
    let command = error.trim_end().lines().last().unwrap();
    let output = shell(folder, command);
    assert!(output.status.success(), "{command}\n{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(folder.join("plain.jsonl"), rows()).unwrap();
    expect(folder, &["tasks", "convert", "plain.jsonl", "wanted.jsonl"], 0);
    expect(folder, &["tasks", "convert", &format!("{file}.jsonl"), "out.jsonl"], 0);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(read("out.jsonl"), read("wanted.jsonl"));
}

#[test]
fn a_json_array_becomes_lines_by_the_command_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let array = format!("[{}]", rows().trim_end().replace('\n', ","));
    std::fs::write(folder.path().join("it's an array.json"), array).unwrap();
    follow(folder.path(), "it's an array.json");
}

#[test]
fn a_parquet_file_becomes_lines_by_the_command_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    if !shell(here, "python3 -c 'import pyarrow'").status.success() {
        let told = b"skipped: python3 has no pyarrow; `pip install pyarrow` provides it\n";
        let _ = std::io::stderr().write_all(told);
        return;
    }
    // One column is of one type: both rows have a list of messages for a prompt.
    let write = "import json, pyarrow, pyarrow.parquet\n\
        rows = [json.loads(line) for line in open('rows.jsonl')]\n\
        for row in rows:\n    \
            if isinstance(row['prompt'], str):\n        row['prompt'] = [{'role': 'user', 'content': row['prompt']}]\n\
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), 'rows of verl.parquet', compression='zstd')\n";
    std::fs::write(here.join("rows.jsonl"), rows()).unwrap();
    std::fs::write(here.join("write.py"), write).unwrap();
    let written = shell(here, "python3 write.py");
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    follow(here, "rows of verl.parquet");
}
