//! Jobs on their way: queue, duplicates, retries, and verdicts that are known.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rltrain_executor::{
    Executor, ExecutorConfig, InfraError, Job, Limits, ModuleCache, Outcome, RuntimeFiles, StartOptions,
    Submission, TaskKey, TimeoutMs, WorkerCommand,
};

use super::{job, short_job, start};

fn start_with(config: &ExecutorConfig, worker: WorkerCommand) -> Executor {
    let files = RuntimeFiles::in_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.deps"));
    let options = StartOptions { cache: ModuleCache::of_user().unwrap(), worker };
    Executor::start_with(config, &files, &options, &mut |_| {}).unwrap()
}

fn one_worker() -> ExecutorConfig {
    ExecutorConfig { workers: Some(NonZeroUsize::MIN), ..ExecutorConfig::default() }
}

fn real() -> WorkerCommand {
    WorkerCommand { program: env!("CARGO_BIN_EXE_rltrain-exec-worker").into(), arguments: Vec::new() }
}

/// A worker of which those whose numbers are in `failing` fail in this way.
fn failing(folder: &Path, way: &str, failing: &str) -> WorkerCommand {
    let relay = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox/faulty_worker.py");
    let arguments = [relay.into(), real().program.into(), folder.into(), way.into(), failing.into()].to_vec();
    let known = ["/usr/bin/python3", "/usr/local/bin/python3"];
    let python = known.iter().find(|path| Path::new(path).exists()).unwrap_or(&"python3");
    WorkerCommand { program: python.into(), arguments }
}

/// Kills the processes that have this argument.
fn kill_those_named(argument: &str) {
    for entry in std::fs::read_dir("/proc").unwrap() {
        let process = entry.unwrap();
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        if command.split(|byte| *byte == 0).any(|part| part == argument.as_bytes()) {
            let id = process.file_name();
            assert!(std::process::Command::new("kill").arg("-9").arg(id).status().unwrap().success());
        }
    }
}

/// A job that is different from all others and quick.
fn quick(number: usize) -> Job {
    job(&format!("def f():\n    return {number}\n"), &[&format!("assert f() == {number}")])
}

/// A job that takes some tenths of a second and is different from all others.
fn slow(number: usize) -> Job {
    let mut job = job(&format!("# {number}\nwhile True: pass"), &["assert True"]);
    job.limits.fuel = 3_000_000_000_u64.try_into().unwrap();
    job
}

#[test]
fn a_failure_of_a_living_worker_is_retried_on_a_fresh_one() {
    let folder = tempfile::tempdir().unwrap();
    let executor = start_with(&one_worker(), failing(folder.path(), "fault", "0"));
    assert!(executor.submit(quick(1)).wait().unwrap().all_passed());
    assert!(executor.submit(quick(2)).wait().unwrap().all_passed());
    let statistics = executor.statistics();
    assert_eq!((statistics.workers_lost, statistics.retries, statistics.failures), (1, 1, 0));
}

#[test]
fn a_failure_on_two_workers_is_reported_as_what_it_is_and_the_next_job_gets_a_fresh_worker() {
    let folder = tempfile::tempdir().unwrap();
    let executor = start_with(&one_worker(), failing(folder.path(), "fault", "0,1"));
    let error = executor.submit(quick(1)).wait().unwrap_err();
    assert!(matches!(&error, InfraError::Sandbox(why) if why == "no memory in worker 1"), "{error}");
    assert!(executor.submit(quick(1)).wait().unwrap().all_passed());
    let statistics = executor.statistics();
    assert_eq!((statistics.workers_lost, statistics.retries, statistics.failures), (2, 1, 1));
}

#[test]
fn a_worker_that_cannot_be_replaced_is_reported_and_tried_again_for_the_next_job() {
    let folder = tempfile::tempdir().unwrap();
    // The first is killed with its job; the second, in its place, does not start.
    let executor = start_with(&one_worker(), failing(folder.path(), "refuse", "1"));
    let pending = executor.submit(slow(1));
    kill_those_named(folder.path().to_str().unwrap());
    let error = pending.wait().unwrap_err();
    assert!(matches!(error, InfraError::WorkerNotReady(_)), "{error}");
    assert!(executor.submit(quick(1)).wait().unwrap().all_passed());
}

