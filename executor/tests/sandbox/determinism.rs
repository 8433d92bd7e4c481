//! The same job, the same verdict.
#![expect(clippy::print_stdout, reason = "a proof is read")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::human_eval::problems;
use super::{job, runtimes, start_runtime};
use rltrain_executor::{Executor, Job, Runtime, Verdict};

/// Runs of all programs, unless this variable says how many. `make verify-determinism` asks for twenty.
const RUNS_VARIABLE: &str = "RLTRAIN_DETERMINISM_RUNS";
const RUNS: usize = 4;

/// Jobs whose results would differ wherever a clock, an address or a random number came from outside.
fn jobs() -> Vec<Job> {
    let programs = [
        "import random\nx = [random.random() for _ in range(1000)]\nprint(x[0])",
        "import time\nprint(time.time(), time.perf_counter())\ntime.sleep(0.5)\nprint(time.time())",
        "print(hash('abc'), id(object()), {str(i) for i in range(20)})",
        "import os, uuid, secrets\nprint(os.urandom(8), uuid.uuid4(), secrets.token_hex())",
        // Not every runtime has numpy.
        "try: import numpy\nexcept ImportError: print('x' * 41)\nelse: print(numpy.random.rand(3), numpy.ones(2))",
        "def f():\n    return sum(i * i for i in range(100000))\nf()",
        "x = []\nwhile True: x.append('a' * 100000)",
        "1 / 0",
    ];
    programs
        .iter()
        .map(|program| job(program, &["assert 1 == 1", "import datetime\nprint(datetime.datetime.now())"]))
        .collect()
}

fn verdicts(runtime: Runtime, workers: usize, order: impl Fn(usize) -> usize) -> Vec<Verdict> {
    let executor = start_runtime(runtime, workers, "determinism");
    let jobs = jobs();
    let count = jobs.len();
    let mut pending: Vec<_> =
        (0..count).map(|index| (order(index), executor.submit(jobs[order(index)].clone()))).collect();
    pending.sort_by_key(|(index, _)| *index);
    pending.into_iter().map(|(_, pending)| pending.wait().unwrap()).collect()
}

#[test]
fn verdict_output_and_fuel_do_not_depend_on_workers_order_or_load() {
    for runtime in runtimes() {
        let alone = verdicts(*runtime, 1, |index| index);
        let crowded = verdicts(*runtime, 3, |index| jobs().len() - 1 - index);
        assert_eq!(alone, crowded);
        assert!(alone[..6].iter().all(|verdict| verdict.all_passed()), "{alone:?}");
        // Nor are they the same because there is nothing to see.
        assert!(alone[..5].iter().all(|verdict| verdict.stdout.len() > 40), "{alone:?}");
    }
}

/// HumanEval's solutions, the same without bodies, and mutants of them. Some mutants loop, recurse or fill memory.
fn human_eval_jobs() -> Vec<(&'static str, Job)> {
    let changes =
        [("<=", "<"), ("+ 1", "- 1"), ("==", "!="), ("return ", "return not "), (" in ", " not in ")];
    let mut jobs = Vec::new();
    for (index, (prompt, solution, test)) in problems().iter().enumerate() {
        let mut add = |kind, program: String| {
            let mut job = job(&program, &[test]);
            // What never ends is to be cut off soon, and in the same place.
            job.limits.fuel = 8_000_000_000_u64.try_into().unwrap();
            jobs.push((kind, job));
        };
        add("canonical", format!("{prompt}{solution}"));
        add("hollow", format!("{prompt}    return None\n"));
        let (old, new) = (0..changes.len())
            .map(|step| changes[(index + step) % changes.len()])
            .find(|(old, _)| solution.contains(old))
            .unwrap_or(("    ", "    pass;"));
        add("mutated", format!("{prompt}{}", solution.replacen(old, new, 1)));
    }
    jobs
}

