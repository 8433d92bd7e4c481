use miette::{GraphicalReportHandler, GraphicalTheme};
use proptest::prelude::*;

use super::*;

/// A line that is a task, with `id` and with `from` in it replaced by `to`.
fn line(id: &str, from: &str, to: &str) -> String {
    let task = r#"{"id": "ID", "prompt": "Return twice n.", "signature": "def double(n):", "entry_point": "double", "reference": "def double(n):\n    return 2 * n\n", "public_tests": ["assert double(1) == 2"], "hidden_tests": ["assert double(3) == 6"]}"#;
    assert!(task.contains(from), "`{from}` is not in the line");
    task.replace("ID", id).replace(from, to)
}

fn load(content: impl AsRef<[u8]>) -> Result<TaskSet, TasksError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks.jsonl");
    fs_err::write(&path, content).unwrap();
    TaskSet::load(&path)
}

fn problems(content: impl AsRef<[u8]>) -> Vec<String> {
    match load(content) {
        Err(TasksError::Invalid(invalid)) => invalid.problems.iter().map(TaskProblem::to_string).collect(),
        other => panic!("found {other:?}, wanted problems"),
    }
}

#[test]
fn tasks_come_in_the_order_of_the_file_and_blank_lines_do_not_count() {
    let content = format!("{}\n\n  \r\n{}", line("a", "", ""), line("b", "", ""));
    let tasks = load(&content).unwrap();
    assert_eq!((tasks.len(), &*tasks[0].id, &*tasks[1].id), (2, "a", "b"));
    assert_eq!(tasks[1].hidden_tests, ["assert double(3) == 6".into()]);
    assert_eq!(tasks.blake3(), blake3::hash(content.as_bytes()).to_hex().as_str());
    assert!(tasks.path().ends_with("tasks.jsonl"));
}

#[test]
fn the_shipped_task_files_load() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes/tasks/python-basics");
    assert!(TaskSet::load(&folder.join("train.jsonl")).unwrap().len() >= 160);
    assert!(TaskSet::load(&folder.join("heldout.jsonl")).unwrap().len() >= 64);
}

#[test]
fn every_kind_of_mistake_is_named_at_its_line() {
    let cases = [
        ("\"prompt\"", "\"promt\"", "unknown key `promt`"),
        ("\"entry_point\": \"double\", ", "", "a signature without the key `entry_point`"),
        (
            "\"hidden_tests\": [\"assert double(3) == 6\"]",
            "\"levels\": []",
            "the key `hidden_tests` is missing",
        ),
        ("\"id\": \"x\"", "\"id\": \"x\", \"id\": \"y\"", "the key `id` is there twice"),
        ("\"x\"", "7", "not a task: invalid type: integer `7`, expected a string"),
        ("\"id\": \"x\"", "\"id\": \"x\", \"language\": \"sql\"", "nothing runs programs in `sql`"),
        ("[\"assert double(3) == 6\"]", "[]", "`hidden_tests` is empty, wanted at least one test"),
        ("[\"assert double(3) == 6\"]", "[\"a\", \" \"]", "test 2 of `hidden_tests` is blank"),
        ("Return twice n.", "", "the prompt is empty"),
        ("\"x\"", "\"\"", "the id is empty"),
        (
            "\"double\"",
            "\"triple\"",
            "the entry point `triple` is not defined by the signature `def double(n):`",
        ),
        (
            "\"def double(n):\\n    return",
            "\"import os\\ndef double(n):\\n    return",
            "the reference does not begin with the signature `def double(n):`",
        ),
        ("}", "},", "not JSON: trailing characters"),
        ("{", "", "not a task: invalid type: string \"id\", expected a JSON object"),
        ("]}", "", "not JSON: EOF while parsing a list"),
    ];
    for (from, to, wanted) in cases {
        let content = format!("{}\n{}\n", line("fine", "", ""), line("x", "", "").replace(from, to));
        assert_eq!(problems(content), [format!("line 2: {wanted}")], "`{from}` became `{to}`");
    }
}