#[test]
fn who_hands_in_more_than_there_is_room_for_waits_and_loses_nothing() {
    let config = ExecutorConfig { most_waiting: NonZeroUsize::new(2), ..one_worker() };
    let executor = start_with(&config, real());
    let handed_in = AtomicUsize::new(0);
    let mut slowest = slow(0);
    slowest.limits.fuel = 20_000_000_000_u64.try_into().unwrap();
    let first = executor.submit(slowest.clone());
    while executor.statistics().running == 0 {
        std::thread::yield_now();
    }
    std::thread::scope(|scope| {
        let submitting = scope.spawn(|| {
            let submit = |number| {
                let pending = executor.submit(quick(number));
                handed_in.fetch_add(1, Ordering::SeqCst);
                pending
            };
            (0..20).map(submit).collect::<Vec<_>>()
        });
        // A duplicate of what is under way needs no room.
        while handed_in.load(Ordering::SeqCst) < 2 {
            std::thread::yield_now();
        }
        let duplicate = executor.submit(slowest);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!((handed_in.load(Ordering::SeqCst), executor.statistics().waiting), (2, 2));
        assert_eq!(duplicate.wait().unwrap(), first.wait().unwrap());
        let pending = submitting.join().unwrap();
        assert!(pending.into_iter().all(|pending| pending.wait().unwrap().all_passed()));
    });
}

#[test]
fn rollouts_hand_in_and_wait_without_threads_of_their_own() {
    let config = ExecutorConfig { most_waiting: NonZeroUsize::new(3), ..one_worker() };
    let executor = start_with(&config, real());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        // One thread: whoever blocked it would block all, also the one that is to take its place.
        let rollout = |number: usize| {
            let executor = &executor;
            async move { executor.submit_async(quick(number)).await.verdict().await.unwrap() }
        };
        let first = executor.submit_async(slow(0)).await;
        let waiting = [executor.submit_async(quick(100)).await, executor.submit_async(quick(101)).await];
        let third = executor.submit_async(quick(102)).await;
        // Full now, unless the slow one is done already: what gives up waiting has not been handed in.
        let misses = executor.statistics().misses;
        let gave_up =
            tokio::time::timeout(Duration::from_millis(10), executor.submit_async(quick(103))).await;
        assert_eq!(executor.statistics().misses, misses + u64::from(gave_up.is_ok()));
        let verdicts = tokio::join!(rollout(0), rollout(1), rollout(2), rollout(3), rollout(4), rollout(5));
        assert!(verdicts.0.all_passed() && verdicts.5.all_passed());
        assert_eq!(first.verdict().await.unwrap().load.outcome, Outcome::OutOfFuel);
        for pending in waiting.into_iter().chain([third]) {
            assert!(pending.verdict().await.unwrap().all_passed());
        }
    });
}

#[test]
fn a_job_that_nobody_waits_for_any_more_is_not_run_and_one_that_somebody_waits_for_is() {
    let executor = start_with(&one_worker(), real());
    let first = executor.submit(slow(0));
    while executor.statistics().running == 0 {
        std::thread::yield_now();
    }
    let (forgone, shared) = (executor.submit(slow(1)), executor.submit(slow(2)));
    let other = executor.submit(slow(2));
    assert_eq!(executor.statistics().waiting, 2);
    drop(forgone);
    drop(shared);
    let statistics = executor.statistics();
    assert_eq!((statistics.waiting, statistics.cancelled, statistics.shared), (1, 1, 1));
    assert_eq!(other.wait().unwrap().load.outcome, Outcome::OutOfFuel);
    // One that runs goes on, and its verdict is there for the next.
    drop(first);
    assert_eq!(executor.submit(slow(0)).wait().unwrap().load.outcome, Outcome::OutOfFuel);
    // One that was forgone can be handed in again.
    assert_eq!(executor.submit(slow(1)).wait().unwrap().load.outcome, Outcome::OutOfFuel);
    let statistics = executor.statistics();
    assert_eq!((statistics.misses, statistics.memory_hits, statistics.running), (4, 1, 0));
}

#[test]
fn a_program_that_hangs_keeps_one_worker_busy_and_holds_up_nobody() {
    let executor = start(2, "hanging");
    let mut endless = short_job("while True: pass", &["assert True"]);
    endless.limits.fuel = 10_000_000_000_000.try_into().unwrap();
    endless.limits.timeout_ms = 600_000.try_into().unwrap();
    let hanging = executor.submit(endless);
    let pending: Vec<_> = (0..50).map(|number| executor.submit(quick(number))).collect();
    assert!(pending.into_iter().all(|pending| pending.wait().unwrap().all_passed()));
    assert_eq!(executor.statistics().running, 1);
    drop(executor);
    assert!(matches!(hanging.wait(), Err(InfraError::Stopped)));
}

