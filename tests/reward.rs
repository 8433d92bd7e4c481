//! `rltrain reward …`: a new reward works as it is written, and is a curve of the run that it is added to.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::rltrain::expect;
use crate::tiny;

#[test]
fn a_new_reward_passes_its_own_test_and_is_not_written_over() {
    for (kind, table) in [
        ("process", "[rewards.process.short_lines]\ncommand = [\"python3\", \"short_lines.py\"]\n"),
        ("http", "[rewards.http.short_lines]\nurl = \"http://127.0.0.1:8642/\"\n"),
        ("wasm", "[rewards.wasm.short_lines]\ncomponent = \"short_lines/short_lines.wasm\"\n"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let new = ["reward", "new", "short_lines", "--kind", kind];
        let (out, _) = expect(folder.path(), &new, 0);
        assert!(out.contains("wrote short_lines/short_lines.py\n") && out.contains(table), "{out}");
        let tests = Command::new("python3")
            .args(["-m", "unittest"])
            .current_dir(folder.path().join("short_lines"))
            .output()
            .unwrap();
        assert!(tests.status.success(), "{}", String::from_utf8_lossy(&tests.stderr));
        let (_, error) = expect(folder.path(), &new, 2);
        assert!(
            error.contains("`short_lines` is there already; choose another name, or remove it"),
            "{error}"
        );
    }
}

/// The table at the end of what `rltrain reward new` prints.
fn table(printed: &str) -> &str {
    &printed[printed.find("[rewards.").unwrap()..]
}

/// The guide of `docs/rewards.md`, from nothing to a curve, on a model that is quick.
#[test]
fn a_new_reward_is_tried_and_then_a_curve_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    tiny::make(folder);
    let (printed, _) = expect(folder, &["reward", "new", "short_lines"], 0);
    let recipe = folder.join("recipe.toml");
    let text = std::fs::read_to_string(&recipe).unwrap();
    std::fs::write(&recipe, format!("{text}\n{}", table(&printed))).unwrap();
    expect(folder, &["check", "recipe.toml"], 0);

    let task = first_task(&folder.join("train.jsonl"));
    let program = task["reference"].as_str().unwrap();
    std::fs::write(folder.join("program.py"), program).unwrap();
    let id = task["id"].as_str().unwrap();
    let (tried, _) =
        expect(folder, &["reward", "try", "recipe.toml", "--task", id, "--program", "program.py"], 0);
    let row = tried.lines().find(|line| line.starts_with("short_lines ")).unwrap();
    let lines = program.lines().filter(|line| !line.trim().is_empty()).count();
    let wanted = format!("{:.4}", 1.0 - (lines as f64 - 1.0) / 19.0);
    assert_eq!(row.split_whitespace().nth(1), Some(wanted.as_str()), "{tried}");

    expect(folder, &["recipe.toml"], 0);
    let metrics = std::fs::read_to_string(folder.join("run/metrics.jsonl")).unwrap();
    let curve: Vec<f64> = metrics
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|step| step["rewards/short_lines/mean"].as_f64().unwrap())
        .collect();
    assert_eq!(curve.len(), 4);
    assert!(curve.iter().all(|mean| (-1.0..=1.0).contains(mean)) && curve.iter().any(|mean| *mean != 0.0));
}

/// A reward whose program dies at once stops the run and says why.
#[test]
fn a_reward_that_never_answers_ends_the_run_with_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    tiny::make(folder);
    let recipe = folder.join("recipe.toml");
    let text = std::fs::read_to_string(&recipe).unwrap();
    let broken = "[rewards.http.away]\nurl = \"http://127.0.0.1:9/\"\nretries = 0\n";
    std::fs::write(&recipe, format!("{text}\n{broken}")).unwrap();
    let (_, error) = expect(folder, &["recipe.toml"], 1);
    let said = error.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    assert!(said.contains("`away`") && said.contains("refused"), "{error}");
}

fn first_task(file: &Path) -> Value {
    let tasks = std::fs::read_to_string(file).unwrap();
    serde_json::from_str(tasks.lines().next().unwrap()).unwrap()
}

#[test]
fn a_name_that_is_no_module_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_, error) = expect(folder.path(), &["reward", "new", "../short"], 2);
    assert!(error.contains("`../short` cannot name a reward"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
