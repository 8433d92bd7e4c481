//! The telemetry as a whole.

use std::collections::BTreeSet;

use super::*;

fn numbers(step: u64) -> (Metrics, Metrics) {
    let (mut metrics, mut timings) = (Metrics::new(), Metrics::new());
    metrics.push("reward", step as f64 / 3.0);
    timings.push("time/rollout_seconds", 2.0);
    timings.push("time/update_seconds", 1.0);
    (metrics, timings)
}

fn train(telemetry: &mut Telemetry, steps: std::ops::RangeInclusive<u64>) {
    for step in steps {
        let (metrics, timings) = numbers(step);
        telemetry.log(step, &metrics, &timings, Vec::new()).unwrap();
    }
}

fn open(run: &Path, step: u64) -> Telemetry {
    open_after(run, Past { step, ..Past::default() })
}

fn open_after(run: &Path, past: Past) -> Telemetry {
    Telemetry::open(run, past, 8, ProgressMode::Hidden).unwrap()
}

fn results() -> Metrics {
    let mut results = Metrics::new();
    results.push("eval/pass@1", 0.5);
    results
}

/// The steps of a curve in TensorBoard.
fn shown(run: &Path, tag: &str) -> Vec<u64> {
    let curves = read_curves(&run.join(TENSORBOARD_FOLDER)).unwrap();
    curves.get(tag).map_or(Vec::new(), |points| points.iter().map(|point| point.step).collect())
}

#[test]
fn a_resumed_run_writes_the_same_metrics_and_keeps_its_totals() {
    let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(&mut open(whole.path(), 0), 1..=8);

    let mut first = open(cut.path(), 0);
    first.log_evaluation(0, &results(), Duration::from_secs(5)).unwrap();
    train(&mut first, 1..=6);
    first.flush().unwrap();
    drop(first);
    let evaluations = vec![Line { step: 0, metrics: results() }];
    let mut second = open_after(cut.path(), Past { step: 4, evaluations, ..Past::default() });
    assert_eq!(second.history().rewards.len(), 4);
    train(&mut second, 5..=8);

    let bytes = |folder: &tempfile::TempDir| std::fs::read(folder.path().join(METRICS_FILE)).unwrap();
    assert_eq!(bytes(&whole), bytes(&cut));
    let History { rewards, times, .. } = second.history();
    assert_eq!(rewards.len(), 8);
    assert_eq!((times.rollout, times.update, times.evaluation), (16.0, 8.0, 5.0));
    let timings = read_lines(&cut.path().join(TIMINGS_FILE)).unwrap();
    assert_eq!(timings.iter().map(|line| line.step).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(timings.iter().all(|line| line.metrics.get(WALL_SECONDS).is_some()));
}

/// An evaluation is kept after it was told of: killed in between, it is done again. Killed later, the thread of TensorBoard may
/// have written nothing of it yet.
#[test]
fn an_evaluation_is_told_of_once_whether_it_was_finished_or_not() {
    for finished in [false, true] {
        let run = tempfile::tempdir().unwrap();
        let mut first = open(run.path(), 0);
        train(&mut first, 1..=2);
        first.log_evaluation(2, &results(), Duration::from_secs(5)).unwrap();
        drop(first);
        if finished {
            std::fs::remove_dir_all(run.path().join(TENSORBOARD_FOLDER)).unwrap();
        }
        let evaluations = if finished { vec![Line { step: 2, metrics: results() }] } else { Vec::new() };
        let mut second = open_after(run.path(), Past { step: 2, evaluations, ..Past::default() });
        if !finished {
            second.log_evaluation(2, &results(), Duration::from_secs(5)).unwrap();
        }
        train(&mut second, 3..=3);
        drop(second);
        let lines = read_lines(&run.path().join(TIMINGS_FILE)).unwrap();
        assert_eq!(lines.iter().map(|line| line.step).collect::<Vec<_>>(), [1, 2, 2, 3]);
        assert_eq!(shown(run.path(), "eval/pass@1"), [2]);
        assert_eq!(shown(run.path(), EVALUATION_SECONDS), [2]);
        for tag in ["reward", "time/update_seconds", WALL_SECONDS] {
            assert_eq!(shown(run.path(), tag), [1, 2, 3], "{tag}");
        }
    }
}

/// Names of metrics in the code: the string that follows `push(`.
fn pushed_names(source: &str) -> Vec<&str> {
    let name = |call: &'static str| {
        source.split(call).skip(1).filter_map(|rest| {
            let rest = rest.trim_start();
            let rest = rest.strip_prefix("&format!(").unwrap_or(rest);
            rest.strip_prefix('"')?.split('"').next()
        })
    };
    name("metrics.push(").chain(name("timings.push(")).collect()
}

#[test]
fn every_metric_is_in_the_glossary() {
    let trainer = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(trainer.join(path)).unwrap();
    let sources = ["src/step_metrics.rs", "src/session/saving.rs", "src/eval/evaluations.rs"].map(read);
    let names = sources.iter().flat_map(|source| pushed_names(source));
    let names = names.chain([EVALUATION_SECONDS, WALL_SECONDS]).map(|name| name.replace("{}", "{k}"));
    // The stages of a reward have names of their own.
    let stages = |name: String| ["", "shaped/", "effective/"].map(|stage| name.replace("{stage}", stage));
    let names: BTreeSet<String> = names.flat_map(stages).collect();
    assert!(names.len() >= 29, "found only {names:?}");

    let glossary = read("../docs/metrics.md");
    let missing: Vec<_> = names.iter().filter(|name| !glossary.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/metrics.md does not define {missing:?}");
}