#[test]
fn many_slow_jobs_of_one_task_do_not_hold_up_those_of_another() {
    let executor = start_with(&one_worker(), real());
    // By its tests, or by a name: both are a task.
    for named in [false, true] {
        let of = |task: &str, job: Job| match named {
            true => Submission::of_task(job, TaskKey::named(task)),
            false => job.into(),
        };
        let base = 100 * usize::from(named);
        let slow: Vec<_> = (0..8).map(|number| executor.submit(of("slow", slow(base + number)))).collect();
        let program = |number| job(&format!("x = {}", base + number), &["assert x >= 0"]);
        let quick: Vec<_> = (0..20).map(|number| executor.submit(of("quick", program(number)))).collect();
        for pending in quick {
            assert!(pending.wait().unwrap().all_passed());
        }
        let waiting = executor.statistics().waiting;
        assert!(waiting >= 4, "only {waiting} of the slow jobs were left");
        drop(slow);
    }
}

#[test]
fn what_waits_for_room_when_the_executor_stops_is_told_so() {
    let config = ExecutorConfig { most_waiting: Some(NonZeroUsize::MIN), ..one_worker() };
    let executor = std::sync::Arc::new(start_with(&config, real()));
    let first = executor.submit(slow(0));
    while executor.statistics().running == 0 {
        std::thread::yield_now();
    }
    let second = executor.submit(slow(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let third = runtime.block_on(async {
        let third = std::pin::pin!(executor.submit_async(slow(2)));
        tokio::time::timeout(Duration::from_millis(1), third).await.ok()
    });
    assert!(third.is_none());
    drop(executor);
    for pending in [first, second] {
        assert!(matches!(pending.wait(), Err(InfraError::Stopped)));
    }
}

#[test]
fn verdicts_on_the_disk_are_the_same_and_are_found_by_the_next_executor() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("verdicts");
    let config = ExecutorConfig { verdict_cache: Some(folder.clone()), ..one_worker() };
    let mut hangs = short_job("# hangs\nwhile True: pass", &["assert True"]);
    hangs.limits.timeout_ms = 20.try_into().unwrap();
    hangs.limits.fuel = 10_000_000_000_000.try_into().unwrap();
    let jobs = || [quick(1), job("print('out')\n1 / 0", &["assert True"]), hangs.clone()];
    let judge_all = || {
        let executor = start_with(&config, real());
        let verdicts = jobs().map(|job| executor.submit(job).wait().unwrap());
        (verdicts, executor.statistics())
    };
    let (first, cold) = judge_all();
    let (second, warm) = judge_all();
    assert_eq!(first[..2], second[..2]);
    assert_eq!(first[2].load.outcome, Outcome::OutOfTime);
    assert_eq!((cold.disk_hits, cold.misses), (0, 3));
    // What processor time has decided is found out again.
    assert_eq!((warm.disk_hits, warm.misses), (2, 1));
    // Other limits are another job.
    let executor = start_with(&config, real());
    let mut other = quick(1);
    other.limits.memory_mib = 300.try_into().unwrap();
    let before = executor.statistics().disk_hits;
    assert!(executor.submit(other).wait().unwrap().all_passed());
    assert_eq!(executor.statistics().disk_hits, before);
    // A hit on the disk is one in memory from then on.
    for _ in 0..2 {
        assert!(executor.submit(quick(1)).wait().unwrap().all_passed());
    }
    let statistics = executor.statistics();
    assert_eq!((statistics.disk_hits, statistics.memory_hits), (1, 1));
}

#[test]
fn a_duplicate_is_answered_at_once_from_memory() {
    let executor = start_with(&one_worker(), real());
    let verdict = executor.submit(slow(7)).wait().unwrap();
    let begun = Instant::now();
    assert_eq!(executor.submit(slow(7)).wait().unwrap(), verdict);
    assert!(begun.elapsed() < Duration::from_millis(100));
    let statistics = executor.statistics();
    assert_eq!((statistics.submitted, statistics.memory_hits, statistics.disk_hits), (2, 1, 0));
}

/// A program that uses up its processor time, and one whose verdict comes at once.
#[test]
fn who_waits_impatiently_is_called_until_the_verdict_comes() {
    let limits = Limits { timeout_ms: TimeoutMs::try_from(1000).unwrap(), ..Limits::default() };
    let executor = start(1, "impatient");
    let mut calls = 0;
    let endless = Job::new("while True: pass".to_owned(), ["assert True"], limits);
    let verdict =
        executor.submit(endless).wait_impatiently(Duration::from_millis(100), || calls += 1).unwrap();
    assert!(!verdict.all_passed() && calls > 1, "{calls} calls");
    let quick = executor.submit(Job::new("x = 1".to_owned(), ["assert x == 1"], limits));
    let verdict = quick.wait_impatiently(Duration::from_secs(600), || panic!("not so soon")).unwrap();
    assert!(verdict.all_passed());
}