/// Every job's verdict from an executor that has not seen it.
fn judge_all(executor: &Executor, jobs: &[(&str, Job)], is_backwards: bool) -> Vec<Verdict> {
    let submit = |index: usize| (index, executor.submit(jobs[index].1.clone()));
    let mut pending: Vec<_> = match is_backwards {
        false => (0..jobs.len()).map(submit).collect(),
        true => (0..jobs.len()).rev().map(submit).collect(),
    };
    pending.sort_by_key(|(index, _)| *index);
    pending.into_iter().map(|(_, pending)| pending.wait().unwrap()).collect()
}

/// Does something else on every core while `act` runs.
fn crowded<T>(act: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get) {
            scope.spawn(|| {
                let mut state = 1_u64;
                while !is_over.load(Ordering::Relaxed) {
                    state =
                        std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
                }
            });
        }
        let result = act();
        is_over.store(true, Ordering::Relaxed);
        result
    })
}

fn counted(verdicts: &[Verdict], jobs: &[(&str, Job)], kind: &str) -> String {
    let of_kind =
        verdicts.iter().zip(jobs).filter(|(_, (other, _))| *other == kind).map(|(verdict, _)| verdict);
    let (mut total, mut passed) = (0, 0);
    for verdict in of_kind {
        total += 1;
        passed += usize::from(verdict.all_passed());
    }
    format!("{passed}/{total}")
}

#[test]
fn human_eval_gets_the_same_verdicts_and_fuel_in_every_run_on_any_number_of_workers_under_any_load() {
    let runs = std::env::var(RUNS_VARIABLE).map_or(RUNS, |runs| runs.parse().unwrap());
    let jobs = human_eval_jobs();
    if jobs.is_empty() {
        return;
    }
    for runtime in runtimes() {
        println!("{}", runtime.name());
        prove(*runtime, runs, &jobs);
    }
}

fn prove(runtime: Runtime, runs: usize, jobs: &[(&str, Job)]) {
    let mut first: Vec<Verdict> = Vec::new();
    println!(
        "| run | workers | cores | order | canonical | hollow | mutated | fuel | differ from run 1 | seconds |"
    );
    println!("|---:|---:|---|---|---:|---:|---:|---:|---:|---:|");
    for run in 0..runs {
        // Sixteen runs make every combination of number, load and order.
        let (workers, is_loaded) = (run % 4 + 1, (run / 2 + run / 4) % 2 == 1);
        let is_backwards = (run + run / 8) % 2 == 1;
        let executor = start_runtime(runtime, workers, "human-eval determinism");
        let begun = Instant::now();
        let judge = || judge_all(&executor, jobs, is_backwards);
        let verdicts = if is_loaded { crowded(judge) } else { judge() };
        let took: Duration = begun.elapsed();
        if run == 0 {
            first.clone_from(&verdicts);
        }
        let differing: Vec<usize> =
            (0..jobs.len()).filter(|index| verdicts[*index] != first[*index]).collect();
        println!(
            "| {} | {workers} | {} | {} | {} | {} | {} | {} | {} | {:.1} |",
            run + 1,
            if is_loaded { "busy" } else { "free" },
            if is_backwards { "backwards" } else { "forwards" },
            counted(&verdicts, jobs, "canonical"),
            counted(&verdicts, jobs, "hollow"),
            counted(&verdicts, jobs, "mutated"),
            verdicts.iter().map(|verdict| verdict.fuel).sum::<u64>(),
            differing.len(),
            took.as_secs_f64(),
        );
        for index in &differing {
            println!("{:?}\nthen {:?}", first[*index], verdicts[*index]);
        }
        assert!(differing.is_empty(), "programs {differing:?} differ in run {}", run + 1);
    }
    let passing = |kind| {
        first
            .iter()
            .zip(jobs)
            .filter(|(_, job)| job.0 == kind)
            .filter(|(verdict, _)| verdict.all_passed())
            .count()
    };
    assert_eq!((passing("canonical"), passing("hollow")), (jobs.len() / 3, 0));
}
