use std::time::Instant;

use rltrain_executor::{Outcome, Verdict};

use super::*;
use crate::tests::{task, verdict};

/// A Python plug-in: says hello, then runs `body` for each batch, which finds it in `batch`.
fn plug_in(body: &str) -> ProcessConfig {
    let script = format!(
        "import json, os, sys, time\n\
         sys.stdin.readline()\n\
         print(json.dumps({{'protocol': 'rltrain-reward', 'version': 1}}), flush=True)\n\
         def answer(batch, scores):\n    print(json.dumps({{'id': batch['id'], 'scores': scores}}), flush=True)\n\
         for line in sys.stdin:\n    batch = json.loads(line)\n    n = len(batch['attempts'])\n    {body}\n"
    );
    raw(&script)
}

fn raw(script: &str) -> ProcessConfig {
    ProcessConfig {
        command: ["python3", "-c", script].map(str::to_owned).to_vec(),
        timeout_ms: 2000,
        start_timeout_ms: 10_000,
        retries: 1,
        ..ProcessConfig::default()
    }
}

/// What the plug-in says of attempts with these programs.
fn score(config: &ProcessConfig, programs: &[&str]) -> Result<Vec<Option<f64>>, PlugInError> {
    score_with(&Process::new("judge", config).unwrap(), programs)
}

fn score_with(process: &Process, programs: &[&str]) -> Result<Vec<Option<f64>>, PlugInError> {
    let (task, verdict): (_, Verdict) = (task(), verdict(vec![Outcome::Passed]));
    let attempts: Vec<_> =
        programs.iter().map(|program| Attempt::new(&task, "", program, &verdict)).collect();
    process.score(&attempts).into_iter().collect()
}

const LENGTHS: &str =
    "answer(batch, [min(1, len(a['program']) / 10) if a['program'] else None for a in batch['attempts']])";

#[test]
fn scores_come_back_in_order_whatever_the_batches() {
    for (batch, copies) in [(1, 1), (2, 3), (256, 2)] {
        let config = ProcessConfig { batch, copies, ..plug_in(LENGTHS) };
        let scores = score(&config, &["a", "bb", "", "dddd", "eeeee"]).unwrap();
        assert_eq!(scores, [Some(0.1), Some(0.2), None, Some(0.4), Some(0.5)], "batches of {batch}");
    }
}

#[test]
fn a_plug_in_sees_task_texts_and_verdict() {
    let body = "a = batch['attempts'][0]; v = a['verdict']; \
                answer(batch, [1.0 if (a['task']['id'], v['passed'], v['total'], v['tests'][0]['outcome']) == ('task', 1, 1, 'passed') else 0.0])";
    assert_eq!(score(&plug_in(body), &["x"]).unwrap(), [Some(1.0)]);
}

#[test]
fn what_a_bad_plug_in_does_is_named_and_is_no_score() {
    let message = |config: &ProcessConfig| score(config, &["a", "b"]).unwrap_err().to_string();
    assert_eq!(message(&plug_in("answer(batch, [0.5])")), "the plug-in gave 1 scores for 2 attempts");
    assert_eq!(
        message(&plug_in("answer(batch, [0, 1.5])")),
        "the plug-in scored attempt 1 of the batch with 1.5, wanted null or a number from -1 to 1"
    );
    for garbage in
        ["print('hello', flush=True)", "answer(batch, [0, float('nan')])", "answer({'id': 99}, [0, 0])"]
    {
        let error = score(&plug_in(garbage), &["a", "b"]).unwrap_err();
        assert!(matches!(error, PlugInError::Garbage { .. }), "{garbage}: {error}");
    }
    let error = message(&plug_in("print('no such model', file=sys.stderr, flush=True); sys.exit(3)"));
    assert_eq!(error, "the plug-in ended before it answered; it wrote: no such model");
    let error = message(&plug_in("print(json.dumps({'id': batch['id'], 'error': 'no memory'}), flush=True)"));
    assert_eq!(error, "the plug-in reports: `no memory`");
    let error =
        message(&raw("print('{\"protocol\": \"rltrain-reward\", \"version\": 7}', flush=True); input()"));
    assert_eq!(error, "the plug-in speaks version 7 of the protocol, wanted 1");
    let missing = ProcessConfig { command: vec!["/no/such/program".to_owned()], ..plug_in("") };
    assert!(message(&missing).starts_with("cannot start `/no/such/program`: "));
}

#[test]
fn a_plug_in_that_hangs_or_does_not_read_is_killed() {
    let begin = Instant::now();
    for body in ["time.sleep(60)", "os.close(0); time.sleep(60)"] {
        let config = ProcessConfig { timeout_ms: 200, ..plug_in(body) };
        let error = score(&config, &["a"]).unwrap_err();
        assert!(matches!(error, PlugInError::Hung(_)), "{error}");
    }
    // One that never reads: the line is longer than a pipe holds.
    let deaf = ProcessConfig {
        timeout_ms: 200,
        ..raw(
            "import time; print('{\"protocol\": \"rltrain-reward\", \"version\": 1}', flush=True); time.sleep(60)",
        )
    };
    let error = score(&deaf, &["a".repeat(1 << 20).as_str()]).unwrap_err();
    assert!(matches!(error, PlugInError::Hung(_)), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_plug_in_that_fails_once_is_started_anew_and_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let body = format!("os.path.exists('once') or (open('once', 'w'), os._exit(1)); {LENGTHS}");
    let config = ProcessConfig { directory: folder.path().to_owned(), ..plug_in(&body) };
    let process = Process::new("judge", &config).unwrap();
    assert_eq!(score_with(&process, &["a"]).unwrap(), [Some(0.1)]);
    assert_eq!(score_with(&process, &["bb"]).unwrap(), [Some(0.2)]);
    std::fs::remove_file(folder.path().join("once")).unwrap();
    let impatient = Process::new("judge", &ProcessConfig { retries: 0, ..config }).unwrap();
    assert!(matches!(score_with(&impatient, &["a"]), Err(PlugInError::Ended { .. })));
    assert_eq!(score_with(&impatient, &["a"]).unwrap(), [Some(0.1)]);
}

#[test]
fn a_table_that_cannot_work_is_refused() {
    let good = plug_in("");
    let refused = |config: ProcessConfig| Process::new("judge", &config).err().unwrap();
    assert!(refused(ProcessConfig::default()).contains("`command` is empty"));
    assert!(refused(ProcessConfig { copies: 0, ..good.clone() }).contains("wanted from 1 to 64"));
    assert!(refused(ProcessConfig { batch: 0, ..good.clone() }).contains("`batch` is 0"));
    assert!(refused(ProcessConfig { least: 2.0, ..good.clone() }).contains("in this order"));
    assert!(refused(ProcessConfig { greatest: f64::NAN, ..good }).contains("in this order"));
}
