//! A hundred thousand different programs in one executor: memory and descriptors must not grow. `make bench-endurance` runs it.
//!
//! Caches fill up first, which is why growth counts from a fifth of the way.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod support;

use std::collections::VecDeque;
use std::time::Instant;

use rltrain_executor::{Executor, Job, Limits, Pending};

use support::resources::{Resources, workers};
use support::{Failure, cores, start};

const PROGRAMS: usize = 100_000;

/// Programs between two looks.
const EVERY: usize = 10_000;

/// Look from which on growth counts: by then every cache is full.
const FROM: usize = 2;

/// Programs under way at once.
const WINDOW: usize = 1_000;

/// Tests that the programs take turns with.
const TESTS: usize = 1_000;

/// Growth of a process's memory that is not a leak: 8 MiB over 80 000 programs, a hundred bytes for each.
const MOST_GROWTH_KIB: u64 = 8 << 10;

fn main() -> Result<(), Failure> {
    let executor = start(cores())?;
    let ids: Vec<u32> = [std::process::id()].into_iter().chain(workers()?).collect();
    println!("resident / anonymous memory in MiB, and open descriptors, of the parent and each worker");
    print!("| programs | seconds ");
    ids.iter().for_each(|id| print!("| {id} "));
    println!("|\n|{}", "---:|".repeat(2 + ids.len()));
    let begun = Instant::now();
    let mut looks = Vec::new();
    let mut under_way = VecDeque::with_capacity(WINDOW);
    for index in 0..PROGRAMS {
        if under_way.len() == WINDOW {
            settle(&mut under_way)?;
        }
        under_way.push_back((index, executor.submit(job(index))));
        if (index + 1) % EVERY == 0 {
            while !under_way.is_empty() {
                settle(&mut under_way)?;
            }
            looks.push(look(index + 1, begun, &ids)?);
        }
    }
    check(&executor, &ids, &looks)
}

fn job(index: usize) -> Job {
    let argument = index % TESTS;
    let tests = [format!("assert f({argument}) == {argument}")];
    Job::new(format!("def f(n):\n    return [n, {index}][0]\n"), tests, Limits::default())
}

fn settle(under_way: &mut VecDeque<(usize, Pending)>) -> Result<(), Failure> {
    let Some((index, pending)) = under_way.pop_front() else { return Ok(()) };
    let verdict = pending.wait()?;
    if verdict.all_passed() { Ok(()) } else { Err(format!("program {index} got {verdict:?}").into()) }
}

fn look(programs: usize, begun: Instant, ids: &[u32]) -> Result<Vec<Resources>, Failure> {
    print!("| {programs} | {:.0} ", begun.elapsed().as_secs_f64());
    let mut found = Vec::new();
    for id in ids {
        let resources = Resources::of(*id)?;
        let mib = |kib: u64| kib as f64 / 1024.0;
        let (resident, anonymous) = (mib(resources.resident_kib), mib(resources.anonymous_kib));
        print!("| {resident:.1} / {anonymous:.1}, {} ", resources.descriptors);
        found.push(resources);
    }
    println!("|");
    Ok(found)
}

/// Whether nothing has grown, no worker was replaced, and every program was run.
fn check(executor: &Executor, ids: &[u32], looks: &[Vec<Resources>]) -> Result<(), Failure> {
    let (first, last) = (&looks[FROM - 1], &looks[looks.len() - 1]);
    for ((id, first), last) in ids.iter().zip(first).zip(last) {
        let growth = last.anonymous_kib.saturating_sub(first.anonymous_kib);
        if growth > MOST_GROWTH_KIB || last.descriptors != first.descriptors {
            return Err(format!("process {id} has grown from {first:?} to {last:?}, wanted at most {MOST_GROWTH_KIB} KiB of anonymous memory and no descriptor").into());
        }
    }
    let statistics = executor.statistics();
    if statistics.misses != PROGRAMS as u64 || statistics.workers_lost > 0 {
        return Err(format!("not every program was run once by a worker that lives: {statistics:?}").into());
    }
    println!(
        "from {} to {PROGRAMS} programs no process has grown by more than {} MiB, nor by a descriptor",
        FROM * EVERY,
        MOST_GROWTH_KIB >> 10
    );
    Ok(())
}
