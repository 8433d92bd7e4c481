//! How an executor serves: start-up, memory of its workers, latency.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rltrain_executor::{Executor, Job};

use super::resources::{Resources, workers};
use super::{Failure, cores, start};

/// Starts of an executor whose times are looked at.
const STARTS: usize = 5;

/// Jobs under way for each core under full load: one runs, one waits.
const LOAD: usize = 2;

/// Times between two looks at the memory of a worker.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Prints all of it; `jobs` makes new jobs for each round.
pub(crate) fn report(jobs: impl Fn(&str) -> Vec<Job>) -> Result<(), Failure> {
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        drop(start(cores())?);
        starts.push(begun.elapsed());
    }
    println!(
        "start-up and end of {} workers, new processes, compiled module cached: median {:.0} ms, most {:.0} ms",
        cores(),
        percentile(&mut starts, 50).as_secs_f64() * 1e3,
        percentile(&mut starts, 100).as_secs_f64() * 1e3
    );
    memory(&jobs("memory"))?;
    println!("| latency of HumanEval's programs | p50 | p95 | p99 |\n|---|---:|---:|---:|");
    let executor = start(cores())?;
    // Caches of the worker are warm, as they are in a run.
    latencies(&executor, &jobs("warm"), 1)?;
    for (name, under_way) in [("one at a time", 1), ("under full load", LOAD * cores().get())] {
        let mut found = latencies(&executor, &jobs(name), under_way)?;
        let mut shown = |share| percentile(&mut found, share).as_secs_f64() * 1e3;
        println!("| {name} | {:.1} ms | {:.1} ms | {:.1} ms |", shown(50), shown(95), shown(99));
    }
    Ok(())
}

/// Memory of a worker before its first job, the most of it while jobs run, and afterwards.
fn memory(jobs: &[Job]) -> Result<(), Failure> {
    let executor = start(std::num::NonZeroUsize::MIN)?;
    let [worker] = workers()?[..] else { return Err("wanted one worker".into()) };
    let before = Resources::of(worker)?;
    let is_over = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut most = Resources::default();
            while !is_over.load(Ordering::Relaxed) {
                let Ok(now) = Resources::of(worker) else { break };
                most.anonymous_kib = most.anonymous_kib.max(now.anonymous_kib);
                most.resident_kib = most.resident_kib.max(now.resident_kib);
                std::thread::sleep(LOOK_EVERY);
            }
            most
        });
        let result = latencies(&executor, jobs, 1);
        is_over.store(true, Ordering::Relaxed);
        result.map(|_| watching.join().unwrap_or_default())
    })?;
    let after = Resources::of(worker)?;
    println!("| memory of a worker | anonymous | resident, shared files included |\n|---|---:|---:|");
    for (name, found) in
        [("before its first program", before), ("most during programs", most), ("afterwards", after)]
    {
        let mib = |kib: u64| kib as f64 / 1024.0;
        println!("| {name} | {:.1} MiB | {:.1} MiB |", mib(found.anonymous_kib), mib(found.resident_kib));
    }
    Ok(())
}

/// Time from handing in to verdict of each job, with so many under way at once.
fn latencies(executor: &Executor, jobs: &[Job], under_way: usize) -> Result<Vec<Duration>, Failure> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let submit = || -> Result<(), String> {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let job = job.clone();
            let begun = Instant::now();
            let verdict = executor.submit(job).wait().map_err(|error| error.to_string())?;
            let took = begun.elapsed();
            if !verdict.all_passed() {
                return Err(format!("a right program does not pass: {verdict:?}"));
            }
            found.lock().map_err(|error| error.to_string())?.push(took);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let submitting: Vec<_> = (0..under_way).map(|_| scope.spawn(submit)).collect();
        submitting
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?)
    })?;
    Ok(found.into_inner()?)
}

/// The smallest value that so many percent of the values do not exceed.
fn percentile(values: &mut [Duration], share: usize) -> Duration {
    values.sort_unstable();
    let at = (values.len() * share).div_ceil(100).max(1) - 1;
    values[at]
}
