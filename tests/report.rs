//! A run as one HTML file.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::rltrain::{expect, rltrain};
use crate::tiny;

/// What the page holds: everything of the run, compressed.
fn content(page: &str) -> Value {
    let data = page.split_once("type=\"application/gzip;base64\">").unwrap().1.split_once('<').unwrap().0;
    let zipped = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, data).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&zipped[..]).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_report_holds_every_step_evaluation_and_program_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    tiny::make(here);
    expect(here, &["recipe.toml", "--set", "steps=2"], 0);
    watched_while(here, || {
        expect(here, &["recipe.toml"], 0);
    });
    let (out, _) = expect(here, &["report", "run"], 0);
    assert_eq!(out.trim(), "run/report.html");
    let page = std::fs::read_to_string(here.join("run/report.html")).unwrap();
    // Nothing is fetched: the only addresses are in comments and in names of formats.
    assert!(!page.contains("src=\"http") && !page.contains("href=\"http"), "the page wants the network");
    let content = content(&page);
    assert_eq!(content["metrics"]["steps"], serde_json::json!([1, 2, 3, 4]));
    assert_eq!(content["evaluations"].as_array().unwrap().len(), 3);
    let programs = &content["programs"];
    assert_eq!((&programs["all"], programs["attempts"].as_array().unwrap().len()), (&Value::from(72), 72));
    let journal = std::fs::read_to_string(here.join("run/samples/step-00000001.jsonl")).unwrap();
    let first: Value = serde_json::from_str(journal.lines().next().unwrap()).unwrap();
    let shown = &programs["attempts"][0];
    assert_eq!(programs["texts"][shown["p"].as_u64().unwrap() as usize], first["program"]);
    for counts in content["outcomes"]["counts"].as_array().unwrap() {
        assert_eq!(counts.as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum::<u64>(), 18);
    }
    let judged = |task: &Value| -> u64 {
        task["attempts"].as_array().unwrap().iter().map(|share| share[1].as_u64().unwrap()).sum()
    };
    assert_eq!(content["tasks"].as_array().unwrap().iter().map(judged).sum::<u64>(), 72);

    look_at(&here.join("run/report.html"));

    let (_, error) = expect(here, &["report", "model"], 2);
    assert!(error.contains("is not the folder of a run"), "{error}");
}

/// A page that is watched is written again when steps are done, and loads itself anew.
fn watched_while(here: &Path, go_on: impl FnOnce()) {
    let steps_shown = || {
        let page = std::fs::read_to_string(here.join("watched.html")).ok()?;
        assert!(page.contains("data-refresh=\"10\""), "the page does not load itself anew");
        Some(content(&page)["metrics"]["steps"].as_array().unwrap().len())
    };
    let wait_for = |steps| {
        let start = Instant::now();
        while steps_shown() != Some(steps) {
            assert!(start.elapsed() < Duration::from_secs(60), "{:?} steps, and not {steps}", steps_shown());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let arguments = ["report", "run", "--output", "watched.html", "--watch"];
    let mut watching = rltrain(here).args(arguments).stdout(Stdio::null()).spawn().unwrap();
    wait_for(2);
    go_on();
    wait_for(4);
    assert!(watching.try_wait().unwrap().is_none(), "it stopped to watch");
    watching.kill().unwrap();
    watching.wait().unwrap();
}

/// Opens the page in a real browser, where there is one.
fn look_at(report: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    if !Path::new("/usr/bin/chromium").exists() || !root.join(".deps/playwright/installed").exists() {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: wants Debian's package `chromium`, and `make .deps/playwright/installed`"
        );
        return;
    }
    let output =
        Command::new("node").arg(root.join("scripts/check_report.mjs")).arg(report).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
