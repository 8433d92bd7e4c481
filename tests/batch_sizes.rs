//! What is sampled does not depend on how many samples are decoded together, through the whole program.

use std::path::Path;

use serde_json::Value;

use crate::rltrain::rltrain;
use crate::tiny::{self, edit};

/// One step of 66 samples in batches of at most `size`, on `threads` threads: samples and metrics.
fn step(size: usize, threads: usize) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    tiny::make(folder);
    edit(folder, "steps = 4\n", "steps = 1\n");
    let sampled = "group_size = 22\nmax_tokens = 20\n";
    edit(folder, "group_size = 6\nmax_tokens = 48\n", sampled);
    edit(folder, "max_batch = 12\n", &format!("max_batch = {size}\n"));
    edit(folder, "samples = 4\nk = [1, 4]\n", "samples = 1\nk = [1]\n");
    let output =
        rltrain(folder).arg("recipe.toml").env("OMP_NUM_THREADS", threads.to_string()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| std::fs::read_to_string(Path::new(folder).join("run").join(name)).unwrap();
    (read("samples/step-00000001.jsonl"), read("metrics.jsonl"))
}

/// The metrics have sums over every recorded logprob, so that they would show a bit that differs. On AMD processors oneMKL's fast
/// kernels round a row by its place among the others (docs/performance.md): there, metrics may differ by rounding.
#[test]
fn batch_sizes_1_7_and_64_give_the_same_tokens_and_the_same_logprobs_on_one_thread() {
    let (samples, metrics) = step(64, 1);
    assert_eq!(samples.lines().count(), 66);
    let is_amd = std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("AuthenticAMD"));
    for size in [1, 7] {
        let (other_samples, other_metrics) = step(size, 1);
        assert_eq!(other_samples, samples, "batches of {size}");
        if is_amd {
            assert_near(&other_metrics, &metrics);
        } else {
            assert_eq!(other_metrics, metrics, "batches of {size}");
        }
    }
}

/// The same keys, and numbers that differ by rounding alone.
#[track_caller]
fn assert_near(one: &str, other: &str) {
    let read = |text: &str| serde_json::from_str::<serde_json::Map<String, Value>>(text.trim()).unwrap();
    let (one, other) = (read(one), read(other));
    assert!(one.keys().eq(other.keys()));
    for (key, one) in &one {
        match (one.as_f64(), other[key].as_f64()) {
            (Some(one), Some(other)) => {
                assert!((one - other).abs() <= 1e-5 * one.abs().max(1.0), "{key}: {one} and {other}");
            }
            _ => assert_eq!(*one, other[key], "{key}"),
        }
    }
}

/// With two threads oneMKL may cut long inner dimensions by the number of rows, and then logprobs differ in their last bits and
/// a draw on a border can move (docs/performance.md). This model's are too short for that.
#[test]
fn batch_sizes_1_7_and_64_give_the_same_tokens_on_two_threads() {
    let (samples, _) = step(64, 2);
    for size in [1, 7] {
        assert_eq!(step(size, 2).0, samples, "batches of {size}");
    }
}