#[test]
fn a_signature_ends_where_the_model_goes_on() {
    let with = |signature: &str| line("x", "def double(n):", signature);
    assert_eq!(
        problems(with("def double(n)")),
        ["line 1: the signature `def double(n)` does not end in a colon"]
    );
    assert_eq!(
        problems(with("def double(n):\\n")),
        ["line 1: the signature `def double(n):\\n` does not end at its last letter"]
    );
    assert!(load(with("import os\\ndef double(n):")).is_ok());
}

#[test]
fn an_id_can_be_used_once() {
    let content = [line("a", "", ""), line("b", "", ""), line("a", "", "")].join("\n");
    assert_eq!(problems(content), ["line 3: the id `a` is also in line 1"]);
}

#[test]
fn a_line_that_is_too_long_is_passed_over() {
    let content = [line("a", "", ""), "x".repeat(3 * MAX_LINE_BYTES), "{".to_owned()].join("\n");
    let found = problems(content);
    assert_eq!(found[0], "line 2: longer than 16777216 bytes, wanted a task");
    assert!(found[1].starts_with("line 3: not JSON"), "{found:?}");
}

#[test]
fn the_longest_line_that_is_allowed_is_read() {
    let padding = MAX_LINE_BYTES - line("a", "", "").len();
    let content = format!("{}{}\n{}", line("a", "", ""), " ".repeat(padding), line("b", "", ""));
    let tasks = load(&content).unwrap();
    assert_eq!((tasks.len(), tasks.blake3()), (2, blake3::hash(content.as_bytes()).to_hex().as_str()));
}

#[test]
fn bytes_that_are_not_text_are_named() {
    assert_eq!(problems(b"{\"id\": \"\xff\"}"), ["line 1: byte 9 is not UTF-8"]);
}

#[test]
fn only_the_first_problems_are_kept_and_all_are_counted() {
    let error = load("{\n".repeat(57)).unwrap_err();
    assert!(error.to_string().ends_with("has 57 problems; these are the first 20"), "{error}");
}

#[test]
fn a_missing_and_an_empty_file_are_told_apart() {
    assert!(matches!(TaskSet::load(Path::new("/nowhere/tasks.jsonl")), Err(TasksError::Read { .. })));
    assert!(matches!(TaskSet::load(Path::new("/")), Err(TasksError::Read { .. })));
    assert!(matches!(load(""), Err(TasksError::Empty { .. })));
    assert!(matches!(load("\n\n"), Err(TasksError::Empty { .. })));
}

#[test]
fn the_report_shows_the_line_and_the_way_out() {
    let content = format!("{}\n{}\n", line("a", "", ""), line("b", "\"prompt\"", "\"promt\""));
    let mut reading = Reading::new(Path::new("tasks.jsonl"));
    reading.read(content.as_bytes()).unwrap();
    let error = reading.finish().unwrap_err();
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    handler.render_report(&mut text, &error).unwrap();
    insta::assert_snapshot!(text, @r#"
    tasks::invalid

      × the task file `tasks.jsonl` has a problem

    Error: 
      × line 2: unknown key `promt`
       ╭─[tasks.jsonl:2:13]
     2 │ {"id": "b", "promt": "Return twice n.", "signature": "def d
       ·             ───────
       ╰────
      help: did you mean `prompt`? the keys of a task are `id`, `prompt`, `signature`, `entry_point`,
            `reference`, `public_tests`, `hidden_tests`, `language`, `expected`, `before`, `levels`,
            `tested`, `origin`, `answer`
    "#);
}

proptest! {
    #[test]
    fn nothing_that_a_file_can_hold_makes_loading_panic(content in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = load(content);
    }

    #[test]
    fn cutting_a_line_short_is_a_problem_of_that_line(end in 1usize..200) {
        let whole = line("a", "", "");
        prop_assert!(problems(&whole[..end])[0].starts_with("line 1: "));
    }
}
